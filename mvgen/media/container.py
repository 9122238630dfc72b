"""Opening a media file safely, and the two streams of it that are read.

Only regular local files are opened, only by demuxers of real containers (never playlists, concatenation scripts, image
patterns or anything else that names other files or addresses), and only through the file protocol.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from fractions import Fraction

import av
import av.container

from mvgen.errors import UserError
from mvgen.files import as_spelled
from mvgen.media.joined import Window, WindowFile
from mvgen.media.kinds import READ, kind_of_file

CONTAINERS = (
    "mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "mpegts", "mpeg", "flv", "asf", "ogg",
    "nut", "mxf", "mpegvideo", "h264", "hevc", "wav", "w64", "aiff", "caf", "flac", "mp3", "aac", "au", "gif",
)  # fmt: skip
"""Demuxers that may read a source: each is self-contained, none opens a second file. :mod:`mvgen.media.kinds` says so
to users."""
DECODING_TIMES_ONLY = ("avi", "h264", "hevc", "mpegvideo")
"""Demuxers of files that hold no presentation times; those that libavformat guesses are wrong with B-frames."""
STILLS = ("heic", "heix", "heim", "heis", "mif1", "avif", "jpeg")
"""Brands of files in MP4's form that are one picture: their streams are its tiles, not films."""
MOST_PIXELS = 16384 * 8192
"""Larger pictures are not decoded, whoever asks."""
OPEN_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": ",".join(CONTAINERS)}
"""What libavformat is told for every file, here and on ffmpeg's command line."""

Stream = av.VideoStream | av.AudioStream


def explain(error: Exception) -> str:
    """The reason in an error of PyAV, without its error number and the path that the caller names anyway."""
    return getattr(error, "strerror", None) or str(error)


def regular_file(path: str | os.PathLike[str]) -> str:
    """The path of a file that can be opened, as it is spelled on the disk.

    Raises:
        UserError: no such file, not a regular file, empty, or not to be read by this user.
    """
    name = as_spelled(os.fspath(path))
    if not os.path.exists(name):
        raise UserError(f"{name}: no such file")
    if not os.path.isfile(name):
        raise UserError(f"{name} is not a file")
    if os.path.getsize(name) == 0:
        raise UserError(f"{name} is empty (0 bytes)")
    if not os.access(name, os.R_OK):
        raise UserError(f"{name} may not be read (permission denied)")
    return name


@contextmanager
def open_media(path: str | os.PathLike[str], window: Window | None = None) -> Iterator[av.container.InputContainer]:
    """Opens a local media file for reading.

    Args:
        window: the part of it that is read as a file of its own.

    Raises:
        UserError: see :func:`regular_file`; or not audio or video that is read, which says what it is instead.
    """
    name = regular_file(path)
    whole = os.path.abspath(name)
    try:
        # An absolute path behind "file:" cannot be taken for a protocol, an option or a pattern, whatever it holds.
        source = "file:" + whole if window is None else WindowFile(whole, window)
        container = av.open(source, options=OPEN_OPTIONS, mode="r", metadata_errors="replace")
    except (av.error.FFmpegError, UnicodeError, OSError) as error:
        kind = kind_of_file(name)
        if kind is not None:
            raise UserError(f"{name} is {kind}, which is not read as video or sound; {READ}") from None
        raise UserError(f"{name} is not a readable video or sound: {explain(error)}; {READ}") from None
    with container, source if isinstance(source, WindowFile) else nullcontext():
        if container.metadata.get("major_brand", "") in STILLS:
            raise UserError(f"{name} is a picture (HEIC or AVIF), not a video or a sound; {READ}")
        try:
            yield container
        except (av.error.FFmpegError, UnicodeError) as error:
            raise UserError(f"{name} is damaged: {explain(error)}") from None


def what(stream: Stream) -> str:
    """A stream in words, with its coding: "picture (h264)", "sound (aac)"."""
    coding = stream.codec_context.name if stream.codec_context is not None else "of an unknown coding"
    return f"{kind_of(stream)} ({coding})"


def kind_of(stream: Stream) -> str:
    """What a stream is to people: "picture" or "sound"."""
    return "picture" if isinstance(stream, av.VideoStream) else "sound"


def picture_stream(container: av.container.InputContainer) -> av.VideoStream | None:
    """The stream that shows the performance: the best video stream that is not cover art."""
    real = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
    best = container.streams.best("video")
    stream = best if best in real else (real[0] if real else None)
    if isinstance(stream, av.VideoStream) and stream.codec_context is not None:
        # Also a stream whose pictures grow on the way, past what its header says.
        stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}
    return stream


def sound_stream(container: av.container.InputContainer) -> av.AudioStream | None:
    """The stream that sounds: ffmpeg's choice of the best one (default flag, then channels and rate)."""
    best = container.streams.best("audio")
    return best if isinstance(best, av.AudioStream) else None


def lacks(name: str, container: av.container.InputContainer, kind: str) -> UserError:
    """What to raise where a file has no "picture", or no "sound", and what it has instead."""
    other = sound_stream(container) if kind == "picture" else picture_stream(container)
    return UserError(f"{name} has no {kind}" + (f", only {what(other)}" if other is not None else ""))


def stream_start(stream: av.VideoStream | av.AudioStream | None) -> Fraction:
    """Stated start of a stream on the container's timeline, in exact seconds."""
    if stream is None or stream.start_time is None or stream.time_base is None:
        return Fraction(0)
    return Fraction(stream.start_time) * stream.time_base
