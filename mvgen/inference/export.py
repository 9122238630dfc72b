"""The model of a checkpoint in forms that others read: safetensors and JSON, or transformers' MusicGen."""

from __future__ import annotations

import copy
import dataclasses
import math
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from mvgen.data.records import RecordSpec
from mvgen.errors import UserError
from mvgen.files import whole_folder
from mvgen.inference.card import Row, model_card
from mvgen.interop.musicgen import read_musicgen, theirs
from mvgen.interop.musicgen_folder import Origin, write_musicgen
from mvgen.models.config import MVGenConfig
from mvgen.training.checkpoint import find, first_origin, load_params, write_description
from mvgen.training.history import read_history
from mvgen.training.step import Params
from mvgen.training.weights_file import WEIGHTS_FILE, read_weights, write_weights

CARD_FILE = "README.md"
USE = """```python
import mvgen
model = mvgen.load("this folder, or the name of its repository")
model.video_to_music("performance.mp4").save("with music.mp4")
model.music_to_video("first frame.png", "song.wav").save("film.mp4")
```

or `python -m mvgen.generate music --checkpoint FOLDER --video FILE --out FILE.mp4`."""


@dataclasses.dataclass(frozen=True)
class Exported:
    """A checkpoint as it was read to be exported.

    Attributes:
        params: the model's parameters, nested dict, and ``graphdef`` the model without them.
        config, records: the run's; without what is this machine's alone (where its records and its cache lie).
        about: for the header of the file of weights.
        origin: where the weights came from, and their licence.
        held_out: the last held-out losses that the run noted.
    """

    params: Params
    graphdef: Any
    config: ConfigDict
    records: dict[str, Any]
    about: dict[str, str]
    origin: Origin
    held_out: dict[str, float]

    @classmethod
    def read(cls, checkpoint: str | os.PathLike[str], ema: bool = True, licence: str = "") -> Exported:
        """Reads it.

        Args:
            checkpoint: a working folder, one of its steps, or an exported model.
            ema: the averaged parameters, or else the last ones.
            licence: what the user says the licence is, where the weights' origin does not tell.

        Raises:
            UserError: it is not a checkpoint, or another licence is known.
        """
        folder, step = find(checkpoint)
        graphdef, params, config, records = load_params(checkpoint, ema)
        start = first_origin(config.get("init_from") or "")
        goes_on = bool(config.get("init_from")) and not start
        origin = Origin.of(start, RecordSpec.from_json(records["spec"]).codec, licence)
        config = copy.deepcopy(config)
        with config.unlocked():
            config.init_from = start
            config.data.path = ""
            if "compilation_cache" in config.train:
                config.train.compilation_cache = ""
        about = {"format": "mvgen", "parameters": "average" if ema else "last", "step": str(step)}
        if goes_on:
            about["goes_on"] = "yes"
        noted = [line for line in read_history(folder) if "eval/loss" in line and line["step"] <= step]
        held_out = {name[5:]: value for name, value in (noted[-1] if noted else {}).items() if name.startswith("eval/")}
        return cls(params, graphdef, config, records, about, origin, held_out)

    def write(self, folder: Path, scores: dict[str, list[Row]], dtype: str = "float32", use: str = USE) -> None:
        """Writes weights, the two descriptions and the model card into a folder; see :func:`export_safetensors`."""
        write_weights(folder / WEIGHTS_FILE, self.params, self.about, dtype)
        write_description(folder, self.config, self.records)
        parameters = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(self.params))
        card = model_card(
            self.config, self.records, self.origin, step=int(self.about["step"]), parameters=parameters, scores=scores,
            held_out=self.held_out, use=use, goes_on="goes_on" in self.about,
        )  # fmt: skip
        (folder / CARD_FILE).write_text(card, encoding="utf-8")


def export_safetensors(
    checkpoint: str | os.PathLike[str],
    out: str | os.PathLike[str],
    ema: bool = True,
    *,
    licence: str = "",
    scores: dict[str, list[Row]] | None = None,
    dtype: str = "float32",
) -> Path:
    """Writes a checkpoint's model to the folder ``out``, which must be new, reads it again, and returns it.

    Args:
        checkpoint, ema, licence: see :meth:`Exported.read`.
        out: gets ``model.safetensors``, ``config.json``, ``records.json`` and ``README.md``, the model card.
        scores: evaluations by name, for the card.
        dtype: in which weights are kept (:data:`mvgen.training.weights_file.DTYPES`).

    Raises:
        UserError: it is not a checkpoint, ``out`` is there already, or another licence is known.
    """
    with whole_folder(out) as folder:
        exported = Exported.read(checkpoint, ema, licence)
        exported.write(folder, scores or {}, dtype)
        check_weights(folder, exported.params, dtype)
    return Path(out)


def check_weights(folder: Path, params: Params, dtype: str = "float32") -> None:
    """Reads a folder's weights again. Raises ``UserError`` where they are not these, rounded to their type."""

    def same(one: Any, other: Any) -> bool:
        rounded = np.asarray(other).astype(jax.numpy.dtype(dtype)).astype(np.float32)
        return bool(np.array_equal(np.asarray(one), rounded, equal_nan=True))

    if not all(jax.tree.leaves(jax.tree.map(same, read_weights(folder / WEIGHTS_FILE, params), params))):
        raise UserError(f"the weights read from {folder / WEIGHTS_FILE} are not those that were written")


def export_musicgen(
    checkpoint: str | os.PathLike[str],
    out: str | os.PathLike[str],
    ema: bool = True,
    licence: str = "",
    drop: bool = False,
) -> list[str]:
    """Writes a checkpoint's token decoder as transformers' ``MusicgenForCausalLM``, with a model card.

    Args:
        checkpoint, ema, licence: see :meth:`Exported.read`.
        out: a new folder.
        drop: leave out what MusicGen has no place for, instead of refusing.

    Returns:
        What was left out, in words.

    Raises:
        UserError: it is not a checkpoint; ``out`` is there already; the decoder is more than a MusicGen; another
            licence is known.
    """
    with whole_folder(out) as folder:
        exported = Exported.read(checkpoint, ema, licence)
        spec = RecordSpec.from_json(exported.records["spec"])
        decoder = MVGenConfig.from_config(exported.config, spec).decoder
        dropped = write_musicgen(folder, exported.params["decoder"], decoder, exported.origin, drop)
        written, wanted = read_musicgen(folder).tensors, theirs(exported.params["decoder"])[0]
        if written.keys() != wanted.keys() or not all(np.array_equal(written[n], wanted[n]) for n in wanted):
            raise UserError(f"the weights read from {folder} are not those that were written")
        return dropped
