"""Files that only ffmpeg's command line, or a change of their packets, can make."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import av
import imageio_ffmpeg


def ffmpeg(*arguments: object) -> None:
    """Runs ffmpeg."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", *map(str, arguments)]
    subprocess.run(command, check=True)


def remuxed(source: Path, target: Path, change: Callable[[av.Packet, int], None], **options: str) -> Path:
    """The packets of a file in another one, each changed (given its number within its stream)."""
    with av.open(str(source)) as given, av.open(str(target), "w", options=options) as out:
        streams = {stream.index: out.add_stream_from_template(stream) for stream in given.streams}
        counts = dict.fromkeys(streams, 0)
        for packet in given.demux():
            if packet.dts is None:
                continue
            index = packet.stream.index
            change(packet, counts[index])
            counts[index] += 1
            packet.stream = streams[index]
            out.mux(packet)
    return target


def packets_of(path: Path, kind: str) -> list[tuple[int, int]]:
    """(place in the file, bytes) of the packets of the first stream of a kind."""
    with av.open(str(path)) as given:
        return [(packet.pos, packet.size) for packet in given.demux(**{kind: 0}) if packet.size]


def zeroed(path: Path, kind: str, numbers: range) -> Path:
    """The file with some packets of a stream overwritten by zeros, as a scratched disk leaves them."""
    data = bytearray(path.read_bytes())
    for at, size in [packets_of(path, kind)[number] for number in numbers]:
        data[at : at + size] = bytes(size)
    changed = path.with_name(f"zeroed-{path.name}")
    changed.write_bytes(data)
    return changed
