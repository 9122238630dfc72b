"""Where blocks of sound lie: by their stamps as a whole, not one by one.

The samples that follow each other are believed to be whole, and stamps to say where they lie: containers round them,
browsers write them some milliseconds off either way. Only where nearly all stamps of half a second (:data:`LASTING`)
leave the running count of samples to one side by more than :data:`JUMP` is there a gap, an overlap, or a clock that
runs apart; from there on the sound lies where its stamps say. A single wrong stamp moves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

JUMP = 0.002
"""Seconds: stamps closer to the running count of samples than this are rounding of the container's clock."""
LASTING = 0.5
"""Seconds for which all stamps must differ from the count to the same side before they are believed."""
SURE = 0.01
"""Seconds that the stamps of the last half second of a sound must differ by instead: fewer of them speak."""
MOST_JITTER = 0.04
"""Seconds between two stamps of a stretch that jitter alone may explain."""
NEARLY_ALL = 0.9
"""Share of the stamps of a half second that must agree: some demuxers let a stray one pass now and then."""


def place_blocks(stamps: Sequence[float | None], lengths: Sequence[int], rate: int) -> np.ndarray:
    """The sample at which each block begins, int64 ``[n]``.

    Args:
        stamps: where each block says that it begins, in samples; None where it says nothing.
        lengths: samples of each block.
        rate: samples a second.
    """
    counts = np.cumsum([0, *lengths])
    starts = counts[:-1].astype(np.int64)
    told = np.array([np.nan if stamp is None else stamp for stamp in stamps], np.float64)
    known = np.flatnonzero(np.isfinite(told))
    if not len(known):
        return starts
    here = counts[known]
    apart = told[known] - here
    half = np.searchsorted(here, here + LASTING * rate)  # where the half second after each block ends
    short = here + LASTING * rate > counts[-1]
    first = 0
    while first < len(known):
        level = _level(apart[first : half[first]], rate)
        end = _leaves(apart, half, short, first, level, rate)
        middle = float(np.median(apart[first:end]))
        offset = round(middle if abs(middle - level) <= JUMP * rate else level)
        begin = int(known[first]) if first else 0
        starts[begin : int(known[end]) if end < len(known) else len(starts)] += offset
        first = end
    return starts


def _level(window: np.ndarray, rate: int) -> float:
    """By how much a stretch is apart from the count: as its first stamp says; of stamps that jitter, the middle one."""
    jitters = len(window) > 2 and np.median(np.abs(np.diff(window))) > JUMP / 2 * rate
    near = window[np.abs(window - window[0]) <= MOST_JITTER * rate]
    return float(np.median(near) if jitters else window[0])


def _leaves(apart: np.ndarray, half: np.ndarray, short: np.ndarray, first: int, level: float, rate: int) -> int:
    """The first block from which on the stamps leave a level for good; the number of blocks where none does."""
    leaving = first + 1 + np.flatnonzero(np.abs(apart[first + 1 :] - level) > JUMP * rate)
    for number in leaving:
        window = apart[number : half[number]] - level
        least = (SURE if short[number] else JUMP) * rate
        side = window if window[0] > 0 else -window
        if side[0] > least and np.mean(side > least) >= NEARLY_ALL:
            # The few before it that only happen to lie on that side stay where they are.
            early = apart[number - 1 : number + 1 + round(2 * (1 - NEARLY_ALL) * len(side))]
            return int(number + np.abs(np.diff(early)).argmax())
    return len(apart)
