"""A folder of records: random access over all records of a split (:mod:`mvgen.data.record` says what one holds).

Neither TensorFlow nor TFDS is needed to train; TFDS opens the same folder with ``tfds.builder_from_directory``.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mvgen.data.index import DESCRIPTION_FILE, kept_index, make_index
from mvgen.data.record import TEXT_FEATURES, Record, RecordSpec, decode_record, encode_record
from mvgen.data.tfrecord import RecordError, TFRecordFile, frame_tfrecord, write_tfrecord
from mvgen.errors import UserError

__all__ = [
    "DATASET_NAME",
    "DESCRIPTION_FILE",
    "TEXT_FEATURES",
    "Record",
    "RecordError",
    "RecordSource",
    "RecordSpec",
    "TFRecordFile",
    "decode_record",
    "encode_record",
    "frame_tfrecord",
    "read_description",
    "shard_paths",
    "write_tfrecord",
]

DATASET_NAME = "recital"
"""First word of every shard's name, whatever the source: the TFDS name of the format, from the first data set in it."""


def read_description(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The JSON that tells what records are: ``spec``, ``made_by``, ``splits``, and ``index`` (:mod:`mvgen.data.index`).

    Raises:
        UserError: the folder holds no such file, or it cannot be understood.
    """
    path = Path(folder) / DESCRIPTION_FILE
    try:
        description = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{folder} is not a folder of records: it has no {DESCRIPTION_FILE}; "
                        "make one with `python -m data_prep convert` or `recital --records`") from None  # fmt: skip
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    try:
        RecordSpec.from_json(description["spec"])
        description["splits"] = {str(split): int(count) for split, count in description["splits"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is not a description of records: {error}") from None
    return description


def shard_paths(folder: str | os.PathLike[str], split: str) -> list[Path]:
    """The shards of a split, in order. Raises ``UserError`` when one of them is missing."""
    pattern = re.compile(rf".+-{re.escape(split)}\.tfrecord-(\d+)-of-(\d+)")
    found = {path: match for path in Path(folder).iterdir() if (match := pattern.fullmatch(path.name))}
    shards = sorted(found, key=lambda path: path.name)
    count = int(found[shards[0]][2]) if shards else 0
    if [int(found[path][1]) for path in shards] != list(range(count)):
        raise UserError(f"{folder}: {len(shards)} of {count} shards of split {split!r} are there; convert again")
    return shards


class RecordSource:
    """Random access over all records of a split, for Grain or any loop: ``len(source)``, ``source[i]`` -> dict.

    Args:
        folder: a folder of records.
        split: "train" or "test".
        features: names to decode, by default all.

    Attributes:
        spec: the :class:`RecordSpec` of the folder.
        description: what :func:`read_description` gives.

    Raises:
        UserError: no such folder or split, or a shard is missing or damaged beyond indexing.
        RecordError: on reading a record whose CRC does not match or whose contents do not fit the spec.
    """

    def __init__(self, folder: str | os.PathLike[str], split: str, features: Iterable[str] | None = None):
        self.folder, self.split = os.fspath(folder), split
        self.description = read_description(folder)
        self.spec = RecordSpec.from_json(self.description["spec"])
        self.features = None if features is None else tuple(features)
        splits = self.description["splits"]
        if split not in splits:
            raise UserError(f"{folder} has no split {split!r}; it has {', '.join(splits) or 'none'}")
        paths = shard_paths(folder, split)
        self._index = kept_index(split, paths, self.description)
        try:
            self.files = [
                TFRecordFile(path, np.asarray(self._index[path.name]["bytes"], np.int64) if self._index else None)
                for path in paths
            ]
        except RecordError as error:
            raise UserError(f"{error}; convert again, or see `python -m data_prep inspect`") from None
        # Record i lies in the file whose half-open range of numbers holds i.
        self._ends = np.cumsum([len(file) for file in self.files], dtype=np.int64)
        if len(self) != splits[split]:
            raise UserError(f"{folder}: split {split!r} holds {len(self)} records, not {splits[split]} as described")

    @cached_property
    def frames(self) -> np.ndarray:
        """Length of every record in frames, int64 ``[records]``.

        Nothing is read for it where the folder has an index (:mod:`mvgen.data.index`); else all records are, once.

        Raises:
            RecordError: all records are read, and one cannot be trusted.
        """
        paths = [Path(file.path) for file in self.files]
        index = self._index or make_index(self.folder, self.split, paths, self.description)
        return np.array([length for path in paths for length in index[path.name]["frames"]], np.int64)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, index: int) -> Record:
        # Each array gets memory of its own, where it also starts at a multiple of its items' size.
        return {name: value if isinstance(value, str) else value.copy() for name, value in self.view(index).items()}

    def view(self, index: int) -> Record:
        """As ``self[index]``, but arrays lie in memory that this thread's next reading overwrites: for what copies out
        of them at once, as training's loader does with windows."""
        index = int(index)
        if not 0 <= index < len(self):
            raise IndexError(index)
        shard = int(np.searchsorted(self._ends, index, side="right"))
        file = self.files[shard]
        number = index - (int(self._ends[shard - 1]) if shard else 0)
        try:
            return decode_record(file.view(number), self.spec, self.features)
        except RecordError:
            raise
        except ValueError as error:
            raise RecordError(file.path, number, str(error)) from None

    def __repr__(self) -> str:
        # Grain names a data source in its checkpoints by repr: same folder and split, same source.
        return f"RecordSource({self.folder!r}, {self.split!r}, features={self.features})"
