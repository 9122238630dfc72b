"""What a run is made of before its first step: a checked configuration, examples, and compiled programs."""

from __future__ import annotations

import math
import os
import runpy
from functools import cache
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from mvgen.data import loader
from mvgen.data.camera import Reach
from mvgen.data.records import RecordSource, RecordSpec
from mvgen.data.records import read_description as read_records
from mvgen.errors import UserError
from mvgen.files import preset
from mvgen.training import sharding
from mvgen.training.compilation import keep_compiled
from mvgen.training.damaged_records import SparingWindows
from mvgen.training.optimizer import learned_parts
from mvgen.training.step import Program, build


@cache
def bounds() -> dict[str, tuple[float, float]]:
    """Smallest and largest value of every number of a configuration, as ``configs/base.py`` says them."""
    return runpy.run_path(os.fspath(preset("base")))["BOUNDS"]


def check_config(config: ConfigDict) -> None:
    """Raises ``UserError`` for a value that no run can have. What the model is built from is checked by the model."""
    if not config.data.path:
        raise UserError("--config.data.path=DIR is missing: the folder of records to learn from")
    for name, (least, most) in bounds().items():
        section, _, field = name.rpartition(".")
        value = config[section].get(field, least) if section else config[field]  # older runs lack newer fields
        if not least <= value <= most or not math.isfinite(value):
            asked = f"at least {least}" if most == math.inf else f"between {least} and {most}"
            raise UserError(f"config.{name} is {value}; it must be {asked}")
    if config.train.get("stop_after") and not config.train.eval_every:
        raise UserError("config.train.stop_after waits for evaluations: set config.train.eval_every, too")
    learned_parts(config)
    if config.loss.get("notes", 0.0) and not config.model.get("notes_width", 0):
        raise UserError("config.loss.notes is set, and the model has no note head: set config.model.notes_width")


def prepare(config: ConfigDict, spec: RecordSpec) -> Program:
    """The programs of a configuration on the mesh that it asks for."""
    keep_compiled(config.train.compilation_cache)
    mesh = sharding.make_mesh(**config.mesh.to_dict())
    sharding.check_batch(config.data.batch_size, mesh)
    return build(config, spec, mesh)


def open_windows(config: ConfigDict, split: str, camera: Reach | None = None) -> SparingWindows:
    """The windows of a split, as ``config.data`` and ``config.model`` ask for them; with a ``camera`` filmed anew."""
    spec = RecordSpec.from_json(read_records(config.data.path)["spec"])
    features = loader.used_features(spec, config.model)
    if config.loss.get("notes", 0.0):
        features = (*features, "notes", "labels")
    source = RecordSource(config.data.path, split, features)
    frames = loader.window_frames(config.data.window_seconds)
    return SparingWindows(source, frames, camera, config.data.get("bad_records", 0))


def batches_of(
    config: ConfigDict,
    windows: loader.Windows,
    first_example: int,
    shuffle: bool = True,
    share: tuple[int, int] = (0, 1),
) -> loader.Batches:
    """The batches of one process, from an example of the run on.

    ``share``: which share of each batch is its own, of how many (:func:`mvgen.training.sharding.share_of`).
    """
    return loader.batches(
        windows,
        config.data.batch_size,
        config.seed,
        first_example=first_example,
        shuffle=shuffle,
        threads=config.data.threads,
        workers=config.data.workers if shuffle else 0,
        process_index=share[0],
        process_count=share[1],
    )


def abstract_batch(config: ConfigDict, windows: loader.Windows, program: Program) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes, types and shardings of a batch, from one window."""
    window = windows.cut(int(windows.usable[0]), np.random.default_rng(0))
    size = config.data.batch_size
    return {
        name: jax.ShapeDtypeStruct((size, *array.shape), array.dtype, sharding=program.batch_sharding)
        for name, array in window.items()
    }


def compile_step(config: ConfigDict, program: Program, windows: loader.Windows) -> Any:
    """The compiled training step."""
    return program.step.lower(program.abstract, abstract_batch(config, windows, program)).compile()


def compile_evaluation(config: ConfigDict, program: Program, windows: loader.Windows) -> Any:
    """The compiled evaluation of held-out batches."""
    number = jax.ShapeDtypeStruct((), np.int32, sharding=NamedSharding(program.mesh, PartitionSpec()))
    return program.evaluate.lower(program.abstract.ema, abstract_batch(config, windows, program), number).compile()


def compile_attention(config: ConfigDict, program: Program, windows: loader.Windows) -> Any:
    """The compiled program of attention maps."""
    return program.attend.lower(program.abstract.ema, abstract_batch(config, windows, program)).compile()
