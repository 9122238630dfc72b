"""The pages of an Ogg file: which of them are damaged, and where on the timeline those behind a lost one lie.

libavformat drops a page whose check sum is wrong, says nothing, and stamps the sound behind it as if it followed what
was before (RFC 3533 has the format; a page's granule position is the sample at which its last packet ends).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import av

from mvgen.media.joined import Window

MARK = b"OggS"
HEADER = 27
"""Bytes of a page before its table of segments."""
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""Bytes with their bits in the other order: Ogg's check sum takes them so, zlib's the other way."""
NO_GRANULE = -1
"""Of a page on which no packet ends."""
LATE = 0.005
"""Seconds by which sound must be late before it is moved."""


@dataclass(frozen=True)
class Page:
    """One page: its place and size in bytes, its stream, number in it, granule position, and whether it is whole."""

    place: int
    size: int
    serial: int
    number: int
    granule: int
    whole: bool


def checksum(page: bytes) -> int:
    """Of a page whose own check sum is set to zeros: CRC-32 of polynomial 0x04c11db7, from 0, bits not reflected."""
    reflected = zlib.crc32(page.translate(REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{reflected:032b}"[::-1], 2)


def pages_of(name: str, window: Window) -> Iterator[Page]:
    """The pages of a file in its order; what lies between them is passed over. ``place`` counts from the window on."""
    with open(name, "rb") as file:
        at = window.begin
        while at < window.end:
            file.seek(at)
            head = file.read(HEADER + 255)
            if not head:  # it shrank
                return
            if not head.startswith(MARK) or len(head) < HEADER:
                found = _next_mark(file.read(1 << 16), head)
                at += found
                continue
            table = head[HEADER : HEADER + head[26]]
            size = HEADER + len(table) + sum(table)
            file.seek(at)
            page = file.read(size)
            whole = len(page) == size and checksum(page[:22] + bytes(4) + page[26:]) == int.from_bytes(
                page[22:26], "little"
            )
            yield Page(
                at - window.begin,
                size,
                int.from_bytes(page[14:18], "little"),
                int.from_bytes(page[18:22], "little"),
                int.from_bytes(page[6:14], "little", signed=True),
                whole,
            )
            # The size of a damaged page may be part of the damage.
            at += size if whole else _next_mark(page[1:], b"") + 1


def _next_mark(more: bytes, head: bytes) -> int:
    """Bytes to the next mark that may begin a page, or to where to look on."""
    data = head + more
    found = data.find(MARK, 1 if head else 0)
    return found if found >= 0 else max(1, len(data) - len(MARK) + 1)


def granules_of(sound: av.AudioStream) -> int:
    """Granules a second: samples, of Opus always 48,000 (RFC 7845)."""
    return 48_000 if sound.codec_context.name.endswith("opus") else sound.rate


@dataclass(frozen=True)
class Stamped:
    """A packet as libavformat gives it: the place of its page, where it begins and how long it lasts, in seconds."""

    place: int
    begin: float
    seconds: float


def moved(pages: Sequence[Page], packets: Sequence[Stamped], rate: int) -> list[tuple[int, float]]:
    """Where the sound behind lost pages really lies: (number of a packet, seconds by which it and all behind it lie
    later than those before it say).

    The first packet that ends on a page begins where the page before it ends, whether that one can be read or not.

    Args:
        packets: of the sound.
        rate: granules a second.
    """
    by_place = {page.place: page for page in pages}
    by_number = {(page.serial, page.number): page for page in pages}
    lengths = sorted(packet.seconds for packet in packets)
    usual = lengths[len(lengths) // 2] if lengths else 0.0
    offsets: dict[int, float] = {}  # of each stream: what libavformat adds to its clock
    found, late, ordinal = [], 0.0, 0
    for place, group in groupby(packets, lambda packet: packet.place):
        on_page = list(group)
        first, ordinal = ordinal, ordinal + len(on_page)
        page = by_place.get(place)
        before = by_number.get((page.serial, page.number - 1)) if page is not None else None
        if abs(late) > LATE:
            found.append((first, -late))
        late = 0.0
        if page is None or (before is not None and before.whole):
            if page is not None and before is not None and before.granule != NO_GRANULE:
                offsets.setdefault(page.serial, on_page[0].begin - before.granule / rate)
            continue
        if before is not None and before.granule != NO_GRANULE:
            begin = before.granule / rate
        else:  # libavformat gives the last packet of all the time that is missing
            begin = page.granule / rate - sum(min(packet.seconds, usual) for packet in on_page)
        begin += offsets.get(page.serial, on_page[0].begin - begin)
        late = begin - on_page[0].begin
        if abs(late) > LATE:
            found.append((first, late))
        for number, (one, other) in enumerate(pairwise(on_page), first + 1):
            if abs(other.begin - one.begin - one.seconds) > LATE:  # from here on it has found its way itself
                found.append((number, -late))
                late = 0.0
                break
    return found
