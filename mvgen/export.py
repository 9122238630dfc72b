"""Writes the model of a checkpoint in a form that others read: safetensors and JSON.

    python -m mvgen.export --checkpoint DIR --format safetensors --out DIR

The folder then holds ``model.safetensors`` (one float32 tensor a parameter, named by its path with dots),
``config.json`` (the whole configuration) and ``records.json`` (what the model was trained on: codec, sizes).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from ml_collections import ConfigDict
from safetensors.numpy import load_file, save_file

from mvgen.checkpoint import CONFIG_FILE, RECORDS_FILE, load_params, read_description, write_description
from mvgen.errors import UserError, run_command
from mvgen.models.mvgen import MVGen
from mvgen.records import RecordSpec
from mvgen.step import abstract_model

WEIGHTS_FILE = "model.safetensors"
FORMATS = ("safetensors", "musicgen", "stablehlo")


def tensor_name(path: tuple[Any, ...]) -> str:
    """A parameter's name in the file, for example ``decoder.layers.0.attention.q.kernel``."""
    return jax.tree_util.keystr(path, simple=True, separator=".")


def export_safetensors(checkpoint: str | os.PathLike[str], out: str | os.PathLike[str], ema: bool = True) -> Path:
    """Writes a checkpoint's model to the folder ``out``, which must be new, and returns it.

    Raises:
        UserError: it is not a checkpoint, or ``out`` is there already.
    """
    out = Path(out)
    if out.exists():
        raise UserError(f"{out} is there already; name a new folder for --out")
    _, params, config, records = load_params(checkpoint, ema)
    tensors = {tensor_name(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
    partial = out.with_name(f"{out.name}.partial-{os.getpid()}")
    try:
        partial.mkdir(parents=True)
        about = {"format": "mvgen", "parameters": "average" if ema else "last"}
        save_file(tensors, partial / WEIGHTS_FILE, metadata=about)
        write_description(partial, config, records)
        os.replace(partial, out)
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out


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


def command(argv: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m mvgen.export", description="Write the model of a checkpoint in a form that others read."
    )
    parser.add_argument("--checkpoint", required=True, metavar="DIR", help="a workdir, or one of its checkpoints/STEP")
    parser.add_argument("--format", required=True, choices=FORMATS, help="safetensors: weights and two JSON files")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to make")
    parser.add_argument("--last", action="store_true", help="the last parameters instead of their running average")
    given = parser.parse_args(argv)
    if given.format != "safetensors":
        raise UserError(f"--format {given.format} is not there yet; use --format safetensors")
    out = export_safetensors(given.checkpoint, given.out, ema=not given.last)
    print(json.dumps({"out": str(out), "bytes": (out / WEIGHTS_FILE).stat().st_size}))
    return 0


if __name__ == "__main__":
    run_command(command)
