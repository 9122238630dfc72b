"""Where the camera stands and how it moves.

What matters of a scene lies within the unit square, and the camera never lets it leave the picture's centred square
crop. On its stand it looks straight at the scene: zoom below 1, a small shift and turn, and a slow drift around them;
in the change ``camera`` it stands farther off than it ever does else, turned and shifted further. In footage it is held
by hand and looks at a slant, from the player's side; some zoom, and some films are cut once.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from data_prep.recital.changes import FAR_SHIFT, FAR_TURN, FAR_ZOOM, either_way
from data_prep.recital.film.motion import ease
from data_prep.recital.score import Score

KNOT_SECONDS, HELD_KNOT_SECONDS = 0.5, 0.1
"""The camera's place is drawn this often and moves linearly between: on its stand, and held by hand."""
ZOOM = (0.90, 1.0)
TURN = 2.5
SHIFT = 0.02
"""Range of zoom, largest turn in degrees, largest shift in parts of the picture."""

DISTANCE = 1.9
"""From the camera to the middle of the scene, in sides of the scene: the nearer, the stronger the perspective."""
SLANT, ASIDE, HELD_ZOOM, HELD_TURN, HELD_SHIFT = (0.0, 34.0), 14.0, (0.80, 1.0), 5.0, 0.04
"""Held by hand: degrees by which it looks from the player's side instead of from above, and from left or right; zoom,
turn and shift as above."""
UNSEEN_SLANT, UNSEEN_ASIDE, UNSEEN_ZOOM = (42.0, 50.0), (17.0, 24.0), (0.68, 0.76)
"""The same in the change ``camera``."""
ZOOMS, CUTS = 0.3, 0.25
"""Shares of footage that zoom in or out, and that are cut once, to another place of the camera."""


def camera_knots(score: Score) -> np.ndarray:
    """The camera of a performance: rows (t, a, b, tx, c, d, ty, g, h), float64 ``[n, 9]``.

    A scene point (x, y) is seen at ((a x + b y + tx) / w, (c x + d y + ty) / w) with w = g x + h y + 1, both in 0..1 of
    the picture's centred square crop. Between knots the numbers are interpolated linearly; the knots span the whole
    clip. At a cut two knots have the same time.
    """
    return _held_by_hand(score) if score.footage else _on_its_stand(score)


def _on_its_stand(score: Score) -> np.ndarray:
    rng = score.rng("camera")
    times = np.arange(int(np.ceil(score.seconds / KNOT_SECONDS)) + 1) * KNOT_SECONDS

    def drift(middle: float, reach: float) -> np.ndarray:
        period, phase = rng.uniform(6, 12), rng.uniform(0, 2 * np.pi)
        return middle + reach * np.sin(2 * np.pi * times / period + phase)

    far = score.change == "camera"

    def aside(reach: float, beyond: tuple[float, float]) -> float:
        return either_way(rng, beyond) if far else rng.uniform(-reach, reach)

    zoom = drift(rng.uniform(*(FAR_ZOOM if far else ZOOM)), 0.008)
    turn = np.deg2rad(drift(aside(TURN, FAR_TURN), 0.4))
    x, y = drift(aside(SHIFT, FAR_SHIFT), 0.006), drift(aside(SHIFT, FAR_SHIFT), 0.006)
    return _rows(times, _framed(zoom, turn, x, y))


def _held_by_hand(score: Score) -> np.ndarray:
    rng = score.rng("camera")
    cut = rng.uniform(0.25, 0.75) * score.seconds if rng.random() < CUTS else score.seconds
    shots = [(0.0, cut)] if cut == score.seconds else [(0.0, cut), (cut, score.seconds)]
    rows = []
    for begins, ends in shots:
        count = max(2, int(np.ceil((ends - begins) / HELD_KNOT_SECONDS)) + 1)
        times = np.linspace(begins, ends, count)
        rows.append(_rows(times, _shot(score, rng, times)))
    return np.concatenate(rows)


def _shot(score: Score, rng: np.random.Generator, times: np.ndarray) -> np.ndarray:
    """One shot: scene to picture, ``[n, 3, 3]``."""
    unseen = score.change == "camera"
    steady = rng.uniform(0.1, 1.0)
    tremble = _tremble(rng, times)
    slant = rng.uniform(*(UNSEEN_SLANT if unseen else SLANT))
    aside = either_way(rng, UNSEEN_ASIDE) if unseen else rng.uniform(-ASIDE, ASIDE)
    zooms = UNSEEN_ZOOM if unseen else HELD_ZOOM
    zoom = np.full(len(times), rng.uniform(*zooms))
    if rng.random() < ZOOMS:
        begins = rng.uniform(times[0], times[-1])
        zoom = zoom + (rng.uniform(*zooms) - zoom) * ease((times - begins) / rng.uniform(0.5, 3.0))
    look = _slanted(np.deg2rad(slant + steady * tremble(0.6)), np.deg2rad(aside + steady * tremble(0.6)))
    turn = np.deg2rad(rng.uniform(-HELD_TURN, HELD_TURN) + steady * tremble(0.5))
    x, y = (rng.uniform(-HELD_SHIFT, HELD_SHIFT) + steady * tremble(0.006) for _ in range(2))
    seen = _framed(zoom * (1 + steady * tremble(0.004)), turn, x, y) @ look
    return _all_in_sight(seen)


def _tremble(rng: np.random.Generator, times: np.ndarray) -> Callable[[float], np.ndarray]:
    """A hand that does not hold still: slow sway and quicker trembling, of the strength asked for."""

    def draw(strength: float) -> np.ndarray:
        waves = [
            (rng.uniform(low, high), share) for low, high, share in ((0.1, 0.4, 0.9), (0.5, 1.5, 0.4), (2, 5, 0.15))
        ]
        total = sum(share * np.sin(2 * np.pi * (frequency * times + rng.uniform())) for frequency, share in waves)
        return np.asarray(np.sqrt(2) * strength * total)

    return draw


def _framed(zoom: np.ndarray, turn: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Zooms, turns and shifts around the middle of the picture: ``[n, 3, 3]``."""
    a, b = zoom * np.cos(turn), -zoom * np.sin(turn)
    c, d = -b, a
    tx = 0.5 + x - (a + b) * 0.5
    ty = 0.5 + y - (c + d) * 0.5
    zero, one = np.zeros_like(a), np.ones_like(a)
    return np.stack([a, b, tx, c, d, ty, zero, zero, one], 1).reshape(-1, 3, 3)


def _slanted(slant: np.ndarray, aside: np.ndarray) -> np.ndarray:
    """A pinhole camera that looks at the scene's plane at these angles (radians), ``[n, 3, 3]``.

    It is turned around the middle of the scene, below nearer to it; then the scene's unit square is brought back to the
    size of the picture, and into its middle.
    """
    sin, cos, side_sin, side_cos = np.sin(slant), np.cos(slant), np.sin(aside), np.cos(aside)
    zero = np.zeros_like(sin)
    rows = [
        [DISTANCE * side_cos, -DISTANCE * side_sin * sin, zero],
        [zero, DISTANCE * cos, zero],
        [-side_sin, -side_cos * sin, zero + DISTANCE],
    ]
    turned = np.stack([np.stack(row, 1) for row in rows], 1)
    to_middle = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1.0]])
    turned = turned @ to_middle
    corners = np.array([[0, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1.0]])
    seen = np.einsum("nij,kj->nki", turned, corners)
    seen = seen[..., :2] / seen[..., 2:]
    low, high = seen.min(axis=1), seen.max(axis=1)
    scale = 1 / (high - low).max(axis=1)
    middle = (low + high) / 2
    back = np.zeros_like(turned)
    back[:, 0, 0] = back[:, 1, 1] = scale
    back[:, :2, 2] = 0.5 - middle * scale[:, None]
    back[:, 2, 2] = 1
    return back @ turned


def _all_in_sight(seen: np.ndarray) -> np.ndarray:
    """The same from farther off, where the scene's unit square would leave the picture."""
    edge = np.linspace(0, 1, 5)
    rim = np.array([(x, y, 1) for x in edge for y in edge if {x, y} & {0.0, 1.0}])
    at = np.einsum("nij,kj->nki", seen, rim)
    reach = np.abs(at[..., :2] / at[..., 2:] - 0.5).max()
    shrink = min(1.0, 0.498 / reach)
    return np.array([[shrink, 0, 0.5 - 0.5 * shrink], [0, shrink, 0.5 - 0.5 * shrink], [0, 0, 1]]) @ seen


def _rows(times: np.ndarray, seen: np.ndarray) -> np.ndarray:
    values = (seen / seen[:, 2:, 2:]).reshape(-1, 9)[:, :8]
    return np.concatenate([times[:, None], values], 1)


def camera_at(knots: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The camera at these times, by linear interpolation: float64 ``[n, 3, 3]``, scene to 0..1 of the square crop."""
    # At a cut the later of two knots with the same time counts.
    after = np.clip(np.searchsorted(knots[:, 0], times, side="right"), 1, len(knots) - 1)
    begins, ends = knots[after - 1, 0], knots[after, 0]
    share = np.clip((times - begins) / np.maximum(ends - begins, 1e-9), 0, 1)[:, None]
    values = knots[after - 1, 1:] * (1 - share) + knots[after, 1:] * share
    return np.concatenate([values, np.ones((len(times), 1))], 1).reshape(-1, 3, 3)
