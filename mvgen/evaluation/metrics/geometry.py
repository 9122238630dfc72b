"""Where each key, string place or drum lies in the picture, from what a clip's film says of places and camera.

``film`` holds ``places`` (pitch and a box in scene coordinates) and ``camera`` (knots of a perspective map from scene
to image, both in 0..1 of the square crop). Pictures are laid back onto the scene through the camera, so that a place
keeps still while the camera drifts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from mvgen.clock import frame_centres

CANVAS = 128
"""Side in pixels of the scene raster, which spans all places."""
TOUCHING = 0.15
"""Share of its own width or height by which a place may be apart from its neighbour."""
SIDES = ((-1, 0), (1, 0), (0, -1), (0, 1))
"""Left, right, above, below."""


class Geometry:
    """The places of one clip and its camera.

    Attributes:
        pitches: of each place, int ``[P]``.
        neighbours: the place that adjoins on the left, on the right, above and below, -1 where none, int ``[4, P]``.
    """

    def __init__(self, film: Mapping[str, Any]) -> None:
        """Reads a manifest's ``film`` entry.

        Raises:
            ValueError: ``places`` or ``camera`` is missing or of the wrong form.
        """
        try:
            places = np.asarray(film["places"], float).reshape(-1, 5)
            knots = np.asarray(film["camera"], float).reshape(-1, 9)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"film geometry cannot be read: {error}") from error
        if not len(places) or not len(knots) or not (np.isfinite(places).all() and np.isfinite(knots).all()):
            raise ValueError("film geometry has no places or no camera knots, or numbers that are not finite")
        self.pitches = places[:, 0].round().astype(int)
        self._knots = knots[np.argsort(knots[:, 0], kind="stable")]
        boxes = places[:, 1:]
        self.neighbours = _neighbours(boxes)
        low, high = boxes.reshape(-1, 2).min(axis=0), boxes.reshape(-1, 2).max(axis=0)
        scale = CANVAS / np.maximum(high - low, 1e-6)
        # Middle of a raster pixel to scene: scene = (pixel + 1/2) / scale + low.
        self._to_scene = np.array(
            [[1 / scale[0], 0, low[0] + 0.5 / scale[0]], [0, 1 / scale[1], low[1] + 0.5 / scale[1]], [0, 0, 1]]
        )
        corners = (boxes.reshape(-1, 2, 2) - low) * scale
        first = np.clip(np.rint(corners.min(axis=1)), 0, CANVAS - 1).astype(int)
        last = np.maximum(np.clip(np.rint(corners.max(axis=1)), 1, CANVAS).astype(int), first + 1)
        self._slices = [(slice(y0, y1), slice(x0, x1)) for (x0, y0), (x1, y1) in zip(first, last, strict=True)]

    def camera(self, seconds: float) -> np.ndarray:
        """Scene to image at a moment, ``[3, 3]``; linear between knots, held before the first and after the last."""
        times = self._knots[:, 0]
        values = [np.interp(seconds, times, column) for column in self._knots[:, 1:].T]
        return np.array([*values, 1.0]).reshape(3, 3)

    def deviation(self, frames: np.ndarray) -> np.ndarray:
        """How far each place is from its usual look in each frame, float32 ``[T, P]``.

        The usual look is the median over the clip of the picture laid back onto the scene; the deviation is the sum
        over colours of the absolute difference from it, in grey levels, averaged over the place. What lies outside
        the picture counts as black throughout.

        Args:
            frames: RGB at 25 frames a second, uint8 ``[T, H, W, 3]``, the square crop.
        """
        laid_back = np.empty((len(frames), CANVAS, CANVAS, 3), np.uint8)
        for frame, time, out in zip(frames, frame_centres(len(frames)), laid_back, strict=True):
            height, width = frame.shape[:2]
            to_image = np.diag([width, height, 1.0]) @ self.camera(float(time)) @ self._to_scene
            to_image[:2] -= 0.5 * to_image[2]  # pixel (0, 0) has its middle at (0.5, 0.5)
            cv2.warpPerspective(
                frame, to_image, (CANVAS, CANVAS), dst=out, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            )
        # Every fifth frame is enough for a median, and five times as quick.
        usual = np.median(laid_back[::5], axis=0).astype(np.uint8)
        deviations = np.empty((len(frames), len(self._slices)), np.float32)
        for picture, row in zip(laid_back, deviations, strict=True):
            # A running sum over the raster gives the sum over any box from its four corners.
            sums = cv2.integral(cv2.transform(cv2.absdiff(picture, usual).astype(np.float32), np.ones((1, 3))))
            for place, (rows, columns) in enumerate(self._slices):
                total = (
                    sums[rows.stop, columns.stop]
                    - sums[rows.start, columns.stop]
                    - sums[rows.stop, columns.start]
                    + sums[rows.start, columns.start]
                )
                row[place] = total / ((rows.stop - rows.start) * (columns.stop - columns.start))
        return deviations


def _neighbours(boxes: np.ndarray) -> np.ndarray:
    """For each box the one that holds the point just beyond the middle of each of its sides, int ``[4, P]``."""
    low = np.minimum(boxes[:, :2], boxes[:, 2:])
    high = np.maximum(boxes[:, :2], boxes[:, 2:])
    middle, half = (low + high) / 2, (high - low) / 2
    found = np.full((len(SIDES), len(boxes)), -1)
    for side, direction in enumerate(SIDES):
        points = middle + np.array(direction) * half * (1 + TOUCHING)
        holds = np.all((points[:, None] >= low) & (points[:, None] <= high), axis=-1)
        np.fill_diagonal(holds, False)
        found[side] = np.where(holds.any(axis=1), holds.argmax(axis=1), -1)
    return found
