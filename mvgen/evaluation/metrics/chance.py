"""What a score is worth: the same score over shuffled pairs, and bootstrap intervals of means. All seeded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def derangement(groups: Sequence[str], seed: int) -> np.ndarray:
    """A partner for each item from its own group, never itself, int ``[n]``; -1 for an item alone in its group.

    Pairs within a group (the same instrument) are the harder, honest chance level. Within each group the items are
    put in random order and each takes the next one round the circle, so every item is used once.
    """
    rng = np.random.default_rng(seed)
    names = np.asarray(groups)
    partners = np.full(len(names), -1)
    for name in sorted(set(groups)):
        members = rng.permutation(np.flatnonzero(names == name))
        if len(members) > 1:
            partners[members] = np.roll(members, -1)
    return partners


def bootstrap_interval(
    values: np.ndarray,
    seed: int = 0,
    repeats: int = 1000,
    confidence: float = 0.95,
    groups: Sequence[str] | None = None,
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of ``values`` over clips; NaN values are left out.

    Efron, "Bootstrap methods: another look at the jackknife", 1979. NaN bounds if nothing is left.

    Args:
        values: float ``[n]``.
        groups: of each, where values of one group resemble each other: whole groups are drawn (Field & Welsh 2007).
    """
    finite = np.asarray(values, float)
    kept = np.isfinite(finite)
    finite = finite[kept]
    if not len(finite):
        return float("nan"), float("nan")
    if groups is not None:
        return _over_groups(finite, np.asarray(groups)[kept], seed, repeats, confidence)
    draws = np.random.default_rng(seed).integers(0, len(finite), (repeats, len(finite)))
    tail = 50.0 * (1.0 - confidence)
    low, high = np.percentile(finite[draws].mean(axis=1), [tail, 100.0 - tail])
    return float(low), float(high)


def _over_groups(
    values: np.ndarray, groups: np.ndarray, seed: int, repeats: int, confidence: float
) -> tuple[float, float]:
    _, number = np.unique(groups, return_inverse=True)
    sums, counts = np.bincount(number, values), np.bincount(number)
    draws = np.random.default_rng(seed).integers(0, len(sums), (repeats, len(sums)))
    tail = 50.0 * (1.0 - confidence)
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.percentile(means, [tail, 100.0 - tail])
    return float(low), float(high)
