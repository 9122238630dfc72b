"""The camera and the light: where the camera stands, how it drifts, and what film it has in.

What matters of a scene lies within the unit square, and the camera never lets it leave the picture's centred square
crop: zoom below 1, a small shift and turn, and a slow drift around them. In the change ``camera`` it stands farther off
than it ever does else, turned and shifted further.
"""

from __future__ import annotations

import cv2
import numpy as np

from data_prep.recital.changes import FAR_SHIFT, FAR_TURN, FAR_ZOOM, either_way
from data_prep.recital.score import Score

KNOT_SECONDS = 0.5
"""The camera's place is drawn this often and moves linearly between."""
ZOOM = (0.90, 1.0)
TURN = 2.5
SHIFT = 0.02
"""Range of zoom, largest turn in degrees, largest shift in parts of the picture."""


def camera_knots(score: Score) -> np.ndarray:
    """The camera of a performance: rows (t, a, b, tx, c, d, ty), float64 ``[n, 7]``.

    A scene point (x, y) is seen at (a x + b y + tx, c x + d y + ty), both in 0..1 of the picture's centred square
    crop. Between knots the six numbers are interpolated linearly; the knots span the whole clip.
    """
    rng = score.rng("camera")
    times = np.arange(int(np.ceil(score.seconds / KNOT_SECONDS)) + 1) * KNOT_SECONDS

    def drift(middle: float, reach: float) -> np.ndarray:
        period, phase = rng.uniform(6, 12), rng.uniform(0, 2 * np.pi)
        return middle + reach * np.sin(2 * np.pi * times / period + phase)

    far = score.change == "camera"

    def aside(reach: float, beyond: tuple[float, float]) -> float:
        return either_way(rng, beyond) if far else rng.uniform(-reach, reach)

    zoom = drift(rng.uniform(*(FAR_ZOOM if far else ZOOM)), 0.008)
    turn = np.deg2rad(drift(aside(TURN, FAR_TURN), 0.4))
    x, y = drift(aside(SHIFT, FAR_SHIFT), 0.006), drift(aside(SHIFT, FAR_SHIFT), 0.006)
    a, b = zoom * np.cos(turn), -zoom * np.sin(turn)
    c, d = -b, a
    tx = 0.5 + x - (a + b) * 0.5
    ty = 0.5 + y - (c + d) * 0.5
    return np.stack([times, a, b, tx, c, d, ty], 1)


def camera_at(knots: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The camera at these times, by linear interpolation: float64 ``[n, 2, 3]``, scene to 0..1 of the square crop."""
    values = np.stack([np.interp(times, knots[:, 0], column) for column in knots[:, 1:].T], 1)
    return values.reshape(-1, 2, 3)


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
