"""What a record holds, and how it is written.

A record is one clip (or one segment of a long one): a ``tf.train.Example`` whose every feature is a single bytes value,
a raw little-endian C-order array or UTF-8 text (:mod:`mvgen.data.tf_example`), in TFRecord files
(:mod:`mvgen.data.tfrecord`). Neither TensorFlow nor TFDS is needed to train; TFDS opens the same folder with
``tfds.builder_from_directory``.

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
landmarks       [T, points, 3]               float16   x, y in 0..1 of the picture, confidence in 0..1; where made
notes           [N, 3]                       float32   onset s, offset s, MIDI pitch; N = 0 when unknown
==============  ===========================  ========  ==========================================================

T frames and 2T tokens cover exactly the same time (:mod:`mvgen.clock`); times of notes count from the record's start.
A landmark that is not seen in a frame is three zeros there.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from mvgen.clock import tokens_of
from mvgen.data import tf_example

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
        landmarks: what each point of ``landmarks`` is ("left_wrist"), in order; empty where there are none.
    """

    codebooks: int
    codebook_size: int
    frame_size: tuple[int, int] | None = (64, 64)
    flow_size: tuple[int, int] | None = (16, 16)
    semantic_dim: int = 0
    latent_shape: tuple[int, int, int] | None = None
    codec: str = "encodec_tiny"
    landmarks: tuple[str, ...] = ()

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

    def serves(self, wanted: RecordSpec, landmarks: bool) -> bool:
        """Whether records of this spec can be given to a model that was trained on others.

        Args:
            wanted: what the model was trained on.
            landmarks: whether it sees landmarks; else it does not matter which there are.
        """
        mine = self if landmarks else dataclasses.replace(self, landmarks=wanted.landmarks)
        return mine == wanted

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
        if self.landmarks:
            features["landmarks"] = ((None, len(self.landmarks), 3), np.dtype("<f2"))
        return features


def _check_aligned(record: Record, spec: RecordSpec) -> None:
    """Raises ``ValueError`` unless every array has the spec's shape and all cover the same whole frames."""
    lengths = {}
    for name, (shape, _) in spec.features().items():
        if name not in record:
            continue
        got = record[name].shape
        if len(got) != len(shape) or any(size not in (None, have) for size, have in zip(shape, got, strict=True)):
            raise ValueError(f"feature {name!r} has shape {got}, expected {shape}")
        if name in ("frames", "latents", "flow", "semantic", "landmarks"):
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
    return tf_example.serialise(values)


def decode_record(data: bytes | np.ndarray, spec: RecordSpec, features: Iterable[str] | None = None) -> Record:
    """Parses a record.

    Args:
        data: the serialised ``Example``: bytes, or uint8 ``[length]``.
        features: names to decode, by default all that ``spec`` names. Arrays are read-only views of ``data``, and start
            at whatever byte they start at there: ``np.require(array, requirements="A")`` copies where that matters.

    Raises:
        ValueError: not an ``Example``, a feature is missing or of the wrong size, or lengths do not agree.
    """
    found = tf_example.parse(data)
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
