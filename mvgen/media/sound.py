"""The sound of a file: decoded at its own rate, mixed to mono, placed on the file's timeline, resampled once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction

import av
import av.container
import numpy as np
import soxr

from mvgen.clock import Seconds, whole_frames
from mvgen.errors import UserError
from mvgen.media.container import lacks, open_media, sound_stream
from mvgen.media.decode import Losses, decoded, presented
from mvgen.media.downmix import DownMix
from mvgen.media.notes import note
from mvgen.media.placement import place_blocks
from mvgen.media.probe import origin
from mvgen.media.timeline import Course, Recording, recordings_of

GRACE = Fraction(19, 1000)
"""Seconds, just under a token, that sound may lack at the end of a frame that it covers: encoders' blocks and what they
put before the sound end it some milliseconds early."""


def covered_frames(samples: int, rate: int) -> int:
    """Whole frames that a sound covers: one counts of whose end less than a token is missing, which is silence then."""
    return whole_frames(Fraction(samples, rate) + GRACE)


def native_sound(
    path: str | os.PathLike[str], limit: Seconds | None = None, side: int | None = None
) -> tuple[np.ndarray, int]:
    """The sound at its own rate, mixed to mono, sample 0 at t = 0 of the timeline (see :mod:`mvgen.media.probe`).

    What the decoder adds for its own start and end (priming, padding) is trimmed as the container says; gaps, and what
    cannot be decoded, are silence; sound from before the picture starts is dropped. Where the channels cancel each
    other in the mix, the loudest of them is taken alone, and a note says so. Recordings that were joined byte by byte
    follow each other, at the rate of the first.

    Args:
        limit: seconds; more is an error.
        side: 0 for the left, 1 for the right of a stereo mix instead.

    Returns:
        float32 ``[n]`` and the sample rate.

    Raises:
        UserError: not a media file, no sound in it, sound that cannot be decoded at all, or longer than the limit.
    """
    name = os.fspath(path)
    recordings = recordings_of(path)
    rate, pieces, end = 0, [], 0
    filmed = any(recording.has_picture for recording in recordings)
    for recording in recordings:
        try:
            piece, own_rate = _of_recording(name, recording, side, limit)
        except UserError as error:
            if len(recordings) == 1 or isinstance(error, _TooLong):
                raise
            note(f"{error}; there is silence instead, from {float(recording.begin):.2f} s on")
            continue
        rate = rate or own_rate
        # Behind the picture of those before; of sounds alone, behind the last sample.
        begin = round(recording.begin * rate) if filmed else end
        pieces.append((begin, resample(piece, own_rate, rate)))
        end = max(end, begin + len(pieces[-1][1]))
        if limit is not None and end > limit * rate:
            raise _TooLong(name, end / rate, limit)
    if not pieces:
        raise UserError(f"{name}: in none of its {len(recordings)} recordings is a sound that can be read")
    return joined(pieces, end), rate


def joined(pieces: Sequence[tuple[int, np.ndarray]], length: int) -> np.ndarray:
    """Pieces of sound, each at its sample, in one array of ``length`` samples; silence between them."""
    if len(pieces) == 1 and pieces[0][0] == 0 and len(pieces[0][1]) == length:
        return pieces[0][1]
    sound = np.zeros(length, np.float32)
    for start, piece in pieces:
        first, last = max(0, start), min(length, start + len(piece))
        if first < last:
            sound[first:last] = piece[first - start : last - start]
    return sound


class _TooLong(UserError):
    def __init__(self, name: str, seconds: float, limit: Seconds):
        super().__init__(f"{name}: its sound lasts {seconds:.0f} s, over the limit of {float(limit):g} s")


def _of_recording(name: str, recording: Recording, side: int | None, limit: Seconds | None) -> tuple[np.ndarray, int]:
    """The sound of one recording; see :func:`native_sound`."""
    begin = origin(name, recording)
    with open_media(name, recording.window) as container:
        stream = sound_stream(container)
        if stream is None:
            raise lacks(name, container, "sound")
        course = recording.courses[stream.index]
        mix, losses = DownMix(side), Losses(name, stream)
        rate, blocks, starts = _blocks(container, stream, course, losses, mix, begin)
        losses.tell(begin - recording.begin)
    if (loudest := mix.loudest_if_cancelled) is not None:
        why = "have no part in the mix" if mix.left_out else "cancel each other"
        note(f"{name}: the channels of its sound {why}; channel {loudest + 1} is taken alone")
        with open_media(name, recording.window) as container:
            stream = sound_stream(container)
            assert stream is not None
            alone, losses = DownMix(alone=loudest), Losses(name, stream)
            rate, blocks, starts = _blocks(container, stream, course, losses, alone, begin)
    length = max(int(start) + len(block) for start, block in zip(starts, blocks, strict=True))
    if course.exact_end and course.last is not None:
        # Decoders give whole blocks; where the last packet is shorter, the sound ends within it.
        excess = length - round((course.last - float(begin)) * rate)
        length -= excess if 0 < excess <= 2 * max(map(len, blocks[-2:])) else 0
    if length <= 0:
        raise UserError(f"{name}: none of its sound lies within the time of its picture")
    if limit is not None and length > limit * rate:
        raise _TooLong(name, length / rate, limit)
    return joined([(int(start), block) for start, block in zip(starts, blocks, strict=True)], length), rate


def _blocks(
    container: av.container.InputContainer,
    stream: av.AudioStream,
    course: Course,
    losses: Losses,
    mix: DownMix,
    begin: Fraction,
) -> tuple[int, list[np.ndarray], np.ndarray]:
    """Decodes a whole stream: its rate, mono blocks, and the sample after ``begin`` at which each of them starts.

    A part of another rate, as recordings that were joined have it, is brought to the first one's.
    """
    rate = 0  # as decoded: headers of some codecs state another
    blocks: list[np.ndarray] = []
    stamps: list[float | None] = []
    other: list[np.ndarray] = []  # blocks of another rate that follow each other
    other_rate = 0

    def join_others() -> None:
        if other:
            blocks.append(resample(np.concatenate(other), other_rate, rate))
            other.clear()

    for frame in decoded(container, stream, course, losses):
        if not isinstance(frame, av.AudioFrame) or not frame.samples:
            continue
        rate = rate or frame.sample_rate
        time = presented(frame)
        stamp = None if time is None else float((time - begin) * rate)
        if frame.sample_rate != other_rate:
            join_others()
        other_rate = frame.sample_rate
        if frame.sample_rate == rate:
            blocks.append(mix(frame))
            stamps.append(stamp)
            continue
        if not other:
            stamps.append(stamp)
        other.append(mix(frame))
    join_others()
    if not blocks:
        raise losses.nothing()
    return rate, blocks, place_blocks(stamps, [len(block) for block in blocks], rate)


def resample(sound: np.ndarray, source_rate: int, sample_rate: int) -> np.ndarray:
    """Resamples float32 ``[n]`` with soxr's HQ filter; the same array where the rates agree."""
    return sound if source_rate == sample_rate else soxr.resample(sound, source_rate, sample_rate, quality="HQ")


def cut(sound: np.ndarray, sample_rate: int, start: Seconds = 0, seconds: Seconds | None = None) -> np.ndarray:
    """The stretch of a sound from ``start``, exactly ``round(seconds * sample_rate)`` samples, silence where it ends.

    With ``seconds`` None, all that is left.
    """
    first = round(start * sample_rate)
    if seconds is None:
        return sound[first:]
    count = round(seconds * sample_rate)
    piece = sound[first : first + count]
    return np.pad(piece, (0, count - len(piece))) if len(piece) < count else piece


def read_sound(
    path: str | os.PathLike[str],
    sample_rate: int,
    start: Seconds = 0.0,
    seconds: Seconds | None = None,
    limit: Seconds | None = None,
) -> np.ndarray:
    """The sound of a file as mono, on the timeline of its picture.

    Args:
        sample_rate: wanted; reached in one step from the source's own rate.
        start: seconds after the picture's start (see :mod:`mvgen.media.probe`) at which sample 0 lies.
        seconds: length; exactly so many samples come back, silence where the sound ends before. None: all that is left.
        limit: seconds of sound in the file; more is an error.

    Returns:
        float32 ``[n]``, loudness untouched.

    Raises:
        UserError: see :func:`native_sound`.
    """
    sound, rate = native_sound(path, limit)
    return cut(resample(sound, rate, sample_rate), sample_rate, start, seconds)
