"""How well two lists of onsets agree. The matching is ``mir_eval.onset``'s: maximum bipartite, within 50 ms."""

from __future__ import annotations

import mir_eval
import numpy as np

TOLERANCE = 0.05
"""Seconds within which two onsets are the same: 2.5 tokens, 1.25 frames."""


def moments(onsets: np.ndarray, gap: float = 0.03) -> np.ndarray:
    """The distinct moments among note onsets: one for each group in which each starts within ``gap`` s of the last.

    The notes of a chord have one onset between them, and the picker cannot part two that are closer than its hop.
    """
    ordered = np.sort(np.asarray(onsets, float))
    if not len(ordered):
        return ordered
    return ordered[np.concatenate([[True], np.diff(ordered) > gap])]


def until_next(onsets: np.ndarray, seconds: float) -> np.ndarray:
    """For each onset where the next one lies, or the end of the sound, ``[onsets]``; of none, none."""
    return np.append(onsets[1:], seconds)[: len(onsets)]


def onset_agreement(reference: np.ndarray, estimated: np.ndarray, tolerance: float = TOLERANCE) -> dict[str, float]:
    """Precision, recall and F of estimated onsets against reference onsets, both in seconds.

    Both empty: nothing was asked, every value is NaN (and is left out of means). One empty: all are 0.
    """
    if not len(reference) and not len(estimated):
        return dict.fromkeys(("precision", "recall", "f"), float("nan"))
    if not len(reference) or not len(estimated):
        return dict.fromkeys(("precision", "recall", "f"), 0.0)
    f, precision, recall = mir_eval.onset.f_measure(
        np.sort(np.asarray(reference, float)), np.sort(np.asarray(estimated, float)), window=tolerance
    )
    return {"precision": float(precision), "recall": float(recall), "f": float(f)}
