"""What a record holds, how it is written, and random access over a folder of records.

A record is one clip (or one segment of a long one): a ``tf.train.Example`` whose every feature is a single bytes value,
a raw little-endian C-order array or UTF-8 text (:mod:`mvgen.example`), in TFRecord files (:mod:`mvgen.tfrecord`).
Neither TensorFlow nor TFDS is needed to train; TFDS opens the same folder with ``tfds.builder_from_directory``.

==============  ===========================  ========  ==========================================================
feature         shape                        dtype     meaning
==============  ===========================  ========  ==========================================================
clip_id         text                                   unique in the folder
source_id       text                                   the performance it was cut from; decides the split
labels          text                                   comma-separated, for example ``keyboard``
start_seconds   scalar                       float32   where in the source the record begins
tokens          [2T, codebooks]              int16     EnCodec codes, 50 a second
flow            [T, h, w, 2]                 float16   optical flow (x, y) from the frame before, in pixels a frame
semantic        [T, dim]                     float16   embedding of each frame, where made
frames          [T, H, W, 3]                 uint8     RGB pixels, or instead of them:
latents         [T, h, w, c]                 float16   latents of an image autoencoder
notes           [N, 3]                       float32   onset s, offset s, MIDI pitch; N = 0 when unknown
==============  ===========================  ========  ==========================================================

T frames and 2T tokens cover exactly the same time (:mod:`mvgen.clock`); times of notes count from the record's start.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mvgen import example
from mvgen.clock import tokens_of
from mvgen.errors import UserError
from mvgen.tfrecord import RecordError, TFRecordFile, frame_tfrecord, write_tfrecord

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

DESCRIPTION_FILE = "mvgen_records.json"
"""The JSON beside the shards: spec, what made the records, records in each split."""
DATASET_NAME = "recital"
"""First word of every shard's name, whatever the source: the TFDS name of the format, from the first data set in it."""
TEXT_FEATURES = ("clip_id", "source_id", "labels")

Record = dict[str, Any]
"""Feature name to NumPy array, or to ``str`` for text features."""


@dataclasses.dataclass(frozen=True)
class RecordSpec:
    """The sizes that all records of a folder share.

    Attributes:
        codebooks: codes of each token.
        codebook_size: entries of a codebook; codes are in ``[0, codebook_size)``.
        frame_size: (height, width) of the pixels, or None where the records hold none.
        flow_size: (height, width) of the flow, or None.
        semantic_dim: width of the semantic embedding; 0 where there is none.
        latent_shape: (height, width, channels) of each frame's latents, or None.
        codec: name of the codec preset or folder that made the tokens.
    """

    codebooks: int
    codebook_size: int
    frame_size: tuple[int, int] | None = (64, 64)
    flow_size: tuple[int, int] | None = (16, 16)
    semantic_dim: int = 0
    latent_shape: tuple[int, int, int] | None = None
    codec: str = "encodec_tiny"

    def to_json(self) -> dict[str, Any]:
        """A dict that ``json`` can write."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RecordSpec:
        """The inverse of :meth:`to_json`. Raises ``ValueError`` when fields are missing or unknown."""
        known = {field.name for field in dataclasses.fields(cls)}
        if set(data) - known or not {"codebooks", "codebook_size"} <= set(data):
            raise ValueError(f"not a record spec: fields {sorted(data)}, expected {sorted(known)}")
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return cls(**fields)

    def features(self) -> dict[str, tuple[tuple[int | None, ...], np.dtype]]:
        """Shape (None where the length varies) and dtype of every array feature; text features are not listed."""
        features: dict[str, tuple[tuple[int | None, ...], np.dtype]] = {
            "start_seconds": ((), np.dtype("<f4")),
            "tokens": ((None, self.codebooks), np.dtype("<i2")),
            "notes": ((None, 3), np.dtype("<f4")),
        }
        if self.frame_size:
            features["frames"] = ((None, *self.frame_size, 3), np.dtype("u1"))
        if self.latent_shape:
            features["latents"] = ((None, *self.latent_shape), np.dtype("<f2"))
        if self.flow_size:
            features["flow"] = ((None, *self.flow_size, 2), np.dtype("<f2"))
        if self.semantic_dim:
            features["semantic"] = ((None, self.semantic_dim), np.dtype("<f2"))
        return features


# --- one record -----------------------------------------------------------------------------------------------------


def _check_aligned(record: Record, spec: RecordSpec) -> None:
    """Raises ``ValueError`` unless every array has the spec's shape and all cover the same whole frames."""
    lengths = {}
    for name, (shape, _) in spec.features().items():
        if name not in record:
            continue
        got = record[name].shape
        if len(got) != len(shape) or any(size not in (None, have) for size, have in zip(shape, got, strict=True)):
            raise ValueError(f"feature {name!r} has shape {got}, expected {shape}")
        if name in ("frames", "latents", "flow", "semantic"):
            lengths[name] = tokens_of(got[0])
        elif name == "tokens":
            lengths[name] = got[0]
    if len(set(lengths.values())) > 1:
        raise ValueError(f"features do not cover the same time (in tokens): {lengths}")
    if "tokens" in lengths and (lengths["tokens"] == 0 or lengths["tokens"] % tokens_of(1)):
        raise ValueError(f"{lengths['tokens']} tokens are not a whole number of frames")


def encode_record(record: Mapping[str, Any], spec: RecordSpec) -> bytes:
    """Serialises a record; the same record always gives the same bytes.

    Args:
        record: every feature of the table above that ``spec`` asks for (see :meth:`RecordSpec.features`), and no other.
            Arrays are checked for dtype: only a change that loses nothing (byte order) is made.

    Raises:
        ValueError: a feature is missing, unknown, of the wrong dtype or shape, or features differ in length.
    """
    wanted = spec.features()
    expected = set(wanted) | set(TEXT_FEATURES)
    if set(record) != expected:
        raise ValueError(
            f"record has features {sorted(record)}; missing {sorted(expected - set(record))}, "
            f"unknown {sorted(set(record) - expected)}"
        )
    arrays = {name: np.asarray(record[name]) for name in wanted}
    for name, (_, dtype) in wanted.items():
        if arrays[name].dtype.newbyteorder("<") != dtype.newbyteorder("<"):
            raise ValueError(f"feature {name!r} is {arrays[name].dtype}, expected {dtype}")
    _check_aligned(arrays, spec)
    values = {}
    for name in TEXT_FEATURES:
        if not isinstance(record[name], str):
            raise ValueError(f"feature {name!r} is {type(record[name]).__name__}, expected text")
        values[name] = record[name].encode()
    for name, (_, dtype) in wanted.items():
        values[name] = arrays[name].astype(dtype, copy=False).tobytes()
    return example.serialise(values)


def decode_record(data: bytes | np.ndarray, spec: RecordSpec, features: Iterable[str] | None = None) -> Record:
    """Parses a record.

    Args:
        data: the serialised ``Example``: bytes, or uint8 ``[length]``.
        features: names to decode, by default all that ``spec`` names. Arrays are read-only views of ``data``, and start
            at whatever byte they start at there: ``np.require(array, requirements="A")`` copies where that matters.

    Raises:
        ValueError: not an ``Example``, a feature is missing or of the wrong size, or lengths do not agree.
    """
    found = example.parse(data)
    arrays = spec.features()
    record: Record = {}
    for name in (*TEXT_FEATURES, *arrays) if features is None else features:
        if name not in arrays and name not in TEXT_FEATURES:
            raise ValueError(f"these records hold no feature {name!r}; they hold {[*TEXT_FEATURES, *arrays]}")
        if len(found.get(name, ())) != 1:
            raise ValueError(f"feature {name!r} is missing from the record")
        (value,) = found[name]
        if name in TEXT_FEATURES:
            record[name] = bytes(value).decode()
            continue
        shape, dtype = arrays[name]
        row = math.prod(size for size in shape if size is not None) * dtype.itemsize
        if len(value) % row or (None not in shape and len(value) != row):
            raise ValueError(f"feature {name!r} has {len(value)} bytes, not a whole number of {shape} {dtype}")
        array = np.frombuffer(value, dtype).reshape([-1 if size is None else size for size in shape])
        array.flags.writeable = False
        record[name] = array
    _check_aligned(record, spec)
    return record


# --- a folder of records --------------------------------------------------------------------------------------------


def read_description(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The JSON that tells what the records are: keys ``spec``, ``made_by``, ``splits``.

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
        try:
            self.files = [TFRecordFile(path) for path in shard_paths(folder, split)]
        except RecordError as error:
            raise UserError(f"{error}; convert again, or see `python -m data_prep inspect`") from None
        # Record i lies in the file whose half-open range of numbers holds i.
        self._ends = np.cumsum([len(file) for file in self.files], dtype=np.int64)
        if len(self) != splits[split]:
            raise UserError(f"{folder}: split {split!r} holds {len(self)} records, not {splits[split]} as described")

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
