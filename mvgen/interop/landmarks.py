"""Landmarks of films: where the points of hands are, frame by frame, as records hold them."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mvgen.errors import UserError
from mvgen.interop.hands import MEDIAPIPE, NAMES, HandTracker, hands_hash
from mvgen.media import probe
from mvgen.media.picture import stream_picture

NONE = "none"
"""The setting for records without landmarks."""
SIDE = 384
"""Films are looked at with so many pixels along their shorter side, or with their own where those are fewer."""


def landmarks_hash(name: str) -> str:
    """sha256 of the networks' weights; empty for "none".

    Raises:
        UserError: there is no such way to find landmarks, or its networks are not here.
    """
    return "" if name == NONE else hands_hash(_location(name))


def _location(name: str) -> str:
    kind, _, location = name.partition(":")
    if kind != MEDIAPIPE:
        raise UserError(f"there are no landmarks {name!r}; choose {NONE}, {MEDIAPIPE} or {MEDIAPIPE}:FILE.whl")
    return location


class LandmarkReader:
    """Films to landmarks. Pickles by name; networks are loaded on first use, in the process that uses them.

    Args:
        name: "mediapipe", or "mediapipe:PLACE" of a wheel or folder (:func:`mvgen.interop.litert.package_files`).
        frame_size: (height, width) of the records' frames: places are told in the cut of the picture that they show.
    """

    names: tuple[str, ...] = NAMES

    def __init__(self, name: str, frame_size: tuple[int, int]):
        self.name, self.frame_size = name, frame_size

    def __getstate__(self) -> dict[str, Any]:
        return {"name": self.name, "frame_size": self.frame_size}

    @cached_property
    def _tracker(self) -> HandTracker:
        return HandTracker(_location(self.name))

    def of_file(self, path: Path) -> np.ndarray:
        """Landmarks of all frames that a file's picture covers, float16 ``[T, points, 3]``.

        The whole picture is looked at, so that a hand which the cut halves is found; what lies outside the cut is then
        left out.

        Raises:
            UserError: there is no picture, or none that can be decoded; or the networks are missing.
        """
        info = probe(path)
        width, height = info.width * info.aspect, float(info.height)
        scale = min(SIDE, info.height, info.width) / max(1.0, min(width, height))
        size = max(1, round(height * scale)), max(1, round(width * scale))
        return cut_out(self._tracker(stream_picture(path, size)), height, width, self.frame_size)


def cut_out(landmarks: np.ndarray, height: float, width: float, frame_size: tuple[int, int]) -> np.ndarray:
    """Landmarks of a whole picture as those of the cut of it that records show; zeros outside of it.

    Args:
        landmarks: ``[T, points, 3]``, x and y in 0..1 of the whole.
        height, width: of the whole, in any unit.
        frame_size: (height, width) that the cut is scaled to: it is the largest of this aspect, in the middle.

    Returns:
        float16 ``[T, points, 3]``.
    """
    aspect = frame_size[1] / frame_size[0]
    cut = np.array([min(width, height * aspect), min(height, width / aspect)])
    places = (landmarks[..., :2] - 0.5) * np.array([width, height]) / cut + 0.5
    seen = (landmarks[..., 2:] > 0) & ((places >= 0) & (places <= 1)).all(axis=-1, keepdims=True)
    return np.where(seen, np.concatenate([places, landmarks[..., 2:]], axis=-1), 0).astype(np.float16)
