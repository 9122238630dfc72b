"""What a media file says of itself, and where its timeline begins.

**The timeline.** Every reader of this package counts time from the moment the file's picture starts: t = 0 is the
presentation time of the first frame that is shown (after edit lists). Sound is placed on the same timeline by its own
timestamps: what lies before t = 0 is dropped, what is missing after t = 0 is silence. Since one offset is taken off
both streams, a flash and a beep that coincide in the source coincide in everything that is made of it. A file with
sound alone counts from where its sound starts. Stamps that start anew are set right by :mod:`mvgen.media.timeline`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction

import av
import av.container

from mvgen.errors import UserError
from mvgen.media.container import MOST_PIXELS, open_media, picture_stream, sound_stream, stream_start, what
from mvgen.media.decode import Losses, decoded, first_picture_time, presented
from mvgen.media.kinds import READ
from mvgen.media.orientation import Orientation, orientation_of
from mvgen.media.timeline import Course, Recording


@dataclass(frozen=True)
class MediaInfo:
    """What a file says of itself; the durations of damaged files can be wrong, so nothing is cut by them.

    Attributes:
        duration: stated length in seconds (0 where the container states none).
        has_picture: there is a video stream (cover art does not count).
        has_sound: there is an audio stream.
        width, height: of the picture as shown, that is, once it stands upright; 0 without picture.
        aspect: width over height of a pixel of the picture as shown.
        orientation: how decoded frames must be turned and mirrored to stand upright.
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
    aspect: float
    orientation: Orientation
    frame_rate: float
    sample_rate: int
    picture_start: float
    sound_start: float
    channels: int


def origin(path: str | os.PathLike[str], recording: Recording) -> Fraction:
    """Where a recording's t = 0 lies on its timeline, in seconds: see the module's text."""
    courses = recording.courses
    with open_media(path, recording.window) as container:
        picture, sound = picture_stream(container), sound_stream(container)
        if picture is not None:
            losses = Losses(os.fspath(path), picture)
            return first_picture_time(container, picture, courses[picture.index], losses)
        if sound is not None:
            losses = Losses(os.fspath(path), sound)
            for frame in decoded(container, sound, courses[sound.index], losses):
                if isinstance(frame, av.AudioFrame) and (time := presented(frame)) is not None:
                    return time
        return Fraction(0)


def probe(path: str | os.PathLike[str], max_pixels: int = MOST_PIXELS) -> MediaInfo:
    """Reads a file's headers and its first frame; of recordings joined byte by byte, the first one's.

    Raises:
        UserError: no such file, not a file with picture or sound in it, or a picture of more than ``max_pixels``.
    """
    with open_media(path) as container:
        picture, sound = picture_stream(container), sound_stream(container)
        if picture is None and sound is None:
            raise UserError(f"{os.fspath(path)} holds neither picture nor sound; {READ}")
        if picture is not None and not (picture.codec_context and picture.width and picture.height):
            raise UserError(f"{os.fspath(path)}: its {what(picture)} is of no format that can be decoded; {READ}")
        if sound is not None and not (sound.codec_context and sound.rate):
            raise UserError(f"{os.fspath(path)}: its {what(sound)} is of no format that can be decoded; {READ}")
        if picture is not None and picture.width * picture.height > max_pixels:
            size = f"{picture.width}x{picture.height}"
            raise UserError(f"{os.fspath(path)}: its picture of {size} is over the limit of {max_pixels} pixels")
        duration = (container.duration or 0) / 1_000_000
        starts = stream_start(picture), stream_start(sound)
        rate = picture.average_rate if picture is not None else None
        orientation, aspect, width, height = Orientation(), 1.0, 0, 0
        if picture is not None:
            orientation = _first_orientation(container, picture, os.fspath(path))
            width, height = orientation.shown(picture.width, picture.height)
            aspect = float(picture.sample_aspect_ratio or 1) or 1.0
            aspect = 1 / aspect if orientation.exchanged else aspect
        return MediaInfo(
            duration=duration,
            has_picture=picture is not None,
            has_sound=sound is not None,
            width=width,
            height=height,
            aspect=aspect,
            orientation=orientation,
            frame_rate=float(rate or 0),
            sample_rate=sound.rate if sound is not None else 0,
            picture_start=float(starts[0]),
            sound_start=float(starts[1]),
            channels=sound.codec_context.channels if sound is not None else 0,
        )


def _first_orientation(container: av.container.InputContainer, picture: av.VideoStream, name: str) -> Orientation:
    for frame in decoded(container, picture, Course(), Losses(name, picture)):
        if isinstance(frame, av.VideoFrame):
            return orientation_of(frame)
    return Orientation()
