"""What every filmed instrument has in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import cv2
import numpy as np

from data_prep.recital.film.canvas import Canvas, Colour, mix
from data_prep.recital.score import Score

SKINS = ((236, 188, 160), (214, 160, 126), (178, 122, 88), (128, 84, 60))
"""Skin colours of the players."""


class Scene(Protocol):
    """One instrument being played."""

    def __init__(self, score: Score, times: np.ndarray) -> None:
        """Works out where everything is at each of these times (seconds ``[n]``)."""

    def landmarks(self) -> dict[str, np.ndarray]:
        """Where the points that it has of :data:`data_prep.recital.film.landmarks.LANDMARKS` are, each ``[n, 2]``."""

    def background(self, canvas: Canvas) -> None:
        """Draws all that never moves."""

    def draw(self, canvas: Canvas, frame: int) -> None:
        """Draws over the background what moves, as it is at ``times[frame]``."""


def floor_colour(rng: np.random.Generator) -> tuple[float, float, float]:
    """A muted colour for what lies behind the instrument."""
    hue = rng.uniform(0, 2 * np.pi)
    level, depth = rng.uniform(60, 120), rng.uniform(5, 22)
    return tuple(float(level + depth * np.cos(hue + turn)) for turn in (0, 2.1, 4.2))  # type: ignore[return-value]


def backdrop(score: Score, rng: np.random.Generator) -> Callable[[Canvas], None]:
    """What lies behind the instrument, as a function that draws it.

    Plain performances have a floor of one muted colour. Footage has boards, tiles, a rug or bare ground, of any colour
    and any grain, and things that lie about.
    """
    floor = floor_colour(rng)
    if not score.footage:
        return lambda canvas: canvas.box(-2, -2, 3, 3, floor)
    rng = score.rng("backdrop")
    ground = _any_colour(rng)
    other = mix(ground, _any_colour(rng), rng.uniform(0.1, 0.6))
    kind, angle, width = int(rng.integers(4)), rng.uniform(-0.5, 0.5), rng.uniform(0.05, 0.3)
    things = [
        (
            rng.uniform(-0.8, 1.8, 2),
            rng.uniform(0.04, 0.28, 2),
            _any_colour(rng),
            rng.uniform(0, 180),
            rng.random() < 0.5,
        )
        for _ in range(rng.integers(0, 9))
    ]
    grain_seed, strength = int(rng.integers(2**31)), rng.uniform(0, 12)

    def draw(canvas: Canvas) -> None:
        canvas.box(-2, -2, 3, 3, ground)
        along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        middle = np.array([0.5, 0.5])
        for row, at in enumerate(np.arange(-2.5, 2.5, width) if kind else ()):
            # Boards have gaps, stripes are as wide as what is between them, tiles have gaps both ways.
            start = middle + across * at
            if kind == 1 or row % 2:
                canvas.limb(start - 3 * along, start + 3 * along, width * (0.06 if kind == 1 else 0.5), other)
            if kind == 3:
                start = middle + along * at
                canvas.limb(start - 3 * across, start + 3 * across, width * 0.12, other)
        for (x, y), (rx, ry), colour, turn, is_round in things:
            if is_round:
                canvas.ellipse((x, y), (rx, ry), colour, turn)
            else:
                canvas.box(x - rx, y - ry, x + rx, y + ry, colour)
        grain = np.random.default_rng(grain_seed).normal(0, 1, canvas.pixels.shape[:2])
        coarse = cv2.GaussianBlur(grain, (0, 0), 0.03 * canvas.scale)
        shade = strength * coarse / max(coarse.std(), 1e-9)
        canvas.pixels[:] = np.clip(canvas.pixels + shade[..., None], 0, 255)

    return draw


def _any_colour(rng: np.random.Generator) -> tuple[float, float, float]:
    """Most of what is around is not very colourful."""
    level, strong = rng.uniform(25, 225), rng.uniform(0, 1) ** 2
    return mix((level, level, level), rng.uniform(10, 245, 3).tolist(), strong)


def sleeve(score: Score, skin: Colour, plain: Colour) -> Colour:
    """The colour of an arm: in footage any, or bare."""
    if not score.footage:
        return plain
    rng = score.rng("sleeve")
    return mix(skin, (0, 0, 0), 0.12) if rng.random() < 0.3 else _any_colour(rng)


def varied(rng: np.random.Generator, colour: tuple[float, ...], reach: float = 14) -> tuple[float, ...]:
    """The colour, a little different from clip to clip."""
    return tuple(float(np.clip(c + rng.uniform(-reach, reach), 0, 255)) for c in colour)
