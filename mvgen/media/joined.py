"""Recordings that were joined byte by byte, as ``cat a.mp3 b.mp3`` does: where in a file each of them begins.

Most demuxers read the first and are silent about the rest (MP4, WAV, FLV, ASF), or take the second one's header for
sound (AU, MP3). So such a file is cut into windows, and each is read as a file of its own. Transport streams, MPEG
program streams and chained Ogg are read on by their demuxers: :mod:`mvgen.media.timeline` sets their stamps right. Bare
AAC, and MP3 without a header frame, tell no border: they are one stream, and are read as that.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
MXF = bytes.fromhex("060e2b34020501010d0102010102")
W64 = b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000")
NUT = b"nut/multimedia container\0"
EBML = b"\x1a\x45\xdf\xa3"
BORDERS: tuple[tuple[bytes, Callable[[bytes], bool]], ...] = (
    (b"RIFF", lambda head: head[8:16] in (b"WAVEfmt ", b"WAVEJUNK", b"WAVELIST", b"WAVEbext", b"AVI LIST")),
    (b"RF64", lambda head: head[8:16] == b"WAVEds64"),
    (W64, lambda head: True),
    (b"FORM", lambda head: head[8:16] in (b"AIFFCOMM", b"AIFCFVER", b"AIFCCOMM")),
    (b"fLaC", lambda head: head[4:8] in (b"\0\0\0\x22", b"\x80\0\0\x22")),
    (b".snd\0\0", lambda head: 24 <= int.from_bytes(head[4:8]) <= 4096 and head[12:15] == bytes(3)),
    (b"caff\0\1\0\0desc", lambda head: True),
    (b"FLV\1", lambda head: head[4] in (1, 4, 5) and head[5:9] == b"\0\0\0\x09"),
    (EBML, lambda head: b"\x42\x82" in head and (b"matroska" in head or b"webm" in head)),
    (NUT, lambda head: True),
    (ASF, lambda head: True),
    (MXF, lambda head: True),
)
"""How recordings begin: what to look for, and whether the bytes there are a beginning indeed."""
HEAD = 64
"""Bytes of a beginning that are looked at."""
BLOCK = 1 << 20
"""Bytes that are searched at once."""
LONGEST_TAG = 1 << 24
"""Bytes before a beginning among which its tag is looked for."""
HEADER_FRAMES = (b"Xing", b"Info", b"VBRI")
"""Marks of the frame at an MP3's beginning that tells its length."""


@dataclass(frozen=True)
class Window:
    """Bytes ``begin .. end`` of a file."""

    begin: int
    end: int


class WindowFile(io.RawIOBase):
    """A window as a file of its own, for reading."""

    def __init__(self, name: str, window: Window):
        self.name = name
        self._window = window
        self._file = open(name, "rb")  # noqa: SIM115 (closed by close)
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        left = max(0, self._window.end - self._window.begin - self._at)
        self._file.seek(self._window.begin + self._at)
        data = self._file.read(left if size < 0 else min(size, left))
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._window.end - self._window.begin}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def close(self) -> None:
        self._file.close()
        super().close()


def windows_of(name: str) -> list[Window]:
    """The recordings of a file, in its order; a single one, of all its bytes, where nothing was joined.

    Raises:
        OSError: the file cannot be read.
    """
    # Not mapped into memory: a file that shrinks meanwhile would end the process.
    with open(name, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        begins = [0, *_later_begins(file)]
    return [Window(begin, end) for begin, end in zip(begins, [*begins[1:], size], strict=True)]


def _later_begins(file: BinaryIO) -> Iterator[int]:
    if _bytes(file, 4, 4) == b"ftyp":
        yield from _file_types(file)
        return
    first = _behind_tag(file, 0)
    start = _bytes(file, first, HEAD)
    for mark, agrees in BORDERS:
        if start.startswith(mark) and agrees(start):
            last = first
            for at in _places(file, mark, first + len(mark)):
                if agrees(_bytes(file, at, HEAD).ljust(HEAD, b"\xff")):
                    last = _before_tag(file, at, last + len(mark))
                    yield last
            return
    if _is_layer_3(start):
        yield from _header_frames(file, first)


def _bytes(file: BinaryIO, at: int, count: int) -> bytes:
    file.seek(at)
    return file.read(count)


def _places(file: BinaryIO, mark: bytes, first: int) -> Iterator[int]:
    """Where a mark stands, from byte ``first`` on."""
    while block := _bytes(file, first, BLOCK):
        at = block.find(mark)
        while at >= 0:
            yield first + at
            at = block.find(mark, at + 1)
        if len(block) < BLOCK:
            return
        first += len(block) - len(mark) + 1  # one that lies across two blocks


def _file_types(file: BinaryIO) -> Iterator[int]:
    """Boxes ``ftyp`` of an MP4 behind its index (ISO/IEC 14496-12, 4.2)."""
    at, indexed = 0, False
    while len(head := _bytes(file, at, 16)) >= 8:
        size, kind = struct.unpack_from(">I4s", head)
        if size == 1 and len(head) == 16:
            (size,) = struct.unpack_from(">Q", head, 8)
        if kind == b"ftyp" and indexed:
            yield at
            indexed = False
        indexed = indexed or kind == b"moov"
        if size < 8:  # to the end, or broken
            return
        at += size


def _is_layer_3(head: bytes) -> bool:
    """Whether bytes begin as a frame of MPEG audio, layer III, does."""
    return len(head) > 2 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2


def _header_frames(file: BinaryIO, first: int) -> Iterator[int]:
    """Where an MP3's further header frames begin: the mark stands behind side information, which is all zeros."""
    begins = set()
    for mark in HEADER_FRAMES:
        for at in _places(file, mark, first):
            for behind in (36,) if mark == b"VBRI" else (36, 21, 13):
                begin = at - behind
                frame = _bytes(file, begin, behind) if begin > first else b""
                if _is_layer_3(frame) and not any(frame[4:]):
                    begins.add(begin)
    last = first
    for begin in sorted(begins):
        last = _before_tag(file, begin, last + 4)
        yield last


def _behind_tag(file: BinaryIO, at: int) -> int:
    """The byte behind an ID3 tag that begins at ``at``; ``at`` where there is none."""
    head = _bytes(file, at, 10)
    if len(head) < 10 or head[:3] != b"ID3" or any(byte > 127 for byte in head[6:]):
        return at
    return at + 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9])


def _before_tag(file: BinaryIO, at: int, first: int) -> int:
    """Where the ID3 tag begins, at ``first`` or later, that ends at ``at``; ``at`` where there is none."""
    begin = max(first, at - LONGEST_TAG)
    before = _bytes(file, begin, at - begin)
    tag = before.rfind(b"ID3")
    while tag >= 0:
        if _behind_tag(file, begin + tag) == at:
            return begin + tag
        tag = before.rfind(b"ID3", 0, tag)
    return at
