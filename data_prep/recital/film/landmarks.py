"""Which points of a film are known exactly, and where they are seen.

Names follow the hand landmarks of MediaPipe (Zhang et al. 2020, "MediaPipe Hands") where it has one: a tip is called by
its finger. A hand is the middle of its palm. Left and right are the player's.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

FINGERS = ("thumb", "index", "middle", "ring", "little")
LANDMARKS = (
    *(f"{side}_{part}" for side in ("left", "right") for part in ("hand", *FINGERS)),
    "bow_frog",
    "bow_tip",
    "left_stick",
    "right_stick",
    "beater",
)
"""Their order in a record: both hands with their fingertips, both ends of the bow's hair, the tips of sticks and
mallets, and the beater of the bass drum's pedal. What an instrument lacks has confidence 0."""


def through(camera: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Where scene points are seen.

    Args:
        camera: scene to 0..1 of the picture's centred square, ``[n, 3, 3]``, homogeneous.
        points: scene coordinates, ``[n, 2]``.

    Returns:
        ``[n, 2]``.
    """
    seen = np.einsum("nij,nj->ni", camera, np.concatenate([points, np.ones((len(points), 1))], 1))
    return seen[:, :2] / seen[:, 2:]


def seen(paths: Mapping[str, np.ndarray], camera: np.ndarray) -> np.ndarray:
    """All landmarks of a film.

    Args:
        paths: by name, where each is in the scene, ``[n, 2]``.
        camera: as in :func:`through`.

    Returns:
        x, y in 0..1 of the picture's centred square and the confidence, float32 ``[n, K, 3]`` in the order of
        :data:`LANDMARKS`: confidence 1 where a point lies in the square, else 0 (and then x and y are 0, too).
    """
    found = np.zeros((len(camera), len(LANDMARKS), 3), np.float32)
    for name, points in paths.items():
        places = through(camera, points)
        inside = np.all((places >= 0) & (places <= 1), axis=1)
        found[inside, LANDMARKS.index(name), :2] = places[inside]
        found[inside, LANDMARKS.index(name), 2] = 1.0
    return found
