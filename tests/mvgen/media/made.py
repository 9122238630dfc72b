"""One file of each kind that people bring and other tools read wrong: 4 seconds, flash and beep at 1, 2 and 3 s."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.mvgen.media.ffmpeg import ffmpeg, remuxed, zeroed
from tests.mvgen.media.flashes import constant_times, write_flashes

SECONDS = 4
MOMENTS = (1, 2, 3)


def _joined(path: Path) -> None:
    """The first flash of each part of 2 s is at 1 s; the seam shows none."""
    part = path.with_name(f"part{path.suffix}")
    write_flashes(part, constant_times(25, 2))
    path.write_bytes(part.read_bytes() * 2)
    part.unlink()


def _from_plain(*arguments: object, ending: str = ".mkv", **options: object) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        plain = path.with_name(f"plain{ending}")
        write_flashes(plain, constant_times(25, SECONDS), 48_000, **{"codec": "pcm_s16le", **options})  # type: ignore
        ffmpeg("-i", plain, *arguments, path)
        plain.unlink()

    return make


def _jittered(path: Path) -> None:
    plain = path.with_name("plain.webm")
    _from_plain("-c:v", "libvpx", "-b:v", "300k", "-c:a", "libopus")(plain)
    rng = np.random.default_rng(0)

    def change(packet, number):
        if packet.stream.type == "audio" and number:
            packet.pts = packet.dts = packet.pts + int(rng.integers(-3, 4))

    remuxed(plain, path, change)
    plain.unlink()


def _zeroed(kind: str, number: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        write_flashes(path, constant_times(25, SECONDS), 48_000, options={"preset": "ultrafast", "g": "25"})
        zeroed(path, kind, range(number, number + 1)).rename(path)

    return make


def _mirrored(path: Path) -> None:
    write_flashes(path, constant_times(25, SECONDS))
    data = bytearray(path.read_bytes())
    struct.pack_into(">i", data, data.index(b"tkhd") + 4 + 40, -(1 << 16))
    path.write_bytes(data)


MADE: dict[str, Callable[[Path], None]] = {
    "joined.ts": _joined,
    "glued.mp4": _joined,
    "late.mkv": _from_plain("-c", "copy", "-output_ts_offset", 7200),
    "jitter.webm": _jittered,
    "mp2.ts": _from_plain("-c:v", "mpeg2video", "-c:a", "mp2"),
    "aac.mp4": _zeroed("audio", 117),
    "h264.mp4": _zeroed("video", 62),
    "theora.ogv": _from_plain("-c:v", "libtheora", "-c:a", "libvorbis"),
    "mirror.mp4": _mirrored,
    "centre.mov": _from_plain("-c:v", "copy", "-af", "pan=5.1|FC=c0", "-c:a", "pcm_s16le"),
    "phase.mkv": _from_plain("-c:v", "copy", "-af", "pan=stereo|c0=c0|c1=-1*c0", "-c:a", "flac"),
    "hlg.mov": _from_plain(
        "-vf", "zscale=tin=bt709:pin=bt709:min=bt709:t=arib-std-b67:p=bt2020:m=bt2020nc:npl=203,format=yuv420p10le",
        "-c:v", "libx265", "-x265-params", "log-level=none", "-c:a", "aac", "-color_trc", "arib-std-b67",
        "-color_primaries", "bt2020", "-colorspace", "bt2020nc", "-tag:v", "hvc1",
    ),
}  # fmt: skip
MOMENTS_OF = {"joined.ts": (1, 3), "glued.mp4": (1, 3)}
DAMAGED = {"joined.ts", "glued.mp4", "aac.mp4", "h264.mp4", "phase.mkv"}
"""Of which a note is told."""
