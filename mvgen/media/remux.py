"""A video with another sound: its own picture stream copied, packet by packet, beside a sound that begins with it.

The picture is encoded anew only where MP4 cannot hold it as it lies there, and a note says why: another coding (VP8,
Theora, ProRes), a container without presentation times (AVI), several recordings in one file, a picture of which an
edit list hides a part, or one that is to end where its packets depend on what follows.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction

import av
import av.container
import numpy as np

from mvgen.clock import FRAME_RATE, Seconds
from mvgen.media.container import DECODING_TIMES_ONLY, lacks, open_media, picture_stream, what
from mvgen.media.crop import Cropper
from mvgen.media.decode import CLOCK
from mvgen.media.notes import note
from mvgen.media.picture import shown_pictures
from mvgen.media.probe import origin, probe
from mvgen.media.timeline import recordings_of, stamped
from mvgen.media.write import DISK_ERRORS, MP4_OPTIONS, SoundTrack, add_picture, check_channels, picture_of, written

MOST_RATE = 240
"""Frames a second that a picture encoded anew is said to have at most."""


@dataclass(frozen=True)
class _Packets:
    """Where a picture begins on its container's timeline, in seconds, how long it lasts from there, and the number of
    the first packet that can be decoded."""

    begin: Fraction
    seconds: Fraction
    first: int


class _CannotHold(Exception):
    """Why a picture cannot be copied, in words."""


def write_with_sound(
    path: str | os.PathLike[str],
    video: str | os.PathLike[str],
    sound: np.ndarray,
    sample_rate: int,
    seconds: Seconds | None = None,
) -> None:
    """Writes the picture of a video with a sound, as MP4: the picture as it is (or encoded anew, see above), and AAC.

    Sample 0 of the sound is heard when the picture's first frame is seen; it is cut, or followed by silence, where the
    picture ends. Size, frame rate, orientation and colours of a picture that is copied are the source's.

    Args:
        path: ends in .mp4; replaced atomically. It may be ``video`` itself no more than any other file that is read.
        video: any file with a picture that :mod:`mvgen.media` reads.
        sound: float32 ``[n]`` or ``[2, n]`` in [-1, 1] (clipped).
        sample_rate: one that AAC knows (:data:`mvgen.media.write.AAC_RATES`).
        seconds: so much of the picture; None: all of it.

    Raises:
        UserError: there is no picture, it cannot be read, or the file cannot be written.
    """
    check_channels(sound)
    name = os.fspath(video)
    with written(path) as partial:
        try:
            packets = _as_they_lie(name, seconds)
            _copy(f"file:{partial.absolute()}", name, packets, sound, sample_rate)
        except _CannotHold as reason:
            note(f"{name}: {reason}; its picture is encoded anew (H.264)")
            _encode(f"file:{partial.absolute()}", name, sound, sample_rate, seconds)


def _as_they_lie(name: str, seconds: Seconds | None) -> _Packets:
    """What is to be known of packets that can be copied. Raises ``_CannotHold`` where they cannot."""
    recordings = recordings_of(name)
    if len(recordings) > 1:
        raise _CannotHold(f"it holds {len(recordings)} recordings")
    (recording,) = recordings
    begin = origin(name, recording)
    end, first, before = begin, None, None
    with open_media(name, recording.window) as container:
        stream = picture_stream(container)
        if stream is None:
            raise lacks(name, container, "picture")
        if container.format.name in DECODING_TIMES_ONLY:
            raise _CannotHold(f"{container.format.name.upper()} holds no presentation times")
        course = recording.courses[stream.index]
        if len(course.ordinals) > 1 or course.shifts[0] or course.strays:
            raise _CannotHold("its timestamps leap")
        cut: Fraction | None = None if seconds is None else begin + Fraction(seconds)
        over = False
        for number, packet in enumerate(stamped(container, [stream])):
            if first is None and not packet.is_keyframe:
                continue
            first = number if first is None else first
            if not packet.size:
                raise _CannotHold("packets of it are empty")
            if packet.pts is None or packet.dts is None or packet.time_base is None:
                raise _CannotHold("not all of its packets say when they are presented")
            if packet.is_discard or packet.pts * packet.time_base < begin:
                raise _CannotHold("an edit list hides a part of it")
            if before is not None and packet.dts <= before:
                raise _CannotHold("its decoding times do not ascend")
            before = packet.dts
            if cut is not None and packet.pts * packet.time_base >= cut:
                over = True
                continue
            if over and cut is not None:
                raise _CannotHold(f"what is seen before {float(cut - begin):.2f} s depends on what comes later")
            step = Fraction(packet.duration or 0) * packet.time_base or 1 / Fraction(stream.average_rate or FRAME_RATE)
            end = max(end, packet.pts * packet.time_base + step)
    if first is None:
        raise _CannotHold("none of its packets can be decoded by itself")
    return _Packets(begin, min(end, cut) - begin if cut is not None else end - begin, first)


def _copy(out_name: str, name: str, packets: _Packets, sound: np.ndarray, sample_rate: int) -> None:
    with open_media(name) as source:
        stream = picture_stream(source)
        assert stream is not None
        try:
            with av.open(out_name, "w", format="mp4", options=MP4_OPTIONS) as out:
                picture = out.add_stream_from_template(stream, opaque=True)
                if stream.codec_context.codec_tag == "hvc1":  # what Apple's players ask for; the default is hev1
                    picture.codec_context.codec_tag = "hvc1"
                track = SoundTrack(out, _as_long(sound, sample_rate, packets.seconds), sample_rate)
                for number, packet in enumerate(stamped(source, [stream])):
                    if number < packets.first or packet.pts is None or packet.time_base is None:
                        continue
                    moment = packet.pts * packet.time_base - packets.begin
                    if moment >= packets.seconds:
                        continue
                    ticks = round(packets.begin / packet.time_base)
                    packet.pts, packet.dts = packet.pts - ticks, (packet.dts or 0) - ticks
                    packet.stream = picture
                    track.until(float(moment))
                    out.mux(packet)
                track.end()
        except (av.error.FFmpegError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in DISK_ERRORS:
                raise
            raise _CannotHold(f"MP4 does not hold its {what(stream)}") from None


def _encode(out_name: str, name: str, sound: np.ndarray, sample_rate: int, seconds: Seconds | None) -> None:
    info = probe(name)
    height, width = (2 * max(1, round(side / 2)) for side in (info.height, info.width * info.aspect))
    crop, clock = Cropper((height, width)), Fraction(1, CLOCK)
    rate = Fraction(min(info.frame_rate, MOST_RATE) or FRAME_RATE).limit_denominator(1001)
    with av.open(out_name, "w", format="mp4", options=MP4_OPTIONS) as out:
        picture = add_picture(out, width, height, rate, clock)
        # How long the sound is to be is known at the end alone; it is short beside the picture.
        end, stamp = Fraction(0), -1
        pending = []
        for shown in shown_pictures(name):
            if seconds is not None and shown.moment >= seconds:
                break
            stamp = max(stamp + 1, round(shown.moment * CLOCK))
            end = shown.moment + shown.seconds
            pending += picture.encode(picture_of(crop(shown.frame, shown.aspect), stamp, clock))
        pending += picture.encode(None)
        if seconds is not None:
            end = min(end, Fraction(seconds))
        track = SoundTrack(out, _as_long(sound, sample_rate, end), sample_rate)
        for packet in pending:
            track.until(float((packet.pts or 0) * (packet.time_base or clock)))
            out.mux(packet)
        track.end()


def _as_long(sound: np.ndarray, sample_rate: int, seconds: Fraction) -> np.ndarray:
    """A sound cut, or followed by silence, to so many seconds."""
    count = round(seconds * sample_rate)
    short = max(0, count - sound.shape[-1])
    return np.pad(sound[..., :count], [(0, 0)] * (sound.ndim - 1) + [(0, short)])
