"""Both directions as StableHLO programs that run without mvgen: one artifact each for CPUs, NVIDIA GPUs and TPUs.

A program is a whole generation of one length (:mod:`mvgen.inference.whole`): what the settings of sampling and filming
are is part of it, the seed is given to it. Weights lie beside the programs, not in them: all share one file, compilers
do not fold them into constants, and no limit of the container's (2 GB) is met. They are safetensors, so that the folder
is also a model that ``mvgen.load`` reads; ``run.py`` reads them in five lines.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import export

from mvgen import clock
from mvgen.data.loader import window_frames
from mvgen.data.records import RecordSpec
from mvgen.errors import UserError, in_range
from mvgen.files import whole_folder
from mvgen.inference import run_exported
from mvgen.inference.card import Row
from mvgen.inference.export import USE, Exported, check_weights
from mvgen.inference.inputs import MOST_SECONDS, load_codec, read_autoencoder
from mvgen.inference.music_to_video import Filming, generate_video
from mvgen.inference.sampling import Sampling
from mvgen.inference.video_to_music import generate_music
from mvgen.inference.whole import whole_film, whole_music
from mvgen.models.attention_kernels import always_plain
from mvgen.models.codec import EncodecNetwork
from mvgen.models.mvgen import MVGen
from mvgen.training.compilation import keep_compiled
from mvgen.training.weights_file import tensor_name, write_tensors

PLATFORMS = ("cpu", "cuda", "tpu")
PROGRAMS = ("music", "listen", "video")
"""Film to tokens and sound; sound to tokens; image and tokens to frames."""
BESIDE_FILE = "beside.safetensors"
"""Weights of the codec, and of the image autoencoder where there is one."""
EXAMPLE_FILE = "example.npz"
MOST_SOUND, MOST_PIXELS = 1e-4, 1e-3
"""By how much samples of sound, and which share of a film's values by more than one grey level, may differ from mvgen's
own: the same sums, rounded in another order. Tokens may not."""

Arrays = dict[str, Any]


class Whole:
    """A checkpoint's model with its codec, and its generation of one length as functions of weights and inputs.

    Args:
        exported: the checkpoint as it was read.
        checkpoint: where; it knows of which autoencoder its latents are.
        seconds: of film and music; 0: the window that the model was trained on.
        sampling, filming: how tokens and frames are drawn.

    Raises:
        UserError: the length cannot be, or the codec or the autoencoder is not here.
    """

    def __init__(
        self,
        exported: Exported,
        checkpoint: str,
        seconds: float,
        sampling: Sampling,
        filming: Filming,
    ):
        self.graphdef, self.params = exported.graphdef, exported.params
        self.spec = RecordSpec.from_json(exported.records["spec"])
        self.model: MVGen = nnx.merge(self.graphdef, self.params)
        self.window = window_frames(exported.config.data.window_seconds)
        if seconds:
            in_range("--seconds", seconds, 2 / clock.FRAME_RATE, MOST_SECONDS)
        self.frames = round(seconds * clock.FRAME_RATE) or self.window
        self.sampling, self.filming = sampling, filming
        self.codec = load_codec(self.spec)
        self.autoencoder = read_autoencoder(checkpoint, self.model.config)

    @property
    def samples(self) -> int:
        """Of the sound, at the codec's rate."""
        return clock.samples_of(self.frames, self.codec.sampling_rate)

    @property
    def frame_size(self) -> tuple[int, int]:
        """(height, width) of the image and of the film."""
        if self.autoencoder is None:
            return self.model.config.frame_size
        assert self.spec.latent_shape is not None
        return self.autoencoder.frame_size(self.spec.latent_shape)

    def use(self) -> str:
        """How to use the folder, for its card."""
        shapes = {
            name: ", ".join(f"`{key}` {each.dtype} {list(each.shape)}" for key, each in inputs.items())
            for name, inputs in self.inputs().items()
        }
        length = f"{self.frames / clock.FRAME_RATE:g} s ({self.frames} frames)"
        return f"""Without mvgen, by jax and numpy alone, for exactly {length}:

```
python run.py music film.npz music.wav   # {shapes["music"]}
python run.py video scene.npz film.npy   # {shapes["video"]}; or {shapes["listen"]} for `tokens`
python run.py check                      # example.npz again
```

`run.load(folder, "music" | "listen" | "video")` gives the same as functions. The programs are jax.export's, each for
{", ".join(PLATFORMS)}; how tokens and frames are drawn is part of them, the seed is not:

- {self.sampling}
- {self.filming}

With mvgen installed the folder is a model like any other, of any length:

{USE}"""

    def beside(self) -> Arrays:
        """Weights that are not the model's, by name."""
        leaves = jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(self.codec.state))
        found = {f"codec.{tensor_name(path)}": leaf for path, leaf in leaves}
        if self.autoencoder is not None:
            found |= {f"autoencoder.{name}": leaf for name, leaf in self.autoencoder.weights.items()}
        return found

    def weights(self) -> Arrays:
        """All weights, by name."""
        leaves = jax.tree_util.tree_leaves_with_path(self.params)
        return {tensor_name(path): leaf for path, leaf in leaves} | self.beside()

    def inputs(self) -> dict[str, Arrays]:
        """Shapes and types of what each program is given; all of one request, without an axis of the batch."""
        config, frames = self.model.config, self.frames
        shape, tokens = jax.ShapeDtypeStruct, clock.tokens_of(self.frames)
        seed = shape((), jnp.uint32)
        music: Arrays = {"seed": seed}
        if config.use_frames:
            music["frames"] = shape((frames, *config.frame_size, 3), jnp.uint8)
        if config.sees_flow:
            assert config.flow_size is not None
            music["flow"] = shape((frames, *config.flow_size, 2), jnp.float16)
        if config.sees_semantic:
            music["semantic"] = shape((frames, config.semantic_dim), jnp.float16)
        if config.sees_landmarks:
            music["landmarks"] = shape((frames, config.landmarks, 3), jnp.float16)
        image = shape((*self.frame_size, 3), jnp.uint8)
        return {
            "music": music,
            "listen": {"sound": shape((self.samples,), jnp.float32)},
            "video": {"seed": seed, "image": image, "tokens": shape((tokens, config.codebooks), jnp.int32)},
        }

    def _model(self, weights: Arrays) -> MVGen:
        params = jax.tree_util.tree_map_with_path(lambda path, _: weights[tensor_name(path)], self.params)
        return nnx.merge(self.graphdef, params)

    def _codec(self, weights: Arrays) -> EncodecNetwork:
        state = nnx.to_pure_dict(self.codec.state)
        state = jax.tree_util.tree_map_with_path(lambda path, _: weights[f"codec.{tensor_name(path)}"], state)
        return nnx.merge(self.codec.graph, state)

    def music(self, weights: Arrays, inputs: Arrays) -> Arrays:
        """``tokens`` and ``sound`` of a film."""
        video = {name: value for name, value in inputs.items() if name != "seed"}
        tokens = whole_music(self._model(weights), video, inputs["seed"], self.sampling, self.window)
        return {"tokens": tokens, "sound": self._codec(weights).decode(tokens[None])[0]}

    def listen(self, weights: Arrays, inputs: Arrays) -> Arrays:
        """``tokens`` of a sound."""
        return {"tokens": self._codec(weights).encode(inputs["sound"][None])[0]}

    def video(self, weights: Arrays, inputs: Arrays) -> Arrays:
        """``film`` of an image and tokens."""
        autoencoder = self.autoencoder
        if autoencoder is not None:
            own = {name: weights[f"autoencoder.{name}"] for name in autoencoder.weights}
            autoencoder = dataclasses.replace(autoencoder, weights=own)
        film = whole_film(
            self._model(weights), inputs["image"], inputs["tokens"], inputs["seed"], self.filming, self.window,
            autoencoder,
        )  # fmt: skip
        return {"film": film}

    def example(self) -> Arrays:
        """Inputs of all programs, drawn and smooth, and what mvgen makes of them."""
        rng = np.random.default_rng(0)
        given: Arrays = {"seed": np.uint32(0)}
        for name, shape in self.inputs()["music"].items():
            if name != "seed":
                given[name] = _smooth(rng, shape)
        video = {name: value[None] for name, value in given.items() if name != "seed"}
        keys = jax.random.split(jax.random.key(0), 1)
        tokens = generate_music(self.model, video, keys, self.sampling, self.window)
        sound = np.asarray(self.codec.decode(tokens))[0]
        image = _smooth(rng, self.inputs()["video"]["image"])
        heard = np.asarray(self.codec.encode(sound[None]))
        film = generate_video(self.model, image[None], tokens, keys, self.filming, self.window, self.autoencoder)
        made = {"tokens": tokens[0].astype(np.int16), "sound": sound, "heard": heard[0].astype(np.int16)}
        return {**given, "image": image, **made, "film": film[0]}


def _smooth(rng: np.random.Generator, shape: jax.ShapeDtypeStruct) -> np.ndarray:
    """Values that change slowly along every axis but the last: as a picture's, and easily packed."""
    axes = [np.linspace(0, size / 8, size) for size in shape.shape[:-1]]
    phase = np.sum(np.meshgrid(*(axis * rng.uniform(0.3, 1) for axis in axes), indexing="ij"), axis=0)
    wave = np.sin(phase[..., None] + rng.uniform(0, 6, shape.shape[-1]))
    if shape.dtype == jnp.uint8:
        return np.round(127.5 + 100 * wave).astype(np.uint8)
    return (0.5 + 0.4 * wave).astype(shape.dtype)


def export_stablehlo(
    checkpoint: str,
    out: str | os.PathLike[str],
    *,
    seconds: float = 0.0,
    sampling: Sampling | None = None,
    filming: Filming | None = None,
    ema: bool = True,
    licence: str = "",
    scores: dict[str, list[Row]] | None = None,
) -> dict[str, float]:
    """Writes a checkpoint's generation, both ways, as programs that run without mvgen; loads them, and compares.

    Args:
        checkpoint, ema, licence: see :meth:`mvgen.inference.export.Exported.read`.
        seconds, sampling, filming: see :class:`Whole`.
        scores: evaluations by name, for the card.
        out: a new folder. It gets ``music``, ``listen`` and ``video`` as ``.jax_export``, the weights, the two
            descriptions, ``example.npz``, ``run.py`` and a model card.

    Returns:
        How far what ``run.py`` makes of the example lies from what mvgen makes: tokens that differ, the largest
        difference of a sample of sound and of a pixel.

    Raises:
        UserError: it is not a checkpoint; ``out`` is there already; what was written does not make the same.
    """
    with whole_folder(out) as folder:
        keep_compiled()
        exported = Exported.read(checkpoint, ema, licence)
        whole = Whole(exported, checkpoint, seconds, sampling or Sampling(), filming or Filming())
        exported.write(folder, scores or {}, use=whole.use())
        check_weights(folder, whole.params)
        beside = {name: np.asarray(leaf) for name, leaf in whole.beside().items()}
        write_tensors(folder / BESIDE_FILE, beside, {"format": "mvgen"})
        shapes = {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for name, leaf in whole.weights().items()}
        inputs = whole.inputs()
        with always_plain():  # a kernel of one platform would not be lowered for the others
            for name in PROGRAMS:
                program = export.export(jax.jit(getattr(whole, name)), platforms=PLATFORMS)
                (folder / f"{name}.jax_export").write_bytes(program(shapes, inputs[name]).serialize())
        shutil.copyfile(run_exported.__file__, folder / "run.py")
        example = whole.example()
        np.savez_compressed(folder / EXAMPLE_FILE, **{name: example[name] for name in example if name != "sound"})
        return compared(folder, example)


def compared(folder: Path, example: Arrays) -> dict[str, float]:
    """What ``run.py`` makes of the example beside what mvgen made (:meth:`Whole.example`).

    Raises:
        UserError: it is not the same.
    """
    music, listen, video = (run_exported.load(folder, name)(**example) for name in PROGRAMS)
    grey = np.abs(video["film"].astype(int) - example["film"].astype(int))
    apart: dict[str, float] = {
        "tokens_differing": int(np.sum(music["tokens"] != example["tokens"])),
        "heard_tokens_differing": int(np.sum(listen["tokens"] != example["heard"])),
        "sound_difference": float(np.abs(music["sound"] - example["sound"]).max()),
        "grey_levels_difference": int(grey.max()),
    }
    same = not apart["tokens_differing"] and not apart["heard_tokens_differing"]
    if not same or not apart["sound_difference"] <= MOST_SOUND or np.mean(grey > 1) > MOST_PIXELS:
        told = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in apart.items())
        raise UserError(f"the exported programs do not make what mvgen makes of the same inputs: {told}")
    return apart
