"""A picture in tiles as phones write it: an HEIF file with a grid, put together box by box (ISO/IEC 23008-12)."""

from __future__ import annotations

import io
import struct

import numpy as np
import pillow_heif
from PIL import Image


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def full_box(kind: bytes, version: int, flags: int, content: bytes) -> bytes:
    return box(kind, struct.pack(">I", version << 24 | flags) + content)


def encoded(tile: np.ndarray) -> tuple[bytes, bytes]:
    """The decoder's configuration (a box) and the coded picture of one tile."""
    pillow_heif.register_heif_opener()
    file = io.BytesIO()
    Image.fromarray(tile).save(file, "HEIF", quality=95)
    data = file.getvalue()
    at = data.index(b"hvcC") - 4
    configuration = data[at : at + struct.unpack_from(">I", data, at)[0]]
    at = data.index(b"mdat")
    return configuration, data[at + 4 : at - 4 + struct.unpack_from(">I", data, at - 4)[0]]


def tiled(picture: np.ndarray, side: int, quarter_turns: int = 0) -> bytes:
    """uint8 ``[H, W, 3]``, whole tiles of ``side`` pixels, to be turned counter-clockwise when shown."""
    rows, columns = picture.shape[0] // side, picture.shape[1] // side
    tiles = [encoded(picture[y * side : (y + 1) * side, x * side : (x + 1) * side])
             for y in range(rows) for x in range(columns)]  # fmt: skip
    count = len(tiles)
    whole = count + 1
    grid = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, picture.shape[1], picture.shape[0])
    entries = [full_box(b"infe", 2, 1, struct.pack(">HH4s", number, 0, b"hvc1") + b"\0") for number in range(1, whole)]
    entries.append(full_box(b"infe", 2, 0, struct.pack(">HH4s", whole, 0, b"grid") + b"\0"))
    properties = [tiles[0][0], full_box(b"ispe", 0, 0, struct.pack(">II", side, side)),
                  full_box(b"ispe", 0, 0, struct.pack(">II", picture.shape[1], picture.shape[0])),
                  box(b"irot", bytes([quarter_turns]))]  # fmt: skip
    links = b"".join(struct.pack(">HBBB", number, 2, 0x81, 2) for number in range(1, whole))
    links += struct.pack(">HBBB", whole, 2, 3, 0x84)
    ftyp = box(b"ftyp", b"heic" + bytes(4) + b"mif1heic")

    def meta(first: int) -> bytes:
        places = b""
        for number, (_, data) in enumerate(tiles, 1):
            places += struct.pack(">HHHHII", number, 0, 0, 1, first, len(data))
            first += len(data)
        places += struct.pack(">HHHHII", whole, 1, 0, 1, 0, len(grid))
        parts = (
            full_box(b"hdlr", 0, 0, bytes(4) + b"pict" + bytes(13)),
            full_box(b"pitm", 0, 0, struct.pack(">H", whole)),
            full_box(b"iloc", 1, 0, b"\x44\x00" + struct.pack(">H", whole) + places),
            full_box(b"iinf", 0, 0, struct.pack(">H", whole) + b"".join(entries)),
            full_box(b"iref", 0, 0, box(b"dimg", struct.pack(f">HH{count}H", whole, count, *range(1, whole)))),
            box(b"iprp", box(b"ipco", b"".join(properties))
                + full_box(b"ipma", 0, 0, struct.pack(">I", whole) + links)),
            box(b"idat", grid),
        )  # fmt: skip
        return full_box(b"meta", 0, 0, b"".join(parts))

    first = len(ftyp) + len(meta(0)) + 8
    return ftyp + meta(first) + box(b"mdat", b"".join(data for _, data in tiles))
