"""Sounds whose notes are known, for the tests of what hears them."""

from __future__ import annotations

import numpy as np

RATE = 22_050


def play(notes: list[tuple[float, float, int]], seconds: float, partials: int = 6) -> np.ndarray:
    """Decaying harmonic tones: (onset s, offset s, MIDI pitch) each, float32 ``[seconds * 22050]``."""
    sound = np.zeros(round(seconds * RATE))
    for onset, offset, pitch in notes:
        first = round(onset * RATE)
        time = np.arange(min(round((offset - onset) * RATE), len(sound) - first)) / RATE
        fundamental = 440.0 * 2 ** ((pitch - 69) / 12)
        tone = sum(np.sin(2 * np.pi * k * fundamental * time) / k for k in range(1, partials + 1))
        fade = np.minimum(1.0, (offset - onset - time) / 0.05)
        sound[first : first + len(time)] += 0.2 * tone * np.exp(-time / 0.3) * np.clip(fade, 0, 1)
    return sound.astype(np.float32)


MELODY = [(0.3 + 0.4 * k, 0.3 + 0.4 * k + 0.38, pitch) for k, pitch in enumerate((60, 64, 67, 72, 48, 55, 71, 59))]
SECONDS = 3.8
