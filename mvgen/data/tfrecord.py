"""TFRecord files, written and read at random, with a CRC32C check of everything that is read and no TensorFlow."""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import google_crc32c
import numpy as np

from mvgen.files import whole_file

HEADER, FOOTER = 12, 4
FRAMING = HEADER + FOOTER
"""Bytes around each record: its length and the CRC of that before it, the CRC of its data after it."""


class RecordError(ValueError):
    """A record that cannot be trusted. Attributes: ``path``, ``number`` (from 0, in that file), ``reason``."""

    def __init__(self, path: str | os.PathLike[str], number: int, reason: str):
        super().__init__(f"{os.fspath(path)}: record {number}: {reason}")
        self.path, self.number, self.reason = os.fspath(path), number, reason

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.number, self.reason)


def _masked_crc(data: bytes | np.ndarray) -> int:
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def frame_tfrecord(data: bytes) -> bytes:
    """One serialised record as it stands in a TFRecord file: length and data, each followed by its masked CRC32C."""
    length = struct.pack("<Q", len(data))
    return b"".join((length, struct.pack("<I", _masked_crc(length)), data, struct.pack("<I", _masked_crc(data))))


def write_tfrecord(path: str | os.PathLike[str], records: Iterable[bytes]) -> int:
    """Writes serialised records to one TFRecord file (atomically) and returns how many there were."""
    count = 0
    with whole_file(path) as partial, open(partial, "wb") as file:
        for data in records:
            file.write(frame_tfrecord(data))
            count += 1
    return count


_of_thread = threading.local()


def _buffer(size: int) -> np.ndarray:
    """Memory of this thread for ``size`` bytes, the same each time: new pages cost more than what is read into them."""
    buffer: np.ndarray | None = getattr(_of_thread, "buffer", None)
    if buffer is None or len(buffer) < size:
        buffer = _of_thread.buffer = np.empty(size, np.uint8)
    return buffer[:size]


class TFRecordFile:
    """Random access over one TFRecord file: an index of offsets, ``os.preadv``, and a CRC check of what is read.

    Data is read only when asked for. Objects can be pickled (a worker process opens the file anew) and shared by
    threads.

    Args:
        path: the file.
        lengths: bytes of each record, where they are known; else the file's own lengths are walked over.

    Attributes:
        lengths: the same, int64 ``[records]``.

    Raises:
        RecordError: when a length is damaged, the file ends inside a record or is not as long as ``lengths`` says (on
            construction), or when the data of the record that is read does not match its CRC.
    """

    def __init__(self, path: str | os.PathLike[str], lengths: np.ndarray | None = None):
        self.path = os.fspath(path)
        self._descriptor: int | None = None
        if lengths is None:
            self._offsets, self.lengths = self._index()
            return
        self.lengths = lengths
        ends = np.cumsum(lengths + FRAMING, dtype=np.int64)
        self._offsets = ends - lengths - FOOTER
        size, told = os.path.getsize(self.path), int(ends[-1]) if len(ends) else 0
        if size != told:
            raise RecordError(self.path, 0, f"the file has {size} bytes, and by its folder's index {told}")

    def _index(self) -> tuple[np.ndarray, np.ndarray]:
        offsets: list[int] = []
        lengths: list[int] = []
        size = os.path.getsize(self.path)
        position = 0
        with open(self.path, "rb", buffering=HEADER) as file:
            while position < size:
                file.seek(position)
                header = file.read(HEADER)
                if len(header) < HEADER:
                    raise RecordError(self.path, len(offsets), "the file ends inside a record's header")
                if _masked_crc(header[:8]) != struct.unpack("<I", header[8:])[0]:
                    raise RecordError(self.path, len(offsets), "the CRC of its length does not match")
                (length,) = struct.unpack("<Q", header[:8])
                if position + HEADER + length + FOOTER > size:
                    raise RecordError(self.path, len(offsets), "the file ends inside the record")
                offsets.append(position + HEADER)
                lengths.append(length)
                position += HEADER + length + FOOTER
        return np.array(offsets, np.int64), np.array(lengths, np.int64)

    def __len__(self) -> int:
        return len(self._offsets)

    def __getitem__(self, number: int) -> bytes:
        return self.view(number).tobytes()

    def view(self, number: int) -> np.ndarray:
        """The bytes of a record, uint8 ``[length]``, in memory that this thread's next reading of any file overwrites.

        The whole record is read and its CRC checked, each time.

        Raises:
            IndexError: no such record.
            RecordError: the CRC does not match, or the file has become shorter.
        """
        if not 0 <= number < len(self):
            raise IndexError(number)
        if self._descriptor is None:
            self._descriptor = os.open(self.path, os.O_RDONLY)
        length = int(self.lengths[number])
        # One reading for data and CRC, however many pieces the system gives it in.
        buffer = _buffer(length + FOOTER)
        filled = 0
        while filled < len(buffer):
            count = os.preadv(self._descriptor, [buffer[filled:].data], int(self._offsets[number]) + filled)
            if not count:
                raise RecordError(self.path, number, "the file ends inside the record")
            filled += count
        data = buffer[:length]
        if _masked_crc(data) != int.from_bytes(buffer[length:].tobytes(), "little"):
            raise RecordError(self.path, number, "the CRC of its data does not match")
        return data

    def __iter__(self) -> Iterator[bytes]:
        return (self[number] for number in range(len(self)))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_descriptor": None}

    def close(self) -> None:
        """Closes the file; the next read opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    # `os` may be gone already when the interpreter ends: the function is kept.
    def __del__(self, _close: Callable[[int], None] = os.close) -> None:
        if getattr(self, "_descriptor", None) is not None:
            _close(self._descriptor)  # type: ignore[arg-type]
