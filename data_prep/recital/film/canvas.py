"""A drawing surface in scene coordinates: sub-pixel, anti-aliased, a few microseconds a shape.

The scene is the unit square, x to the right and y down, and a margin around it. Colours are RGB, 0 to 255.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

Colour = Sequence[float]
Point = Sequence[float] | np.ndarray

_SHIFT = 5
_HALF_ROUND = np.exp(1j * np.linspace(-np.pi / 2, np.pi / 2, 7))


def mix(first: Colour, second: Colour, share: float) -> tuple[float, float, float]:
    """``share`` of the second colour in the first."""
    return (
        first[0] + (second[0] - first[0]) * share,
        first[1] + (second[1] - first[1]) * share,
        first[2] + (second[2] - first[2]) * share,
    )


class Canvas:
    """Pixels ``[height, width, 3]`` uint8; scene point (x, y) lies at ((x - left) * scale, (y - top) * scale)."""

    def __init__(self, left: float, top: float, right: float, bottom: float, scale: float, fill: Colour = (0, 0, 0)):
        self.left, self.top, self.scale = left, top, scale
        shape = (int(np.ceil((bottom - top) * scale)), int(np.ceil((right - left) * scale)), 3)
        self.pixels = np.empty(shape, np.uint8)
        self.pixels[:] = np.clip(np.round(fill), 0, 255)
        self._unit = scale * (1 << _SHIFT)
        # Half a pixel less: OpenCV counts from pixel centres, the scene from the corner.
        self._origin = np.array([left * self._unit, top * self._unit]) + (1 << (_SHIFT - 1))

    def copy_from(self, other: Canvas) -> None:
        """Takes over the other canvas's pixels; both have the same extent."""
        np.copyto(self.pixels, other.pixels)

    def _fixed(self, points: np.ndarray) -> np.ndarray:
        return np.rint(points * self._unit - self._origin).astype(np.int32)

    def polygon(self, points: Sequence[Point] | np.ndarray, colour: Colour) -> None:
        """A filled convex polygon."""
        cv2.fillConvexPoly(self.pixels, self._fixed(np.asarray(points, float)), tuple(colour), cv2.LINE_AA, _SHIFT)

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        """A filled upright rectangle."""
        self.polygon(((x0, y0), (x1, y0), (x1, y1), (x0, y1)), colour)

    def limb(self, start: Point, end: Point, width: float, colour: Colour, end_width: float | None = None) -> None:
        """A straight bar with round ends, which may taper: a finger, a stick, a string."""
        # Points as complex numbers: turning is one multiplication.
        p, q = complex(start[0], start[1]), complex(end[0], end[1])
        length = abs(q - p)
        cap = _HALF_ROUND * ((q - p) / length if length > 1e-9 else 1.0) / 2
        outline = np.concatenate([q + cap * (width if end_width is None else end_width), p - cap * width])
        self.polygon(outline.view(float).reshape(-1, 2), colour)

    def ellipse(self, centre: Point, radii: Point, colour: Colour, angle: float = 0.0) -> None:
        """A filled ellipse; the angle in degrees turns it clockwise."""
        x, y = self._fixed(np.asarray(centre, float)).tolist()
        rx, ry = (max(1, round(r * self._unit)) for r in radii)
        cv2.ellipse(self.pixels, (x, y), (rx, ry), angle, 0, 360, tuple(colour), -1, cv2.LINE_AA, _SHIFT)

    def disc(self, centre: Point, radius: float, colour: Colour) -> None:
        """A filled circle."""
        x, y = self._fixed(np.asarray(centre, float)).tolist()
        cv2.circle(self.pixels, (x, y), max(1, round(radius * self._unit)), tuple(colour), -1, cv2.LINE_AA, _SHIFT)
