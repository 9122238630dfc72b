"""Small folders of records whose contents tell where they come from, and a model small enough to compile at once."""

from __future__ import annotations

import dataclasses
import runpy
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from mvgen.data.index import index_shards, write_description
from mvgen.data.records import RecordSpec, encode_record, write_tfrecord
from mvgen.training import checkpoint, step

CONFIGS = Path(__file__).parents[2] / "configs"
SPEC = RecordSpec(codebooks=4, codebook_size=64, frame_size=(16, 16), flow_size=(4, 4))


def preset(name: str, records: Path | str) -> ConfigDict:
    """A preset of configs/ over these records."""
    config = runpy.run_path(str(CONFIGS / f"{name}.py"))["get_config"]()
    config.data.path = str(records)
    return config


def tiny(records: Path | str) -> ConfigDict:
    """The debug preset for records of ``SPEC``."""
    config = preset("debug", records)
    config.model.patch, config.model.denoiser_patch = 4, 8
    return config


def write_records(
    folder: Path,
    lengths: dict[str, list[int]],
    spec: RecordSpec = SPEC,
    flow: float | None = None,
    notes: np.ndarray = np.zeros((0, 3)),  # noqa: B008 - never written to
) -> Path:
    """Writes records of so many frames for each split, with their index.

    In record ``r`` (over all splits) frame ``i`` is painted ``i``, its flow is ``r`` (or ``flow``) and token ``j`` is
    ``j % 64``. In each the same ``notes`` are played, on a keyboard.
    """
    folder.mkdir(parents=True, exist_ok=True)
    number = 0
    for split, frames in lengths.items():
        records = []
        for count in frames:
            assert spec.frame_size and spec.flow_size
            numbers = np.arange(count, dtype=np.uint8)[:, None, None, None]
            picture = np.broadcast_to(numbers, (count, *spec.frame_size, 3))
            tokens = np.arange(2 * count) % spec.codebook_size
            record = {
                "clip_id": f"{split}-{number}",
                "source_id": f"{split}-{number}",
                "labels": "keyboard",
                "start_seconds": np.float32(0),
                "tokens": np.repeat(tokens[:, None], spec.codebooks, axis=1).astype(np.int16),
                "flow": np.full((count, *spec.flow_size, 2), number if flow is None else flow, np.float16),
                "frames": picture,
                "notes": notes.astype(np.float32),
            }
            records.append(encode_record(record, spec))
            number += 1
        write_tfrecord(folder / f"recital-{split}.tfrecord-00000-of-00001", records)
    description = {
        "spec": spec.to_json(),
        "made_by": {"codec": spec.codec},
        "splits": {split: len(frames) for split, frames in lengths.items()},
        "index": {split: index_shards(sorted(folder.glob(f"recital-{split}.*")), spec) for split in lengths},
    }
    write_description(folder, description)
    return folder


def write_checkpoint(folder: Path, config: ConfigDict, spec: RecordSpec, **settings: str) -> Path:
    """Writes the working folder of a run that has done one step: a fresh model, no optimizer history.

    ``settings``: what its records were made with.
    """
    folder.mkdir(parents=True, exist_ok=True)
    params = nnx.to_pure_dict(nnx.state(step.make_model(config, spec), nnx.Param))
    checkpoint.write_description(folder, config, {"spec": spec.to_json(), "made_by": {"settings": settings}})
    saved = checkpoint.Checkpoints(folder)
    saved.save(1, dataclasses.replace(step.first_state(config, params), step=jnp.int32(1)), {})
    saved.close()
    return folder


class StandIn(nnx.Module):
    """Stands in for MVGen where the loop is tested and not the model: two matrices over the mean colour."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.fc1 = nnx.Linear(3, 8, rngs=rngs)
        self.fc2 = nnx.Linear(8, 1, rngs=rngs)
