"""Opening a video file safely, and what it says of itself.

**The timeline.** Every reader of this package counts time from the moment the file's picture starts: t = 0 is the
presentation time of the first frame that is shown (after edit lists). Sound is placed on the same timeline by its own
timestamps: what lies before t = 0 is dropped, what is missing after t = 0 is silence. Since one offset is taken off
both streams, a flash and a beep that coincide in the source coincide in everything that is made of it. A file with
sound alone counts from where its sound starts.

**Safety.** Only regular local files are opened, only by demuxers of real containers (never playlists, concatenation
scripts, image patterns or anything else that names other files or addresses), and only through the file protocol.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction

import av
import av.container
import numpy as np

from mvgen.clock import FRAME_RATE
from mvgen.errors import UserError

CONTAINERS = (
    "mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "mpegts", "mpeg", "flv", "asf", "ogg",
    "nut", "mxf", "mpegvideo", "h264", "hevc", "wav", "w64", "aiff", "caf", "flac", "mp3", "aac", "au", "gif",
)  # fmt: skip
"""Demuxers that may read a source: each is self-contained, none opens a second file."""
DECODING_TIMES_ONLY = ("avi", "h264", "hevc", "mpegvideo")
"""Demuxers of files that hold no presentation times; those that libavformat guesses are wrong with B-frames."""
MOST_PIXELS = 16384 * 8192
"""Larger pictures are not decoded, whoever asks."""
MOST_UNTIMED = 32
"""Frames without a time at the start of a file, before they are simply counted from 0."""
OPEN_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": ",".join(CONTAINERS)}
"""What libavformat is told for every file, here and on ffmpeg's command line."""


@dataclass(frozen=True)
class MediaInfo:
    """What a file says of itself; the durations of damaged files can be wrong, so nothing is cut by them.

    Attributes:
        duration: stated length in seconds (0 where the container states none).
        has_picture: there is a video stream (cover art does not count).
        has_sound: there is an audio stream.
        width, height: of the picture as shown, that is, after rotation; 0 without picture.
        rotation: degrees (counter-clockwise, multiple of 90) by which decoded frames must be turned to stand upright.
        frame_rate: average source rate, frames a second; 0 where unknown.
        sample_rate: of the sound, samples a second; 0 without sound.
        picture_start, sound_start: stated start of each stream on the container's timeline, seconds.
        channels: of the sound; 0 without sound.
    """

    duration: float
    has_picture: bool
    has_sound: bool
    width: int
    height: int
    rotation: int
    frame_rate: float
    sample_rate: int
    picture_start: float
    sound_start: float
    channels: int


def explain(error: Exception) -> str:
    """The reason in an error of PyAV, without its error number and the path that the caller names anyway."""
    return getattr(error, "strerror", None) or str(error)


def presented(frame: av.VideoFrame | av.AudioFrame) -> Fraction | None:
    """When a decoded frame is presented on the container's timeline, in exact seconds; None where it does not say."""
    return None if frame.pts is None or frame.time_base is None else Fraction(frame.pts) * frame.time_base


def timed_pictures(
    container: av.container.InputContainer, stream: av.VideoStream
) -> Iterator[tuple[Fraction, av.VideoFrame]]:
    """Decodes the picture: (when it is presented on the container's timeline, frame), in the order of decoding.

    In containers of :data:`DECODING_TIMES_ONLY` frames leave the decoder as they follow each other on display, and the
    first of them is on display from the stream's start.
    A frame that says nothing, as in broken files, follows its predecessor by the stream's average interval, and the
    first ones precede the first that says something.
    """
    step = 1 / Fraction(stream.average_rate or FRAME_RATE)
    by_decoding = container.format.name in DECODING_TIMES_ONLY
    untimed: list[av.VideoFrame] = []
    last: Fraction | None = None
    delay: Fraction | None = None
    for frame in container.decode(stream):
        time = presented(frame)
        if by_decoding and frame.dts is not None and frame.time_base is not None:
            left = Fraction(frame.dts) * frame.time_base
            delay = left - stream_start(stream) if delay is None else delay
            time = left - delay
        if last is None:
            if time is None and len(untimed) < MOST_UNTIMED:
                untimed.append(frame)
                continue
            time = len(untimed) * step if time is None else time
            for number, each in enumerate(untimed):
                yield time - (len(untimed) - number) * step, each
            untimed = []
        last = last + step if time is None and last is not None else time
        assert last is not None
        yield last, frame
    yield from ((number * step, each) for number, each in enumerate(untimed))


@contextmanager
def open_media(path: str | os.PathLike[str]) -> Iterator[av.container.InputContainer]:
    """Opens a local media file for reading.

    Raises:
        UserError: no such file, not a regular file, empty, or not audio or video; also when the body of the ``with``
            meets data that cannot be decoded.
    """
    name = os.fspath(path)
    if not os.path.exists(name):
        raise UserError(f"{name}: no such file")
    if not os.path.isfile(name):
        raise UserError(f"{name} is not a file")
    if os.path.getsize(name) == 0:
        raise UserError(f"{name} is empty (0 bytes)")
    try:
        # An absolute path behind "file:" cannot be taken for a protocol, an option or a pattern, whatever it holds.
        with av.open("file:" + os.path.abspath(name), options=OPEN_OPTIONS, metadata_errors="replace") as container:
            yield container
    except (av.error.FFmpegError, UnicodeError) as error:
        raise UserError(f"{name} is not a readable video: {explain(error)}") from None


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


def stream_start(stream: av.VideoStream | av.AudioStream | None) -> Fraction:
    """Stated start of a stream on the container's timeline, in exact seconds."""
    if stream is None or stream.start_time is None or stream.time_base is None:
        return Fraction(0)
    return Fraction(stream.start_time) * stream.time_base


def first_picture_time(container: av.container.InputContainer, stream: av.VideoStream) -> Fraction:
    """Presentation time of the first frame that is shown; moves the container past it.

    Found by decoding, because a stated start time may count frames that an edit list hides.
    """
    return next((time for time, _ in timed_pictures(container, stream)), stream_start(stream))


def origin(path: str | os.PathLike[str]) -> Fraction:
    """Where t = 0 lies on the container's own timeline, in seconds: see the module's text."""
    with open_media(path) as container:
        picture = picture_stream(container)
        if picture is not None:
            return first_picture_time(container, picture)
        sound = sound_stream(container)
        for frame in container.decode(sound) if sound is not None else ():
            if (time := presented(frame)) is not None:
                return time
        return Fraction(0)


def chosen_streams(path: str | os.PathLike[str]) -> tuple[int | None, int | None]:
    """Numbers, within the file, of the streams that are read as picture and as sound; None where there is none."""
    with open_media(path) as container:
        picture, sound = picture_stream(container), sound_stream(container)
        return None if picture is None else picture.index, None if sound is None else sound.index


def rotation_of(frame: av.VideoFrame) -> int:
    """Degrees, counter-clockwise and rounded to a quarter turn, by which a decoded frame is turned to stand upright."""
    return int(np.rint(frame.rotation / 90)) * 90 % 360


def span(path: str | os.PathLike[str]) -> Fraction:
    """Seconds from the first timestamp to the last among the packets of the streams that are read; nothing is decoded.

    What reading the whole file would take, whatever its headers state: one wrong timestamp can make hours.

    Raises:
        UserError: not a readable media file.
    """
    first = last = None
    with open_media(path) as container:
        chosen = [stream for stream in (picture_stream(container), sound_stream(container)) if stream is not None]
        for packet in container.demux(chosen) if chosen else ():
            if packet.pts is None or packet.time_base is None:
                continue
            begin = Fraction(packet.pts) * packet.time_base
            end = begin + max(0, packet.duration or 0) * packet.time_base
            first = begin if first is None else min(first, begin)
            last = end if last is None else max(last, end)
    return Fraction(0) if first is None or last is None else last - first


def probe(path: str | os.PathLike[str], max_pixels: int = MOST_PIXELS) -> MediaInfo:
    """Reads a file's headers and its first frame.

    Raises:
        UserError: no such file, not a file with picture or sound in it, or a picture of more than ``max_pixels``.
    """
    with open_media(path) as container:
        picture, sound = picture_stream(container), sound_stream(container)
        if picture is None and sound is None:
            raise UserError(f"{os.fspath(path)} holds neither picture nor sound")
        if picture is not None and not (picture.codec_context and picture.width and picture.height):
            raise UserError(f"{os.fspath(path)}: its picture has no known format")
        if sound is not None and not (sound.codec_context and sound.rate):
            raise UserError(f"{os.fspath(path)}: its sound has no known format")
        if picture is not None and picture.width * picture.height > max_pixels:
            size = f"{picture.width}x{picture.height}"
            raise UserError(f"{os.fspath(path)}: its picture of {size} is over the limit of {max_pixels} pixels")
        duration = (container.duration or 0) / 1_000_000
        starts = stream_start(picture), stream_start(sound)
        rate = picture.average_rate if picture is not None else None
        rotation, width, height = 0, 0, 0
        if picture is not None:
            rotation = next((rotation_of(frame) for frame in container.decode(picture)), 0)
            width, height = picture.width, picture.height
            if rotation % 180:
                width, height = height, width
        return MediaInfo(
            duration=duration,
            has_picture=picture is not None,
            has_sound=sound is not None,
            width=width,
            height=height,
            rotation=rotation,
            frame_rate=float(rate or 0),
            sample_rate=sound.rate if sound is not None else 0,
            picture_start=float(starts[0]),
            sound_start=float(starts[1]),
            channels=sound.codec_context.channels if sound is not None else 0,
        )
