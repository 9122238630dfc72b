"""Films a score: frames of the performance at any times and any size, as a pure function of the score.

Pictures are drawn in scene coordinates at twice their size (only what moves, over a background drawn once), turned,
shifted and brought to size by the camera, and lit.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from data_prep.recital.film import drums, keyboard, strings
from data_prep.recital.film.camera import Light, camera_at, camera_knots
from data_prep.recital.film.canvas import Canvas
from data_prep.recital.film.scene import Scene
from data_prep.recital.score import Score

__all__ = ["camera_knots", "film", "frames_of", "places"]

SCENES: dict[str, type[Scene]] = {
    "keyboard": keyboard.Keyboard,
    "strings": strings.Strings,
    "drums": drums.Drums,
}
_PLACES = {"keyboard": keyboard.places, "strings": strings.places, "drums": drums.places}

MARGIN, FAR_MARGIN = 0.14, 0.55
"""Scene around the square that the camera may bring into the picture: in plain clips, in the change ``camera``."""
OVERSAMPLING = 2
"""Scene pixels a picture pixel, each way."""
SMALL = 100
"""Pictures less high than this are also turned at twice their size, so that details of half a pixel stay."""


def places(score: Score) -> list[tuple[int, float, float, float, float]]:
    """Where each pitch is played: (pitch, x0, y0, x1, y1) in scene coordinates, the part that is seen to change."""
    return _PLACES[score.instrument](score)


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
    height, width = size
    side = min(height, width)
    scale = OVERSAMPLING * side
    margin = FAR_MARGIN if score.change == "camera" else MARGIN
    reach_x, reach_y = width / side / 2 + margin, height / side / 2 + margin
    extent = (0.5 - reach_x, 0.5 - reach_y, 0.5 + reach_x, 0.5 + reach_y)
    scene = SCENES[score.instrument](score, times)
    empty, canvas = Canvas(*extent, scale), Canvas(*extent, scale)
    scene.background(empty)
    light = Light(score, height, width)
    from_canvas = np.array([[1 / scale, 0, extent[0]], [0, 1 / scale, extent[1]], [0, 0, 1.0]])
    factor = 2 if side < SMALL else 1
    to_picture = factor * np.array([[side, 0, (width - side) / 2], [0, side, (height - side) / 2], [0, 0, 1 / factor]])
    centre = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])  # pixel (0, 0) has its middle at (0.5, 0.5)
    to_pixels = np.linalg.inv(centre) @ to_picture
    for frame, camera in enumerate(camera_at(camera_knots(score), times)):
        canvas.copy_from(empty)
        scene.draw(canvas, frame)
        whole = to_pixels @ np.vstack([camera, (0, 0, 1)]) @ from_canvas @ centre
        large = cv2.warpAffine(
            canvas.pixels, whole[:2], (width * factor, height * factor),
            flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        picture = cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA) if factor > 1 else large
        yield light.expose(picture, float(times[frame]))


def film(score: Score, times: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """As :func:`frames_of`, all frames together: uint8 ``[T, height, width, 3]``."""
    frames = np.empty((len(times), *size, 3), np.uint8)
    for i, picture in enumerate(frames_of(score, times, size)):
        frames[i] = picture
    return frames
