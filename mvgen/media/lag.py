"""Lag: by how much the sound comes after the motion, with no trained weights.

The correlation of flow magnitude with onset strength, both at the frame rate, at lags of up to a second either way;
the lag of the largest value is the answer. Positive: the sound is late.
"""

from __future__ import annotations

import numpy as np

from mvgen.clock import FRAME_RATE
from mvgen.media.onsets import HOP, SAMPLE_RATE

LARGEST = 25
"""Frames of lag tried either way."""
LATENCY = 0.0245
"""Seconds by which librosa's onset strength (the centre of its rise) comes after a click: measured over clicks at all
phases of its hop, the same within 2 ms for all of them. Taken off, so that sound at the moment of motion has lag 0."""


def strength_at_frames(strength: np.ndarray, frames: int, rate: float = FRAME_RATE) -> np.ndarray:
    """Onset strength averaged around each moment ``i / rate``, float ``[frames]``: the moments of flow magnitude.

    Flow value ``i`` lies between the middles of frames ``i - 1`` and ``i``, hence at the boundary ``i / rate``.
    """
    steps = 8
    offsets = (np.arange(steps) + 0.5) / steps - 0.5
    moments = (np.arange(frames)[:, None] + offsets) / rate + LATENCY
    return np.interp(moments, np.arange(len(strength)) * HOP / SAMPLE_RATE, strength).mean(axis=1)


def correlations(motion: np.ndarray, strength: np.ndarray, largest: int = LARGEST) -> np.ndarray:
    """Pearson correlation of ``motion[i]`` with ``strength[i + lag]`` for lags ``-largest .. largest``.

    Each over the overlap alone; NaN where either does not vary there, or the overlap is under three frames.

    Args:
        motion: ``[T]``. strength: ``[T]``.

    Returns:
        float ``[2 * largest + 1]``.
    """
    frames = min(len(motion), len(strength))
    values = np.full(2 * largest + 1, np.nan)
    for lag in range(-largest, largest + 1):
        first, last = max(0, -lag), frames - max(0, lag)
        if last - first < 3:
            continue
        moved, sounded = motion[first:last], strength[first + lag : last + lag]
        spread = np.std(moved) * np.std(sounded)
        if spread > 1e-12:
            values[lag + largest] = np.mean((moved - moved.mean()) * (sounded - sounded.mean())) / spread
    return values


def lag(motion: np.ndarray, strength: np.ndarray, rate: float = FRAME_RATE, largest: int = LARGEST) -> dict[str, float]:
    """``{"ms": the best lag, "value": the correlation there}``; both NaN if nothing moves or nothing sounds."""
    values = correlations(motion, strength, largest)
    if np.all(np.isnan(values)):
        return {"ms": float("nan"), "value": float("nan")}
    best = int(np.nanargmax(values))
    return {"ms": (best - largest) * 1000.0 / rate, "value": float(values[best])}
