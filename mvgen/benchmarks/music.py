"""What ``python -m mvgen.bench music`` times: one function an engine, each run in a process of its own."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from safetensors.numpy import save_file

from mvgen.inference.sampling import Sampling, decode, ready, stream
from mvgen.interop.encodec import codec_folder, load_encodec
from mvgen.interop.musicgen import load_musicgen, theirs, transformers_config
from mvgen.interop.reference import ReferenceCodec, ReferenceMusicgen
from mvgen.models import delay
from mvgen.models.config import DecoderConfig
from mvgen.models.token_decoder import Text, TokenDecoder

TOKENS_PER_SECOND = 50
SIZES = {"tiny": (256, 4, 6), "small": (1024, 16, 24), "medium": (1536, 24, 48), "large": (2048, 32, 48)}
"""Width, heads and layers; all but ``tiny`` as published."""

WORDS = 16
"""Length of the conditioning."""

FIRST = 25
"""Tokens (half a second) after which the first sound can be heard, where sound is made as tokens come."""

CODEC = "encodec_tiny"
"""Decodes the first sound, in both engines; ids beyond its codebooks are taken modulo their size."""


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
"""What seconds are. On one core that others use too, those that the process itself computed tell more."""


class Case(NamedTuple):
    """Requests at once, tokens of each, guidance (1: none), and one of ``CLOCKS``."""

    batch: int
    tokens: int
    guidance: float
    clock: str = "wall"


Result = tuple[dict[str, float], np.ndarray]
"""Figures of a case, and its tokens ``[batch, tokens, codebooks]``."""


def write_random(folder: Path, size: str) -> None:
    """A ``MusicgenForCausalLM`` of this size with random weights, as ``save_pretrained`` would write it."""
    width, heads, layers = SIZES[size]
    config = DecoderConfig(4, 2048, width, heads, layers, 4 * width, text_width=width)
    shapes = nnx.to_pure_dict(nnx.state(nnx.eval_shape(lambda: TokenDecoder(config, rngs=nnx.Rngs(0))), nnx.Param))
    rng = np.random.default_rng(0)

    def draw(path: tuple[Any, ...], leaf: Any) -> np.ndarray:
        if "scale" in jax.tree_util.keystr(path):
            return np.ones(leaf.shape, np.float32)
        # Large enough that greedy music is not one note for ever, as at the usual 0.02.
        return rng.standard_normal(leaf.shape, np.float32) * np.float32(1.5 / np.sqrt(width))

    tensors, _ = theirs(jax.tree_util.tree_map_with_path(draw, shapes))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(transformers_config(config)))


def bandwidth(clock: str = "wall", size: int = 1 << 27, repeats: int = 5) -> float:
    """Bytes a second that a copy of ``size`` bytes reads and writes together, on the first device; the best of some."""
    copy = jax.jit(lambda x: x + 1)
    values = copy(jnp.zeros(size // 4, jnp.float32)).block_until_ready()
    return 2 * size / min(timed(lambda: copy(values).block_until_ready(), clock)[0] for _ in range(repeats))


def bytes_per_step(config: DecoderConfig, case: Case) -> float:
    """Bytes of weights and cache that an average step must read: what bounds its speed at small batches.

    Embeddings are read by the row, and cross-attention's keys and values are made once: neither counts.
    """
    one = config.compute_dtype.itemsize
    weights = config.layers * (6 * config.width**2 + 2 * config.width * config.hidden)
    weights += config.codebooks * config.width * config.codebook_size
    copies = case.batch * (2 if case.guidance != 1 else 1)
    seen = delay.steps(case.tokens, config.codebooks) / 2 + WORDS
    return one * (weights + copies * 2 * config.layers * config.width * seen)


def conditioning(case: Case, width: int) -> np.ndarray:
    """Embedded words, ``[batch, WORDS, width]``, the same for both engines."""
    return np.random.default_rng(case.batch).standard_normal((case.batch, WORDS, width), np.float32)


def run_ours(folder: str, cases: list[Case], precision: str, repeats: int) -> list[Result]:
    """Times our decoder, and checks nothing: the tokens are returned for that."""
    started = time.perf_counter()
    decoder = ready(load_musicgen(folder, precision).decoder, donate=True)
    loaded = time.perf_counter() - started
    codec = load_encodec(CODEC)
    results = []
    for case in cases:
        keys = jax.random.split(jax.random.key(0), case.batch)
        seen = jnp.asarray(conditioning(case, decoder.config.width))
        text = Text(seen, jnp.ones(seen.shape[:2], bool))
        sampling = Sampling(temperature=0, text_guidance=case.guidance)

        def play(keys: Any = keys, text: Text = text, sampling: Sampling = sampling, case: Case = case) -> np.ndarray:
            return np.asarray(decode(decoder, None, keys, sampling, text=text, tokens=case.tokens))

        def first_sound(
            keys: Any = keys, text: Text = text, sampling: Sampling = sampling, case: Case = case
        ) -> np.ndarray:
            pieces = stream(decoder, None, keys, sampling, text=text, tokens=case.tokens, chunk=FIRST)
            return np.asarray(codec.decode(next(pieces) % codec.codebook_size))

        first_sound()
        figures, tokens = _figures(play, case, repeats)
        figures["first_sound_s"] = min(timed(first_sound, case.clock)[0] for _ in range(repeats))
        figures["load_s"] = loaded
        figures["bytes_per_step"] = bytes_per_step(decoder.config, case)
        results.append((figures, tokens))
    return results


def run_transformers(folder: str, cases: list[Case], precision: str, repeats: int) -> list[Result]:
    """Times transformers on torch.

    It gives nothing before all tokens are there, so its first sound is the whole of them and the codec's decoding.
    """
    started = time.perf_counter()
    model = ReferenceMusicgen(folder, precision)
    loaded = time.perf_counter() - started
    codec, results = ReferenceCodec(codec_folder(CODEC)), []
    for case in cases:
        play = model.player(conditioning(case, model.config.width), case.guidance, case.tokens)
        figures, tokens = _figures(play, case, repeats)
        sound = codec.decoder(tokens % codec.codebook_size)
        sounding = min(timed(sound, case.clock)[0] for _ in range(repeats + 1))  # the first warms up
        figures["first_sound_s"] = figures["seconds"] + sounding
        figures["load_s"] = loaded
        figures["bytes_per_step"] = bytes_per_step(model.config, case)
        results.append((figures, tokens))
    return results


def _figures(play: Callable[[], np.ndarray], case: Case, repeats: int) -> Result:
    """The first call apart (it compiles), then the best of ``repeats``."""
    warm_up, tokens = timed(play, case.clock)
    _forget_peak()
    took = min(timed(play, case.clock)[0] for _ in range(repeats))
    steps = delay.steps(case.tokens, tokens.shape[2])
    return {
        "seconds": took, "first_call_s": warm_up, "steps_per_s": steps / took,
        "tokens_per_s": case.batch * case.tokens / took,
        "sound_per_s": case.batch * case.tokens / TOKENS_PER_SECOND / took, "peak_bytes": _peak(),
    }, tokens  # fmt: skip


def timed(call: Callable[[], Any], clock: str) -> tuple[float, Any]:
    """Seconds of a call by one of ``CLOCKS``, and what it returned."""
    started = CLOCKS[clock]()
    found = call()
    return CLOCKS[clock]() - started, found


def _forget_peak() -> None:
    """Lets the kernel count the peak of resident memory anew, where it can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def _peak() -> float:
    """The peak of resident memory in bytes."""
    try:
        status = Path("/proc/self/status").read_text()
        return 1024.0 * int(status.split("VmHWM:")[1].split()[0])
    except (OSError, IndexError):
        return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
