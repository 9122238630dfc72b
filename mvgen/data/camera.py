"""Training clips filmed anew from another place of the camera: pictures, their optical flow and landmarks together.

One draw a clip: zoom, turn and pan of the whole window, as if the camera had stood elsewhere; edges repeat. Flow is
moved with the picture, and its vectors are turned and scaled as the picture is. Landmarks move with it too, and those
that leave it are not seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

Place = tuple[float, float, float, float]
"""Of a camera: zoom (1: as filmed), turn in degrees, pan right and down in parts of the picture's shorter side."""


@dataclass(frozen=True)
class Reach:
    """How far cameras are drawn from where they filmed.

    Attributes:
        zoom: between ``1 / (1 + zoom)`` and ``1 + zoom``, evenly in its logarithm.
        turn: degrees either way.
        pan: parts of the picture's shorter side, either way, right and down.
    """

    zoom: float
    turn: float
    pan: float

    def __bool__(self) -> bool:
        return bool(self.zoom or self.turn or self.pan)

    def draw(self, rng: np.random.Generator) -> Place:
        """One place."""
        zoom, turn, right, down = rng.uniform(-1, 1, 4)
        return (
            float(np.exp(zoom * np.log1p(self.zoom))),
            float(turn * self.turn),
            float(right * self.pan),
            float(down * self.pan),
        )


def affine(place: Place, size: tuple[int, int]) -> np.ndarray:
    """Where a camera there shows each point of a picture: float64 ``[2, 3]``, from pixel (x, y) to pixel.

    Args:
        place: of the camera.
        size: (height, width); pixels are square, and pixel 0 has its middle at 0.
    """
    zoom, turn, right, down = place
    height, width = size
    angle = np.deg2rad(turn)
    linear = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    moved = middle + min(size) * np.array([right, down]) - linear @ middle
    return np.column_stack([linear, moved])


def film_frames(frames: np.ndarray, place: Place) -> np.ndarray:
    """Frames as a camera there would have filmed them, uint8 ``[time, height, width, 3]``."""
    matrix = affine(place, frames.shape[1:3])
    return np.stack([_warped(frame, matrix) for frame in frames])


def film_flow(flow: np.ndarray, place: Place, size: tuple[int, int]) -> np.ndarray:
    """Optical flow of the same, float ``[time, h, w, 2]``, in pixels a frame at its own size.

    Args:
        flow: as filmed.
        place: of the camera.
        size: (height, width) of the frames, whose pixels are square; the flow's need not be.
    """
    matrix = affine(place, size)
    scale = np.array([flow.shape[2] / size[1], flow.shape[1] / size[0]])
    # From the flow's pixels to the frames', moved there, and back; the middles of pixels lie half a pixel in.
    linear = scale[:, None] * matrix[:, :2] / scale[None, :]
    moved = scale * (matrix[:, :2] @ (0.5 / scale - 0.5) + matrix[:, 2] + 0.5) - 0.5
    own = np.column_stack([linear, moved])
    seen = np.stack([_warped(field.astype(np.float32), own) for field in flow])
    return (seen @ linear.T.astype(np.float32)).astype(flow.dtype)


def film_landmarks(landmarks: np.ndarray, place: Place, size: tuple[int, int]) -> np.ndarray:
    """Landmarks of the same, float ``[time, points, 3]``: x, y in 0..1 of the picture, confidence.

    Args:
        landmarks: as filmed.
        place: of the camera.
        size: (height, width) of the frames, whose pixels are square.
    """
    matrix = affine(place, size)
    extent = np.array([size[1], size[0]])
    # Places count from the picture's edge, pixels from the middle of the first one.
    moved = (landmarks[..., :2].astype(np.float64) * extent - 0.5) @ matrix[:, :2].T + matrix[:, 2]
    moved = (moved + 0.5) / extent
    seen = (landmarks[..., 2:] > 0) & ((moved >= 0) & (moved <= 1)).all(axis=-1, keepdims=True)
    return np.where(seen, np.concatenate([moved, landmarks[..., 2:]], axis=-1), 0).astype(landmarks.dtype)


def _warped(picture: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    return np.asarray(
        cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    )
