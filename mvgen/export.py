"""Writes the model of a checkpoint in a form that others read: safetensors and JSON, or transformers' MusicGen.

    python -m mvgen.export --checkpoint DIR --format safetensors --out DIR
    python -m mvgen.export --checkpoint DIR --format musicgen --out DIR

With ``safetensors`` the folder then holds ``model.safetensors`` (one float32 tensor a parameter, named by its path with
dots), ``config.json`` (the whole configuration) and ``records.json`` (what the model was trained on: codec, sizes).
With ``musicgen`` it is one that ``transformers.MusicgenForCausalLM.from_pretrained`` loads: the token decoder alone,
and beside it what makes its conditioning; see :mod:`mvgen.interop.musicgen_folder`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from ml_collections import ConfigDict
from safetensors.numpy import load_file, save_file

from mvgen.checkpoint import (
    CONFIG_FILE,
    RECORDS_FILE,
    first_origin,
    load_params,
    read_description,
    write_description,
)
from mvgen.errors import UserError, run_command
from mvgen.interop.musicgen_folder import Origin, write_musicgen
from mvgen.models.config import MVGenConfig
from mvgen.models.mvgen import MVGen
from mvgen.records import RecordSpec
from mvgen.step import abstract_model

WEIGHTS_FILE = "model.safetensors"
FORMATS = ("safetensors", "musicgen", "stablehlo")


def tensor_name(path: tuple[Any, ...]) -> str:
    """A parameter's name in the file, for example ``decoder.layers.0.attention.q.kernel``."""
    return jax.tree_util.keystr(path, simple=True, separator=".")


@contextmanager
def new_folder(out: str | os.PathLike[str]) -> Iterator[Path]:
    """A folder to write into that gets its name ``out`` only when all of it is there.

    Raises:
        UserError: ``out`` is there already, or cannot be written.
    """
    out = Path(out)
    if out.exists():
        raise UserError(f"{out} is there already; name a new folder for --out")
    partial = out.with_name(f"{out.name}.partial-{os.getpid()}")
    try:
        partial.mkdir(parents=True)
        yield partial
        os.replace(partial, out)
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def export_safetensors(checkpoint: str | os.PathLike[str], out: str | os.PathLike[str], ema: bool = True) -> Path:
    """Writes a checkpoint's model to the folder ``out``, which must be new, and returns it.

    Raises:
        UserError: it is not a checkpoint, or ``out`` is there already.
    """
    with new_folder(out) as folder:
        _, params, config, records = load_params(checkpoint, ema)
        tensors = {tensor_name(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
        about = {"format": "mvgen", "parameters": "average" if ema else "last"}
        save_file(tensors, folder / WEIGHTS_FILE, metadata=about)
        write_description(folder, config, records)
    return Path(out)


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
    with new_folder(out) as folder:
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


def command(argv: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m mvgen.export", description="Write the model of a checkpoint in a form that others read."
    )
    parser.add_argument("--checkpoint", required=True, metavar="DIR", help="a workdir, or one of its checkpoints/STEP")
    parser.add_argument(
        "--format",
        required=True,
        choices=FORMATS,
        help="safetensors: weights and two JSON files; musicgen: the token decoder for transformers",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to make")
    parser.add_argument("--last", action="store_true", help="the last parameters instead of their running average")
    parser.add_argument("--licence", default="", metavar="NAME", help="musicgen: the weights' licence, where not known")
    parser.add_argument(
        "--drop", action="store_true", help="musicgen: leave out what MusicGen has no place for, instead of refusing"
    )
    given = parser.parse_args(argv)
    out = Path(given.out)
    if given.format == "musicgen":
        dropped = export_musicgen(given.checkpoint, out, not given.last, given.licence, given.drop)
        if dropped:
            print(f"warning: left out, since MusicGen has no place for it: {', '.join(dropped)}", file=sys.stderr)
    elif given.format == "safetensors":
        export_safetensors(given.checkpoint, out, ema=not given.last)
    else:
        raise UserError(f"--format {given.format} is not there yet; use safetensors or musicgen")
    print(json.dumps({"out": str(out), "bytes": (out / WEIGHTS_FILE).stat().st_size}))
    return 0


if __name__ == "__main__":
    run_command(command)
