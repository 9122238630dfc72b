"""musicnn without TensorFlow: the checkpoint's table is read, and the network hears what it should."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from mvgen.errors import UserError
from mvgen.interop.musicnn import TAGS, Musicnn
from mvgen.interop.tensor_bundle import MAGIC, read_bundle


def _varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def _block(entries: list[tuple[bytes, bytes]]) -> bytes:
    body, before = b"", b""
    for key, value in entries:
        shared = next((n for n in range(min(len(key), len(before)), -1, -1) if key[:n] == before[:n]), 0)
        body += _varint(shared) + _varint(len(key) - shared) + _varint(len(value)) + key[shared:] + value
        before = key
    return body + struct.pack("<II", 0, 1)


def _bundle(arrays: dict[str, np.ndarray]) -> tuple[bytes, bytes]:
    """A checkpoint as TensorFlow writes it: one block of keys, one of its handle, the footer."""
    data, entries = b"", [(b"", b"\x08\x01")]
    for name, array in sorted(arrays.items()):
        shape = b"".join(b"\x12" + _varint(len(d)) + d for d in (b"\x08" + _varint(n) for n in array.shape))
        entry = b"\x08\x01\x12" + _varint(len(shape)) + shape + b"\x20" + _varint(len(data))
        entries.append((name.encode(), entry + b"\x28" + _varint(array.nbytes) + b"\x35\x00\x00\x00\x00"))
        data += array.tobytes()
    index = _block(entries)
    handle = _varint(0) + _varint(len(index))
    index += bytes(5)
    start, table = len(index), _block([(b"z", handle)])
    index += table + bytes(5)
    footer = _varint(0) + _varint(0) + _varint(start) + _varint(len(table))
    return index + footer.ljust(40, b"\0") + struct.pack("<Q", MAGIC), data


def test_a_checkpoint_is_read() -> None:
    rng = np.random.default_rng(0)
    arrays = {f"conv2d_{n}/kernel": rng.normal(size=(3, n + 1, 200)).astype(np.float32) for n in range(4)}
    index, data = _bundle(arrays)
    found = read_bundle(index, data)
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
    with pytest.raises(ValueError, match="does not fit"):
        read_bundle(index, data[:-4])
    with pytest.raises(ValueError, match="not the index"):
        read_bundle(index[:-1] + b"x", data)


def test_drums_are_heard_as_drums() -> None:
    try:
        listen = Musicnn()
    except UserError as error:
        pytest.skip(str(error))
    rng = np.random.default_rng(0)
    sound = np.zeros(16_000 * 6, np.float32)
    for beat in range(24):
        strike = rng.normal(0, 0.5, 2400) * np.exp(-np.arange(2400) / 300)
        sound[beat * 4000 : beat * 4000 + 2400] += strike.astype(np.float32)
    tags, features = listen(sound, 16_000)
    assert tags.shape == (2, 50) and features.shape == (2, 200) and np.isfinite(features).all()
    told = dict(zip(TAGS, tags.mean(axis=0), strict=True))
    assert told["drums"] > told["violin"] and told["drums"] > told["piano"]
    assert listen(np.zeros(100, np.float32), 16_000)[0].shape == (1, 50)
