"""The one clock: 25 frames and 50 audio tokens a second, two tokens a frame.

Frame ``i`` covers ``[i/25, (i+1)/25)`` seconds and tokens ``2i`` and ``2i+1``. Everything that turns seconds into
frames, tokens or samples, or back, asks this module; nothing else may multiply by a rate. Times are exact
(:class:`fractions.Fraction`) wherever a count is derived from them, so that no float ever rounds a frame away.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

FRAME_RATE = 25
"""Frames a second."""
TOKEN_RATE = 50
"""Audio tokens a second (per codebook)."""
TOKENS_PER_FRAME = TOKEN_RATE // FRAME_RATE
"""Two tokens a frame."""
STANDARD_SAMPLE_RATE = 44_100
"""Samples a second of standardised sound."""
CODEC_SAMPLE_RATE = 32_000
"""Samples a second of EnCodec's sound (MusicGen's codec); 640 samples a token, 1280 a frame."""

GRACE = 5e-7
"""Seconds by which a source frame may be late: timestamps are ticks, and a tie must not hang on float rounding."""

Seconds = float | Fraction


def _exact(seconds: Seconds) -> Fraction:
    return Fraction(seconds) if isinstance(seconds, (int, Fraction)) else Fraction(seconds).limit_denominator(10**9)


def frame_start(frame: int) -> Fraction:
    """Start of a frame, in seconds."""
    return Fraction(frame, FRAME_RATE)


def token_start(token: int) -> Fraction:
    """Start of a token, in seconds."""
    return Fraction(token, TOKEN_RATE)


def frame_at(seconds: Seconds) -> int:
    """The frame that covers this moment (floor)."""
    return int(_exact(seconds) * FRAME_RATE // 1)


def token_at(seconds: Seconds) -> int:
    """The token that covers this moment (floor)."""
    return int(_exact(seconds) * TOKEN_RATE // 1)


def whole_frames(seconds: Seconds) -> int:
    """How many whole frames fit in this length of time."""
    return max(0, frame_at(seconds))


def tokens_of(frames: int) -> int:
    """How many tokens go with so many frames."""
    return frames * TOKENS_PER_FRAME


def frames_of(tokens: int) -> int:
    """How many whole frames go with so many tokens."""
    return tokens // TOKENS_PER_FRAME


def samples_of(frames: int, sample_rate: int) -> int:
    """Samples of sound that go with so many frames, rounded to the nearest sample."""
    return round(Fraction(frames * sample_rate, FRAME_RATE))


def frame_centres(frames: int, start: int = 0) -> np.ndarray:
    """Mid-times of frames ``start .. start+frames``, in seconds, float32 ``[frames]``: the positions the model sees."""
    return ((np.arange(frames) + start + 0.5) / FRAME_RATE).astype(np.float32)


def token_centres(tokens: int, start: int = 0) -> np.ndarray:
    """Mid-times of tokens ``start .. start+tokens``, in seconds, float32 ``[tokens]``."""
    return ((np.arange(tokens) + start + 0.5) / TOKEN_RATE).astype(np.float32)


def frames_before(moment: Seconds, start: Seconds = 0) -> int:
    """How many of mvgen's frames, from ``start`` on, have their middle before a moment.

    The frames that a source frame shown until then decides, counted from the first: where a frame of the source takes
    the place of another, this is the number of the first frame that shows it. Agrees with :func:`source_frames`.
    """
    return max(0, math.ceil((float(moment) - float(start) - GRACE) * FRAME_RATE - 0.5))


def source_frames(timestamps: np.ndarray, frames: int, start: Seconds = 0) -> np.ndarray:
    """Which source frame each of mvgen's frames shows.

    Frame ``i`` shows the source frame on display at its middle, ``start + (i + 1/2)/25``: the last one whose
    presentation timestamp is not later. A change in the source therefore appears within half a frame (20 ms) of its
    true time at any rate, constant or not. Before the first timestamp the first source frame is shown.

    Args:
        timestamps: presentation times in seconds on the file's own timeline, ascending, ``[n]``, ``n >= 1``.
        frames: how many frames to fill.
        start: the moment on that timeline where frame 0 begins.

    Returns:
        Indices into ``timestamps``, int64 ``[frames]``.
    """
    middles = float(start) + (np.arange(frames) + 0.5) / FRAME_RATE
    return np.clip(np.searchsorted(np.asarray(timestamps), middles + GRACE, side="right") - 1, 0, len(timestamps) - 1)
