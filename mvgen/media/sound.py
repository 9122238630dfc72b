"""The sound of a file: decoded at its own rate, placed on the file's timeline, resampled once."""

from __future__ import annotations

import os
from fractions import Fraction

import av
import numpy as np
import soxr

from mvgen.clock import Seconds
from mvgen.errors import UserError
from mvgen.media.probe import open_media, origin, presented, sound_stream, stream_start

JUMP = Fraction(2, 1000)
"""Timestamps that differ from the running count of samples by less than this are rounding of the container's clock."""


def _mono(frame: av.AudioFrame) -> np.ndarray:
    """Mean over channels of a decoded block, float32 ``[n]`` in [-1, 1]."""
    block = frame.to_ndarray()
    if frame.format.is_packed:
        block = block.reshape(-1, frame.layout.nb_channels).T
    if block.dtype == np.uint8:
        block = (block.astype(np.float32) - 128) / 128
    elif block.dtype.kind == "i":
        block = block.astype(np.float32) / 2.0 ** (8 * block.itemsize - 1)
    return block.mean(axis=0, dtype=np.float32)


def native_sound(path: str | os.PathLike[str]) -> tuple[np.ndarray, int]:
    """The sound at its own rate, mixed to mono, sample 0 at t = 0 of the timeline (see :mod:`mvgen.media.probe`).

    What the decoder adds for its own start and end (priming, padding) is trimmed as the container says; gaps are
    silence; sound from before the picture starts is dropped.

    Returns:
        float32 ``[n]`` and the sample rate.

    Raises:
        UserError: not a media file, no sound in it, or sound that cannot be decoded at all.
    """
    begin = origin(path)
    blocks: list[tuple[int, np.ndarray]] = []
    with open_media(path) as container:
        stream = sound_stream(container)
        if stream is None:
            raise UserError(f"{os.fspath(path)} has no sound")
        rate = 0  # as decoded: headers of some codecs state another
        position: int | None = None
        try:
            for frame in container.decode(stream):
                rate = rate or frame.sample_rate
                if frame.sample_rate != rate:
                    raise UserError(f"{os.fspath(path)}: its sound changes rate from {rate} to {frame.sample_rate}")
                if (time := presented(frame)) is not None:
                    stamped = round((time - begin) * rate)
                    if position is None or abs(stamped - position) > JUMP * rate:
                        position = stamped
                position = position or 0
                blocks.append((position, _mono(frame)))
                position += len(blocks[-1][1])
        except av.error.FFmpegError:
            # Damage at the very start is an error; later it ends the sound.
            if not blocks:
                raise
        # Decoders give whole blocks; where the container says that the sound ends within the last one, it ends there.
        stated = _stated_end(stream)
        length = max((start + len(block) for start, block in blocks), default=0)
        if stated is not None and blocks:
            excess = length - round((stated - begin) * rate)
            length -= excess if 0 < excess <= 2 * max(len(block) for _, block in blocks[-2:]) else 0
    if length <= 0:
        raise UserError(f"{os.fspath(path)}: none of its sound can be decoded within the time of its picture")
    sound = np.zeros(length, np.float32)
    for start, block in blocks:
        first, last = max(0, start), min(length, start + len(block))
        if first < last:
            sound[first:last] = block[first - start : last - start]
    return sound, rate


def _stated_end(stream: av.AudioStream) -> Fraction | None:
    """Where the container says that the sound ends, on its own timeline; None where it does not say."""
    if stream.duration is None or stream.time_base is None:
        return None
    return stream_start(stream) + Fraction(stream.duration) * stream.time_base


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
    path: str | os.PathLike[str], sample_rate: int, start: Seconds = 0.0, seconds: Seconds | None = None
) -> np.ndarray:
    """The sound of a file as mono, on the timeline of its picture.

    Args:
        sample_rate: wanted; reached in one step from the source's own rate.
        start: seconds after the picture's start (see :mod:`mvgen.media.probe`) at which sample 0 lies.
        seconds: length; exactly so many samples come back, silence where the sound ends before. None: all that is left.

    Returns:
        float32 ``[n]``, loudness untouched.

    Raises:
        UserError: see :func:`native_sound`.
    """
    sound, rate = native_sound(path)
    return cut(resample(sound, rate, sample_rate), sample_rate, start, seconds)
