"""Videos in which a flash and a beep begin together, at moments that are known exactly."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

CLOCK = 90_000
"""Ticks a second of the picture's timestamps."""


def constant_times(rate: Fraction | int, seconds: float) -> list[Fraction]:
    """Times of the frames of a constant rate, to the tick."""
    count = int(Fraction(seconds) * rate)
    return [Fraction(round(Fraction(number * CLOCK) / rate), CLOCK) for number in range(count)]


def flash_moments(times: list[Fraction], period: float = 1.0) -> list[Fraction]:
    """The first frame at or after each whole period (not 0): where flash and beep begin."""
    last = float(times[-1])
    return [next(time for time in times if time >= period * k) for k in range(1, int(last / period) + 1)]


def write_flashes(
    path: Path,
    times: list[Fraction],
    sample_rate: int = 44_100,
    sound_start: float = 0.0,
    sound_end: float | None = None,
    codec: str = "aac",
    channels: int = 1,
    size: tuple[int, int] = (64, 48),
    picture_start: Fraction = Fraction(0),
    rotation: int = 0,
    aspect: Fraction | None = None,
    video_codec: str = "libx264",
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
) -> list[Fraction]:
    """Writes the video and returns the moments, counted from its first frame.

    Args:
        times: of the source frames, ascending from 0.
        codec: of the sound.
        pixels, options: what the picture is encoded as, and the encoder's options.
        sound_start, sound_end: the sound lies between these moments; outside, the file holds none.
        picture_start: where the first frame lies on the container's timeline (the sound moves with it).
        rotation: written as the display matrix of the picture.
    """
    moments = flash_moments(times)
    step = times[-1] - times[-2]
    end = float(times[-1] + step) if sound_end is None else sound_end
    clock = np.arange(round(sound_start * sample_rate), round(end * sample_rate)) / sample_rate
    sound = np.zeros(len(clock), np.float32)
    for moment in moments:
        during = (clock >= float(moment)) & (clock < float(moment) + 0.1)
        sound[during] = 0.8 * np.cos(2 * np.pi * 1000 * (clock[during] - float(moment)))
    with av.open(str(path), "w") as out:
        # The muxer takes the length of the last frame from the stated rate.
        video = out.add_stream(video_codec, rate=(1 / (times[-1] - times[-2])).limit_denominator(1001))
        video.width, video.height, video.pix_fmt = *size, pixels
        video.time_base = video.codec_context.time_base = Fraction(1, CLOCK)
        video.options = {"crf": "20", "preset": "ultrafast"} if options is None else options
        if aspect is not None:
            video.codec_context.sample_aspect_ratio = aspect
        if rotation:
            video.set_display_rotation(rotation)
        layout = {1: "mono", 2: "stereo", 6: "5.1"}[channels]
        audio = out.add_stream(codec, rate=sample_rate, layout=layout) if end > sound_start else None
        for time in times:
            lit = any(moment <= time < moment + Fraction(1, 10) for moment in moments)
            image = np.full((size[1], size[0], 3), 235 if lit else 20, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = round((time + picture_start) * CLOCK), Fraction(1, CLOCK)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        if audio is not None:
            planar = audio.codec_context.format.name == "fltp"
            for first in range(0, len(sound), 1024):
                block = np.repeat(sound[None, first : first + 1024], channels, axis=0)
                if not planar:
                    block = (block * 32767).astype(np.int16).T.reshape(1, -1)
                piece = av.AudioFrame.from_ndarray(
                    np.ascontiguousarray(block), format="fltp" if planar else "s16", layout=layout
                )
                offset = round((sound_start + float(picture_start)) * sample_rate)
                piece.sample_rate, piece.time_base, piece.pts = sample_rate, Fraction(1, sample_rate), first + offset
                out.mux(audio.encode(piece))
            out.mux(audio.encode(None))
    return moments


def flashes_in(frames: np.ndarray) -> np.ndarray:
    """Starts, in seconds, of the runs of bright frames of uint8 ``[T, H, W, 3]``."""
    bright = np.concatenate([[False], frames.mean(axis=(1, 2, 3)) > 128])
    return np.flatnonzero(bright[1:] & ~bright[:-1]) / 25


def beeps_in(sound: np.ndarray, sample_rate: int, level: float = 0.4) -> np.ndarray:
    """Starts, in seconds, of the beeps: where the level passes half of theirs after a silence of 0.2 s."""
    loud = np.flatnonzero(np.abs(sound) > level)
    return loud[np.diff(loud, prepend=-sample_rate) > 0.2 * sample_rate] / sample_rate
