"""What every filmed instrument has in common."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from data_prep.recital.film.canvas import Canvas
from data_prep.recital.score import Score

SKINS = ((236, 188, 160), (214, 160, 126), (178, 122, 88), (128, 84, 60))
"""Skin colours of the players."""


class Scene(Protocol):
    """One instrument being played."""

    def __init__(self, score: Score, times: np.ndarray) -> None:
        """Works out where everything is at each of these times (seconds ``[n]``)."""

    def background(self, canvas: Canvas) -> None:
        """Draws all that never moves."""

    def draw(self, canvas: Canvas, frame: int) -> None:
        """Draws over the background what moves, as it is at ``times[frame]``."""


def floor_colour(rng: np.random.Generator) -> tuple[float, float, float]:
    """A muted colour for what lies behind the instrument."""
    hue = rng.uniform(0, 2 * np.pi)
    level, depth = rng.uniform(60, 120), rng.uniform(5, 22)
    return tuple(float(level + depth * np.cos(hue + turn)) for turn in (0, 2.1, 4.2))  # type: ignore[return-value]


def varied(rng: np.random.Generator, colour: tuple[float, ...], reach: float = 14) -> tuple[float, ...]:
    """The colour, a little different from clip to clip."""
    return tuple(float(np.clip(c + rng.uniform(-reach, reach), 0, 255)) for c in colour)
