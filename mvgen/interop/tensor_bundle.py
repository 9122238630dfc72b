"""Variables of a TensorFlow checkpoint ("tensor bundle"), read without TensorFlow.

The index is a table of sorted keys in blocks (the format of LevelDB: keys share prefixes with the key before, each
block ends with offsets at which they do not); each value is a small protocol buffer that says type, shape, and where in
the data file the numbers lie. Format: tensorflow/core/util/tensor_bundle, tensorflow/core/lib/io/table_format.txt.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

MAGIC = 0xDB4775248B80FB57
FOOTER = 48
TRAILER = 5  # of a block: how it is compressed, and a CRC
FLOAT = 1  # TensorFlow's DT_FLOAT


def read_bundle(index: bytes, data: bytes) -> dict[str, np.ndarray]:
    """All float32 variables of a checkpoint of one shard, by name.

    Raises:
        ValueError: it is no such checkpoint, or uses what is not read here.
    """
    if len(index) < FOOTER or struct.unpack("<Q", index[-8:])[0] != MAGIC:
        raise ValueError("not the index of a TensorFlow checkpoint")
    place = len(index) - FOOTER
    for _ in range(2):  # offset and size of a block of statistics, which is not read
        _, place = _varint(index, place)
    offset, place = _varint(index, place)
    size, _ = _varint(index, place)
    found: dict[str, np.ndarray] = {}
    for _, handle in _block(index, offset, size):
        start, place = _varint(handle, 0)
        length, _ = _varint(handle, place)
        for key, value in _block(index, start, length):
            if key:  # the empty key is the header
                array = _tensor(value, data)
                if array is not None:
                    found[key.decode()] = array
    return found


def _block(data: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    if data[offset + size] != 0:
        raise ValueError("the index of the checkpoint is compressed")
    block = data[offset : offset + size]
    restarts = struct.unpack("<I", block[-4:])[0]
    end = len(block) - 4 * (restarts + 1)
    place, key = 0, b""
    while place < end:
        shared, place = _varint(block, place)
        fresh, place = _varint(block, place)
        length, place = _varint(block, place)
        key = key[:shared] + block[place : place + fresh]
        place += fresh
        yield key, block[place : place + length]
        place += length


def _tensor(entry: bytes, data: bytes) -> np.ndarray | None:
    fields = dict(_fields(entry))
    if fields.get(1, 0) != FLOAT:
        return None
    if fields.get(3, 0):
        raise ValueError("the checkpoint has several shards")
    shape = [dict(_fields(part)).get(1, 0) for number, part in _fields(fields.get(2, b"")) if number == 2]
    offset, size = fields.get(4, 0), fields.get(5, 0)
    array = np.frombuffer(data[offset : offset + size], "<f4")
    if array.nbytes != size or array.size != int(np.prod(shape)):
        raise ValueError("the checkpoint's data does not fit its index")
    return array.reshape(shape)


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """(number, value) of each field of a protocol buffer: int, or bytes."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        kind = tag & 7
        value: Any
        if kind == 0:
            value, place = _varint(message, place)
        elif kind == 2:
            length, place = _varint(message, place)
            value, place = message[place : place + length], place + length
        elif kind in (1, 5):
            width = 8 if kind == 1 else 4
            value, place = int.from_bytes(message[place : place + width], "little"), place + width
        else:
            raise ValueError("the checkpoint's index holds a message that cannot be read")
        yield tag >> 3, value


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """A number in groups of seven bits, least first, and where it ends."""
    number = shift = 0
    while True:
        byte = data[place]
        number |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if not byte & 0x80:
            return number, place
