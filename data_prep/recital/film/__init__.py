"""Films a score: frames of the performance at any times and any size, as a pure function of the score.

Pictures are drawn in scene coordinates at twice their size (only what moves, over a background drawn once), brought to
their place and size by the camera, and lit. A second player is filmed as a scene of its own, side by side with the
first.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from data_prep.recital.film import drums, guitar, keyboard, marimba, strings
from data_prep.recital.film.camera import camera_at, camera_knots
from data_prep.recital.film.canvas import Canvas
from data_prep.recital.film.landmarks import LANDMARKS, seen
from data_prep.recital.film.light import Light, exposures
from data_prep.recital.film.scene import Scene
from data_prep.recital.score import Score

__all__ = ["LANDMARKS", "camera_knots", "film", "frames_of", "landmarks_of", "places"]

SCENES: dict[str, type[Scene]] = {
    "keyboard": keyboard.Keyboard,
    "strings": strings.Strings,
    "drums": drums.Drums,
    "guitar": guitar.Guitar,
    "marimba": marimba.Marimba,
}
_PLACES = {
    "keyboard": keyboard.places,
    "strings": strings.places,
    "drums": drums.places,
    "guitar": guitar.places,
    "marimba": marimba.places,
}

MARGIN, FAR_MARGIN = 0.14, 0.55
"""Scene around the square that the camera may bring into the picture: on its stand, and in the change ``camera``."""
WIDEST = 1.5
"""Scene around the square that is drawn at most; beyond, its edge is drawn out."""
OVERSAMPLING = 2
"""Scene pixels a picture pixel, each way."""
SMALL = 100
"""Pictures less high than this are also turned at twice their size, so that details of half a pixel stay."""
HALF = 0.5
"""Size of a player's square where two are in the picture."""


def placed(score: Score) -> list[tuple[Score, np.ndarray]]:
    """Who is in the picture: each player's score, and the player's own scene to the common one, ``[3, 3]``."""
    if not score.partner:
        return [(score, np.eye(3))]
    left, right = (np.array([[HALF, 0, x], [0, HALF, (1 - HALF) / 2], [0, 0, 1]]) for x in (0.0, 1 - HALF))
    here, there = (left, right) if score.rng("seats").integers(2) else (right, left)
    return [(score, here), (score.silent_partner(), there)]


def places(score: Score) -> list[tuple[int, float, float, float, float]]:
    """Where each pitch is played: (pitch, x0, y0, x1, y1) in scene coordinates, the part that is seen to change."""
    (_, place), *_ = placed(score)
    (sx, _, tx), (_, sy, ty) = place[0], place[1]
    return [
        (pitch, sx * x0 + tx, sy * y0 + ty, sx * x1 + tx, sy * y1 + ty)
        for pitch, x0, y0, x1, y1 in _PLACES[score.instrument](score)
    ]


def landmarks_of(score: Score, times: np.ndarray) -> np.ndarray:
    """Where hands, fingertips, bow and sticks of the one who plays are seen at these times (seconds, ``[T]``).

    Returns:
        float32 ``[T, K, 3]``, see :func:`data_prep.recital.film.landmarks.seen`.
    """
    times = np.asarray(times, np.float64)
    (_, place), *_ = placed(score)
    scene = SCENES[score.instrument](score, times)
    return seen(scene.landmarks(), camera_at(camera_knots(score), times) @ place)


def frames_of(score: Score, times: np.ndarray, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Frames one by one.

    Args:
        score: the performance.
        times: moments to show, seconds, ``[T]``; a frame depends on its own moment alone.
        size: (height, width) of the picture. The scene's unit square fills the centred square.

    Yields:
        uint8 ``[height, width, 3]``, RGB; each a new array.
    """
    times = np.asarray(times, np.float64)
    around = exposures(score)
    moments = (times[:, None] + around).ravel()
    camera = camera_at(camera_knots(score), moments)
    players = [_Player(player, moments, camera @ place, size) for player, place in placed(score)]
    seat = _left_half(score, size) if len(players) > 1 else None
    light = Light(score, *size)
    for frame, time in enumerate(times):
        total = None
        for moment in range(frame * len(around), (frame + 1) * len(around)):
            picture = players[0].picture(moment)
            if seat is not None:
                other = players[1].picture(moment)
                picture = np.where(seat, picture, other)
            if len(around) > 1:
                total = picture.astype(np.uint16) if total is None else total + picture
        if total is not None:
            picture = ((total + len(around) // 2) // len(around)).astype(np.uint8)
        yield light.expose(picture, float(time))


def _left_half(score: Score, size: tuple[int, int]) -> np.ndarray:
    """Which pixels show the first player, bool ``[height, width, 1]``: the picture is shared down its middle."""
    height, width = size
    (_, place), *_ = placed(score)
    left = np.arange(width) < width / 2
    return np.broadcast_to((left if place[0, 2] == 0 else ~left)[None, :, None], (height, width, 1))


class _Player:
    """One scene on its canvas, through the camera."""

    def __init__(self, score: Score, moments: np.ndarray, camera: np.ndarray, size: tuple[int, int]):
        """``moments`` in seconds, ``[n]``, with the camera at each, scene to 0..1 of the square crop, ``[n, 3, 3]``."""
        self.height, self.width = size
        side = min(size)
        self.scene = SCENES[score.instrument](score, moments)
        share = np.sqrt(np.abs(np.linalg.det(camera[0, :2, :2]))) if score.footage else 1.0
        scale = OVERSAMPLING * side * min(1.0, 1.3 * share)
        extent = self._extent(score, camera)
        self.empty, self.canvas = Canvas(*extent, scale), Canvas(*extent, scale)
        self.scene.background(self.empty)
        scale_back = np.array([[1 / scale, 0, extent[0]], [0, 1 / scale, extent[1]], [0, 0, 1.0]])
        self.factor = 2 if side < SMALL else 1
        shown = np.array([[side, 0, (self.width - side) / 2], [0, side, (self.height - side) / 2], [0, 0, 1]])
        to_picture = np.diag([self.factor, self.factor, 1.0]) @ shown
        centre = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])  # pixel (0, 0) has its middle at (0.5, 0.5)
        self.whole = np.linalg.inv(centre) @ to_picture @ camera @ scale_back @ centre

    def _extent(self, score: Score, camera: np.ndarray) -> tuple[float, float, float, float]:
        """(left, top, right, bottom) of what is drawn: all that the camera ever shows, in scene coordinates."""
        side = min(self.height, self.width)
        reach_x, reach_y = self.width / side / 2, self.height / side / 2
        if not score.footage:
            margin = FAR_MARGIN if score.change == "camera" else MARGIN
            reach_x, reach_y = reach_x + margin, reach_y + margin
            return 0.5 - reach_x, 0.5 - reach_y, 0.5 + reach_x, 0.5 + reach_y
        corners = np.array([(0.5 + x * reach_x, 0.5 + y * reach_y, 1) for x in (-1, 1) for y in (-1, 1)])
        at = np.einsum("nij,kj->nki", np.linalg.inv(camera), corners)
        at = np.clip(at[..., :2] / at[..., 2:], -WIDEST, 1 + WIDEST)
        (left, top), (right, bottom) = at.min(axis=(0, 1)) - 0.02, at.max(axis=(0, 1)) + 0.02
        return float(left), float(top), float(right), float(bottom)

    def picture(self, moment: int) -> np.ndarray:
        """What is seen at ``moments[moment]``, uint8 ``[height, width, 3]``."""
        self.canvas.copy_from(self.empty)
        self.scene.draw(self.canvas, moment)
        large = cv2.warpPerspective(
            self.canvas.pixels, self.whole[moment], (self.width * self.factor, self.height * self.factor),
            flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        if self.factor == 1:
            return large
        return cv2.resize(large, (self.width, self.height), interpolation=cv2.INTER_AREA)


def film(score: Score, times: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """As :func:`frames_of`, all frames together: uint8 ``[T, height, width, 3]``."""
    frames = np.empty((len(times), *size, 3), np.uint8)
    for i, picture in enumerate(frames_of(score, times, size)):
        frames[i] = picture
    return frames
