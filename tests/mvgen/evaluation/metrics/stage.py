"""A stage whose places light up when their notes start: for the tests of what reads pictures."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

PITCHES = (60, 62, 64, 65, 67)
BOXES = [(pitch, 0.1 + 0.16 * k, 0.3, 0.1 + 0.16 * k + 0.14, 0.7) for k, pitch in enumerate(PITCHES)]
CAMERA = [[0.0, 0.9, -0.05, 0.05, 0.05, 0.9, 0.0, 0.0, -0.1], [4.0, 0.9, 0.05, 0.02, -0.05, 0.9, 0.06, 0.03, -0.05]]
FILM: dict[str, Any] = {"places": [list(box) for box in BOXES], "camera": CAMERA}
SIDE = 64


def notes_of(seed: int, seconds: float = 4.0) -> np.ndarray:
    """Notes every third of a second or so, float ``[N, 3]``."""
    rng = np.random.default_rng(seed)
    onsets = np.arange(0.3, seconds - 0.4, 0.34) + rng.uniform(-0.03, 0.03, len(np.arange(0.3, seconds - 0.4, 0.34)))
    return np.array([(onset, onset + 0.2, rng.choice(PITCHES)) for onset in onsets])


def show(notes: np.ndarray, seconds: float = 4.0, seed: int = 0) -> np.ndarray:
    """The stage as filmed: a place is lit from its onset to its offset. uint8 ``[T, 64, 64, 3]``."""
    frames = []
    rng = np.random.default_rng(seed)
    large = 4 * SIDE
    for frame in range(round(seconds * 25)):
        time = (frame + 0.5) / 25
        start, end = np.array(CAMERA[0][1:]), np.array(CAMERA[1][1:])
        camera = np.append(start + (end - start) * time / 4.0, 1.0).reshape(3, 3)
        picture = np.full((large, large, 3), 60, np.uint8)
        for pitch, x0, y0, x1, y1 in BOXES:
            lit = any(onset <= time < offset for onset, offset, played in notes if played == pitch)
            seen = np.array([(x0, y0, 1), (x1, y0, 1), (x1, y1, 1), (x0, y1, 1)]) @ camera.T
            corners = seen[:, :2] / seen[:, 2:]
            cv2.fillConvexPoly(
                picture, np.rint(corners * large).astype(np.int32), (240, 200, 90) if lit else (90, 90, 110)
            )
        small = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        frames.append(np.clip(small + rng.normal(0, 3, small.shape), 0, 255).astype(np.uint8))
    return np.stack(frames)
