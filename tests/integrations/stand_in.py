"""Stands in for a trained model behind the integrations: takes what the API takes, and gives its results."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from mvgen.api import Film, Music, Pipeline
from mvgen.media import probe, read_picture, read_sound, read_whole_image


class StandIn:
    """Reads its files, and answers with a ramp of sound and with frames that grow brighter."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}
        self.seen: list[np.ndarray] = []

    def _take(self, method: str, *given: Any, **named: Any) -> dict[str, Any]:
        """The arguments by name, which must be those of the API's method."""
        bound = inspect.signature(getattr(Pipeline, method)).bind(self, *given, **named)
        bound.apply_defaults()
        self.asked = bound.arguments
        if callable(progress := self.asked["progress"]):
            progress(0, 2)
            progress(2, 2)
        return self.asked

    def video_to_music(self, *given: Any, **named: Any) -> Music:
        asked = self._take("video_to_music", *given, **named)
        info = probe(str(asked["video"]))
        self.seen = [read_picture(str(asked["video"]), (info.height, info.width))]
        tokens = np.zeros((2 * len(self.seen[0]), 4), int)
        sound = np.linspace(-0.5, 0.5, 640 * len(tokens)).astype(np.float32)
        return Music(str(asked["video"]), tokens, sound, 32_000, asked["seconds"], asked["seed"])

    def music_to_video(self, *given: Any, **named: Any) -> Film:
        asked = self._take("music_to_video", *given, **named)
        first, sound = read_whole_image(str(asked["image"])), read_sound(str(asked["audio"]), 44_100)
        self.seen = [first, sound]
        frames = (np.full_like(first, 10 * number) for number in range(5))
        return Film(frames, str(asked["image"]), str(asked["audio"]), sound, 44_100, asked["seed"])
