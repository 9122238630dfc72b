"""How bodies move: minimum-jerk paths between places, and the quick rises and falls of what is struck.

Minimum jerk: Flash and Hogan 1985, x(s) = 10 s^3 - 15 s^4 + 6 s^5 for s from 0 to 1, the path of unconstrained reaches.
All functions take times in seconds as an array and answer for all of them at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Place = Sequence[float] | np.ndarray
Move = tuple[float, float, Place]
"""(begins s, ends s, goal)."""


def ease(progress: np.ndarray) -> np.ndarray:
    """Minimum-jerk progress from 0 to 1, flat outside."""
    s = np.clip(progress, 0.0, 1.0)
    return s * s * s * (10 + s * (6 * s - 15))


def path(times: np.ndarray, start: Place, moves: Sequence[Move]) -> np.ndarray:
    """A point that rests, moves, rests.

    Args:
        times: seconds, ``[n]``.
        start: where it is before the first move, ``[d]``.
        moves: (begins, ends, goal ``[d]``) in order of time, not overlapping.

    Returns:
        Positions, float64 ``[n, d]``.
    """
    here = np.asarray(start, float)
    if not moves:
        return np.broadcast_to(here, (len(times), len(here))).copy()
    goals = np.array([np.asarray(goal, float) for _, _, goal in moves])
    origins = np.concatenate([here[None], goals[:-1]])
    begins = np.array([begin for begin, _, _ in moves])
    ends = np.array([end for _, end, _ in moves])
    move = np.searchsorted(begins, times, side="right") - 1
    known = np.maximum(move, 0)
    done = ease((times - begins[known]) / np.maximum(ends[known] - begins[known], 1e-6))
    done = np.where(move < 0, 0.0, done)[:, None]
    return origins[known] + (goals[known] - origins[known]) * done


def strikes(times: np.ndarray, onsets: Sequence[float], forces: Sequence[float], recoil: float = 0.45) -> np.ndarray:
    """How far something is driven that strikes at each onset and comes back slowly before the next.

    A stroke lasts from 10 ms before its onset to 35 ms after. The way back is slow, up to ``recoil`` seconds, and ends
    60 ms before the next onset.

    Args:
        times: seconds, ``[n]``.
        onsets: seconds, ascending, ``[k]``; closer than 0.1 s to one another they are one movement.
        forces: how far each drives it, ``[k]``.

    Returns:
        float64 ``[n]``, 0 at rest.
    """
    moves: list[Move] = []
    for k, (onset, force) in enumerate(zip(onsets, forces, strict=True)):
        later = onsets[k + 1] if k + 1 < len(onsets) else 1e9
        moves.append((onset - 0.010, onset + 0.035, (force,)))
        if later - onset > 0.1:
            moves.append((onset + 0.035, min(onset + 0.035 + recoil, max(later - 0.06, onset + 0.08)), (0.0,)))
    return path(times, (0.0,), moves)[:, 0]


def held(times: np.ndarray, onset: float, offset: float, rise: float = 0.016, fall: float = 0.03) -> np.ndarray:
    """How far down something is that is pressed from onset to offset: begins ``rise`` before, complete at the onset."""
    return np.clip((times - onset + rise) / rise, 0, 1) * np.clip((offset + fall - times) / fall, 0, 1)


def away(times: np.ndarray, gestures: Sequence[tuple[float, float]], travel: float = 0.4) -> np.ndarray:
    """How far a hand is on its way to something else than playing: 0 at its instrument, about 1 there.

    It takes ``travel`` seconds each way, and is busy (2.5 times a second) while it is there.

    Args:
        times: seconds, ``[n]``.
        gestures: (begins, ends) in seconds.
        travel: seconds.
    """
    weight = np.zeros(len(times))
    for begins, ends in gestures:
        way = min(travel, (ends - begins) / 2)
        there = ease((times - begins) / way) * ease((ends - times) / way)
        weight = np.maximum(weight, there * (1 + 0.08 * np.sin(2 * np.pi * 2.5 * (times - begins))))
    return weight


def force_of(velocity: int, softest: float = 0.5) -> float:
    """How strongly a note is played, linear in its MIDI velocity: from ``softest`` at 40 to 1 at 120."""
    return softest + (1 - softest) * (velocity - 40) / 80


def ring(times: np.ndarray, onset: float, decay: float, rise: float = 0.012) -> np.ndarray:
    """How much something rings that was struck: full at the onset, fading by 1/e every ``decay`` seconds."""
    since = times - onset
    return np.where(since < 0, np.clip(1 + since / rise, 0, 1), np.exp(-np.maximum(since, 0) / decay))
