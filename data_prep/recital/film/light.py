"""The light and the film: brightness, its fall over the picture, grain, and how long a frame is exposed."""

from __future__ import annotations

import cv2
import numpy as np

from data_prep.recital.score import Score

SHUTTER = (0.002, 0.020)
"""Seconds for which a frame of footage is exposed: from a bright day's to half of a 25th of a second."""
EXPOSURES = 3
"""Moments of which a blurred frame is the mean."""
SHARP = 0.006
"""Exposed for less than this (seconds), a frame is drawn at one moment."""


def exposures(score: Score) -> np.ndarray:
    """Moments of one frame around its own, seconds, ``[k]``: one where nothing blurs."""
    if not score.footage:
        return np.zeros(1)
    shutter = score.rng("shutter").uniform(*SHUTTER)
    return np.zeros(1) if shutter < SHARP else shutter * (np.arange(EXPOSURES) / (EXPOSURES - 1) - 0.5)


class Light:
    """Brightness, its fall over the picture, and film grain; all of them fixed by the score."""

    def __init__(self, score: Score, height: int, width: int):
        rng = score.rng("light")
        y, x = np.mgrid[0:height, 0:width]
        side = min(height, width)
        x, y = (x + 0.5 - width / 2) / side, (y + 0.5 - height / 2) / side
        angle = rng.uniform(0, 2 * np.pi)
        gain = rng.uniform(0.88, 1.08) * (1 + rng.uniform(0, 0.16) * (x * np.cos(angle) + y * np.sin(angle)))
        gain = gain - rng.uniform(0, 0.25) * (x * x + y * y)
        tint = 1 + rng.uniform(-0.05, 0.05, 3)
        self.gain = np.clip(gain[..., None] * tint * 255 / 1.25, 0, 255).astype(np.uint8)
        self.scale = 1.25 / 255
        tile = rng.normal(0, 1, (height + 64, width + 64)) * rng.uniform(0.2, 1.6)
        grain = np.repeat(np.round(tile)[..., None], 3, 2)
        self.lighter = np.clip(grain, 0, 255).astype(np.uint8)
        self.darker = np.clip(-grain, 0, 255).astype(np.uint8)

    def expose(self, picture: np.ndarray, time: float) -> np.ndarray:
        """The picture as filmed at this time; a pure function of both."""
        height, width = picture.shape[:2]
        cv2.multiply(picture, self.gain, picture, self.scale)
        tick = round(time * 90_000)  # the grain moves with the time, not with the number of the frame
        dy, dx = (tick * 2_654_435_761 >> 7) % 64, (tick * 40_503 >> 5) % 64
        cv2.add(picture, self.lighter[dy : dy + height, dx : dx + width], picture)
        cv2.subtract(picture, self.darker[dy : dy + height, dx : dx + width], picture)
        return picture
