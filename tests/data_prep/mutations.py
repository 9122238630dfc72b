"""Files that break readers: real ones mutated, and containers that name other files."""

from __future__ import annotations

import random
import struct

MUTATIONS = ("flip", "zero", "drop", "insert", "double", "cut", "swap", "lengths")


def mutate(data: bytes, chance: random.Random) -> bytes:
    """One to four mutations of a file, each one a kind of :data:`MUTATIONS`; half of them in its headers."""
    made = bytearray(data)
    header = data.find(b"moov")
    for _ in range(chance.randint(1, 4)):
        kind = chance.choice(MUTATIONS)
        if header >= 0 and chance.random() < 0.5:
            at = min(header + chance.randrange(4000), len(made) - 1)
        else:
            at = chance.randrange(len(made))
        size = min(int(2 ** chance.uniform(0, 12)), len(made) - at)
        if kind == "flip":
            for _ in range(min(size, 50)):
                made[min(at + chance.randrange(size), len(made) - 1)] ^= 1 << chance.randrange(8)
        elif kind == "zero":
            made[at : at + size] = bytes(size)
        elif kind == "drop":
            del made[at : at + size]
        elif kind == "insert":
            made[at:at] = chance.randbytes(size)
        elif kind == "double":
            made[at:at] = made[at : at + size]
        elif kind == "cut":
            del made[max(1, at) :]
        elif kind == "swap":
            other = chance.randrange(len(made))
            one, two = made[at : at + size], made[other : other + size]
            made[at : at + len(two)], made[other : other + len(one)] = two, one
        else:  # a number in a header becomes absurd
            number = chance.choice((0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, chance.getrandbits(32)))
            made[at : at + 4] = struct.pack(">I", number)
        if not made:
            made = bytearray(b"\0")
    return bytes(made)


def box_edges(data: bytes, begin: int = 0, end: int | None = None) -> list[int]:
    """Where the boxes of an MP4 begin and end, those inside others too."""
    edges, end = [], len(data) if end is None else end
    while begin + 8 <= end:
        size, name = struct.unpack_from(">I4s", data, begin)
        if size < 8:
            break
        edges += [begin, begin + 8, begin + size]
        if name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"dinf", b"edts", b"udta"):
            edges += box_edges(data, begin + 8, begin + size)
        begin += size
    return edges


def referring(data: bytes, path: str) -> bytes:
    """An MP4 (its moov at the end) whose tracks say that their samples lie in the file ``path``, as QuickTime's can."""
    name = path.encode()
    record = bytes(10) + b"\4disk" + bytes(23) + bytes(12) + bytes([min(len(name), 63)]) + name[:63].ljust(63, b"\0")
    record += bytes(16) + struct.pack(">hh", 1, 1) + bytes(16)
    record += struct.pack(">HH", 2, len(name) + 5) + b"disk:" + name + b"\0" * (len(name) % 2 == 0)
    record += struct.pack(">HH", 0xFFFF, 0)
    entry = struct.pack(">I4sI", 12 + len(record), b"alis", 0) + record

    def rebuilt(piece: bytes) -> bytes:
        made, at = b"", 0
        while at + 8 <= len(piece):
            size, kind = struct.unpack_from(">I4s", piece, at)
            body = piece[at + 8 : at + size]
            if kind in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
                body = rebuilt(body)
            elif kind == b"dref":
                body = struct.pack(">II", 0, 1) + entry
            made += struct.pack(">I4s", 8 + len(body), kind) + body
            at += size
        return made

    start = data.index(b"moov") - 4
    return data[:start] + rebuilt(data[start:])
