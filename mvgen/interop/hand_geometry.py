"""Where a palm detector's answers lie in a picture, and which turned square of it the hand network is to be given.

After Bazarevsky et al. 2019 (BlazeFace: anchors, blending of overlapping answers) and Zhang et al. 2020 (MediaPipe
Hands: the square around a palm, and from a frame's landmarks the square of the next frame). Places are in pixels, x
to the right and y down; a picture's left upper corner is (0, 0).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

PALM_SIDE, HAND_SIDE = 192, 224
"""Sides of the pictures that the two networks take."""
GRIDS = ((24, 2), (12, 6))
"""Cells a side of the detector's two grids, and anchors in each cell."""
POINTS = 21
"""Of a hand: the wrist, and four of each finger from its root to its tip, thumb first."""
WRIST, MIDDLE = 0, 2  # of the palm's seven points: those whose line says how the hand is turned
STEADY = (0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18)  # of the hand's points: those that a closing hand moves little
INDEX_ROOT, MIDDLE_ROOT, RING_ROOT = 5, 9, 13
PALM_GROWTH, PALM_SHIFT = 2.6, -0.5
HAND_GROWTH, HAND_SHIFT = 2.0, -0.1
"""A square's side in sides of the box in it, and how far it is moved towards the fingers, in the box's height."""
SAME_PALM = 0.3
"""Answers that overlap by more (intersection over union) are of one palm."""


@dataclass(frozen=True)
class Square:
    """A turned square of a picture.

    Attributes:
        x, y: its middle.
        side: its length.
        angle: how far it is turned clockwise, radians.
    """

    x: float
    y: float
    side: float
    angle: float

    def matrix(self, side: int) -> np.ndarray:
        """From places in the square, in pixels of a picture of so many a side, to the whole one: float64 ``[2, 3]``."""
        right = np.array([np.cos(self.angle), np.sin(self.angle)])
        down = np.array([-right[1], right[0]])
        linear = np.column_stack([right, down]) * self.side / side
        return np.column_stack([linear, np.array([self.x, self.y]) - linear @ np.full(2, side / 2)])

    def cut(self, picture: np.ndarray, side: int) -> np.ndarray:
        """The square, upright, uint8 ``[side, side, 3]``; black where it leaves the picture."""
        matrix = self.matrix(side)
        # OpenCV counts from the middle of the first pixel.
        matrix[:, 2] += matrix[:, :2] @ np.full(2, 0.5) - 0.5
        return cv2.warpAffine(picture, matrix, (side, side), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)

    def holds(self, x: float, y: float) -> bool:
        """Whether a place lies in the middle half of the square, as its palm does."""
        return float(np.hypot(x - self.x, y - self.y)) < self.side / 4


@dataclass(frozen=True)
class Palm:
    """A palm that was found.

    Attributes:
        score: how sure, 0 to 1.
        box: left, top, right, bottom, float ``[4]``.
        points: float ``[7, 2]``.
    """

    score: float
    box: np.ndarray
    points: np.ndarray

    def square(self) -> Square:
        """The square in which the hand network sees the hand upright."""
        x, y = (self.box[:2] + self.box[2:]) / 2
        height = float(self.box[3] - self.box[1])
        angle = _angle(self.points[WRIST], self.points[MIDDLE])
        side = float(max(self.box[2] - self.box[0], height)) * PALM_GROWTH
        return _towards_fingers(x, y, side, angle, PALM_SHIFT * height)


def anchors() -> np.ndarray:
    """Middles of the detector's anchors in 0..1 of its picture, float32 ``[2016, 2]``."""
    found = []
    for cells, each in GRIDS:
        middles = (np.arange(cells) + 0.5) / cells
        y, x = np.meshgrid(middles, middles, indexing="ij")
        found.append(np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), each, axis=0))
    return np.concatenate(found).astype(np.float32)


def palms(answers: np.ndarray, scores: np.ndarray, least: float) -> list[Palm]:
    """Palms in 0..1 of the detector's picture, surest first.

    Args:
        answers: float ``[2016, 18]``: of each anchor a box's middle and sizes, and seven points, in pixels from it.
        scores: logits, float ``[2016]``.
        least: what a palm's score must reach.
    """
    sure = 1 / (1 + np.exp(-np.clip(scores.astype(np.float64), -50, 50)))
    chosen = np.flatnonzero(sure >= least)
    chosen = chosen[np.argsort(-sure[chosen], kind="stable")]
    places = answers[chosen].astype(np.float64) / PALM_SIDE
    middles = anchors()[chosen]
    half = places[:, 2:4] / 2
    centre = places[:, :2] + middles
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    points = places[:, 4:].reshape(-1, 7, 2) + middles[:, None]
    found, left = [], np.arange(len(chosen))
    while len(left):
        same = overlaps(boxes[left[0]], boxes[left]) > SAME_PALM
        same[0] = True
        group = left[same]
        weight = sure[chosen[group]]
        found.append(
            Palm(
                float(weight.max()),
                np.average(boxes[group], axis=0, weights=weight),
                np.average(points[group], axis=0, weights=weight),
            )
        )
        left = left[~same]
    return found


def overlaps(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of a box ``[4]`` with others ``[N, 4]``, float ``[N]``."""
    sizes = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = np.prod(np.maximum(sizes, 0), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1) + np.prod(box[2:] - box[:2]) - shared
    return shared / np.maximum(areas, 1e-12)


def next_square(hand: np.ndarray) -> Square:
    """Where to look for a hand in the next frame, from its points in this one, float ``[21, 2]``."""
    towards = ((hand[INDEX_ROOT] + hand[RING_ROOT]) / 2 + hand[MIDDLE_ROOT]) / 2
    angle = _angle(hand[0], towards)
    right = np.array([np.cos(angle), np.sin(angle)])
    axes = np.stack([right, [-right[1], right[0]]])
    turned = hand[list(STEADY)] @ axes.T
    low, high = turned.min(axis=0), turned.max(axis=0)
    x, y = axes.T @ ((low + high) / 2)
    side = float((high - low).max()) * HAND_GROWTH
    return _towards_fingers(float(x), float(y), side, angle, HAND_SHIFT * float(high[1] - low[1]))


def _angle(wrist: np.ndarray, fingers: np.ndarray) -> float:
    """How far a hand is turned clockwise from upright."""
    x, y = fingers - wrist
    return float(np.arctan2(x, -y))


def _towards_fingers(x: float, y: float, side: float, angle: float, shift: float) -> Square:
    """``shift``: along the turned square's own downward axis."""
    return Square(float(x - np.sin(angle) * shift), float(y + np.cos(angle) * shift), side, angle)


def tiles(height: int, width: int) -> list[Square]:
    """Upright squares in which the detector looks for palms: one around the whole picture where it is nearly square,
    and else squares of its shorter side that overlap by half, since a player's palms in the whole would be tiny."""
    short, long = sorted((height, width))
    if long <= 1.2 * short:
        return [Square(width / 2, height / 2, float(long), 0.0)]
    count = int(np.ceil((long - short) / (short / 2))) + 1
    middles = np.linspace(short / 2, long - short / 2, count)
    return [
        Square(middle, short / 2, float(short), 0.0) if width > height else Square(short / 2, middle, float(short), 0.0)
        for middle in middles.tolist()
    ]
