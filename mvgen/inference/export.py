"""The model of a checkpoint in forms that others read: safetensors and JSON, or transformers' MusicGen."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from ml_collections import ConfigDict
from safetensors.numpy import load_file, save_file

from mvgen.data.records import RecordSpec
from mvgen.errors import UserError
from mvgen.files import whole_folder
from mvgen.interop.musicgen_folder import Origin, write_musicgen
from mvgen.models.config import MVGenConfig
from mvgen.models.mvgen import MVGen
from mvgen.training.checkpoint import (
    CONFIG_FILE,
    RECORDS_FILE,
    first_origin,
    load_params,
    read_description,
    write_description,
)
from mvgen.training.step import Params, abstract_model

WEIGHTS_FILE = "model.safetensors"


def tensor_name(path: tuple[Any, ...]) -> str:
    """A parameter's name in the file, for example ``decoder.layers.0.attention.q.kernel``."""
    return jax.tree_util.keystr(path, simple=True, separator=".")


def export_safetensors(checkpoint: str | os.PathLike[str], out: str | os.PathLike[str], ema: bool = True) -> Path:
    """Writes a checkpoint's model to the folder ``out``, which must be new, and returns it.

    Raises:
        UserError: it is not a checkpoint, or ``out`` is there already.
    """
    with whole_folder(out) as folder:
        _, params, config, records = load_params(checkpoint, ema)
        write_safetensors(folder, params, config, records, ema)
    return Path(out)


def write_safetensors(folder: Path, params: Params, config: ConfigDict, records: dict[str, Any], ema: bool) -> None:
    """Writes the weights and the two descriptions into a folder; ``ema`` says which parameters they are."""
    tensors = {tensor_name(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
    about = {"format": "mvgen", "parameters": "average" if ema else "last"}
    save_file(tensors, folder / WEIGHTS_FILE, metadata=about)
    write_description(folder, config, records)


def export_musicgen(
    checkpoint: str | os.PathLike[str],
    out: str | os.PathLike[str],
    ema: bool = True,
    licence: str = "",
    drop: bool = False,
) -> list[str]:
    """Writes a checkpoint's token decoder as transformers' ``MusicgenForCausalLM``, with a model card.

    Args:
        checkpoint: a working folder, or one of its steps.
        out: a new folder.
        ema: the averaged parameters, or else the last ones.
        licence: what the user says the licence is, where the weights' origin does not tell.
        drop: leave out what MusicGen has no place for, instead of refusing.

    Returns:
        What was left out, in words.

    Raises:
        UserError: it is not a checkpoint; ``out`` is there already; the decoder is more than a MusicGen; another
            licence is known.
    """
    with whole_folder(out) as folder:
        _, params, config, records = load_params(checkpoint, ema)
        spec = RecordSpec.from_json(records["spec"])
        origin = Origin.of(first_origin(config.get("init_from") or ""), spec.codec, licence)
        decoder = MVGenConfig.from_config(config, spec).decoder
        return write_musicgen(folder, params["decoder"], decoder, origin, drop)


def load_safetensors(folder: str | os.PathLike[str]) -> tuple[MVGen, ConfigDict, RecordSpec]:
    """Reads back what :func:`export_safetensors` wrote.

    Raises:
        UserError: the folder is not such an export, or tensors are missing, unknown or of another shape (all named).
    """
    folder = Path(folder)
    if not (folder / WEIGHTS_FILE).is_file():
        raise UserError(f"{folder} is not an export: it has no {WEIGHTS_FILE}, {CONFIG_FILE} and {RECORDS_FILE}")
    config, records = read_description(folder)
    spec = RecordSpec.from_json(records["spec"])
    graphdef, abstract = abstract_model(config, spec)
    try:
        tensors = load_file(folder / WEIGHTS_FILE)
    except Exception as error:  # safetensors raises a type of its own that it does not export
        raise UserError(f"{folder / WEIGHTS_FILE} cannot be read: {error}") from None
    wanted = {tensor_name(path): leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(abstract)}
    found = {name: tensor.shape for name, tensor in tensors.items()}
    wrong = sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name))
    if wrong:
        raise UserError(f"{folder / WEIGHTS_FILE}: missing, unknown or of another shape: {', '.join(wrong)}")
    params = jax.tree_util.tree_map_with_path(lambda path, _: jax.numpy.asarray(tensors[tensor_name(path)]), abstract)
    return nnx.merge(graphdef, params), config, spec
