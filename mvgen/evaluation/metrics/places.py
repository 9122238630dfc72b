"""Which key, string place or drum plays, read from the pixels at a note's onset.

What playing looks like differs: a key goes down, a finger comes to rest below what it covers, a drum shakes. So the
detector is fitted on the originals, whose notes are known: ridge regression from how much each place and its
neighbours deviate from their usual look, before and after the onset, to whether that place plays. The place that scores
highest is the one that is read. A clip is only ever read with weights fitted on other clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mvgen.clock import FRAME_RATE
from mvgen.evaluation.metrics.geometry import Geometry
from mvgen.evaluation.metrics.onsets import moments

BEFORE, AFTER = 2, 3
"""Frames before the onset, and from it on, over which deviations are averaged."""
TOGETHER = 0.03
"""Seconds within which notes start together."""
EDGE = 0.12
"""Notes that start so many seconds from either end of the picture are not read."""
RIDGE = 10.0
FOLDS = 3
OWN = 3
"""Features of a place itself: after, before, and the rise from one to the other; then the same of each neighbour."""


@dataclass(frozen=True)
class Watched:
    """One picture of a clip: its notes, its geometry, and how its places deviate, ``[T, P]``."""

    notes: np.ndarray
    geometry: Geometry
    deviation: np.ndarray

    def events(self, notes: np.ndarray) -> list[tuple[int, set[int]]]:
        """The first frame that shows each moment at which notes start, and the pitches that start there."""
        found = []
        for moment in moments(notes[:, 0]) if len(notes) else []:
            if EDGE <= moment <= len(self.deviation) / FRAME_RATE - EDGE:
                start = (notes[:, 0] >= moment) & (notes[:, 0] <= moment + TOGETHER)
                # A frame shows its middle.
                found.append((int(np.ceil(moment * FRAME_RATE - 0.5)), {round(pitch) for pitch in notes[start, 2]}))
        return found

    def features(self, frame: int) -> np.ndarray:
        """The features, ``[P, 15]``: :data:`OWN` values of each place and of its four neighbours."""
        levels = np.sqrt(self.deviation)
        after = levels[frame : frame + AFTER].mean(axis=0)
        before = levels[max(0, frame - BEFORE) : frame].mean(axis=0)
        own = np.stack([after, before, np.maximum(after - before, 0.0)])
        beside = np.where(self.geometry.neighbours >= 0, own[:, self.geometry.neighbours], 0.0)
        return np.concatenate([own[:, None], beside], axis=1).reshape(-1, own.shape[1]).T


def fit(examples: Sequence[Watched]) -> np.ndarray:
    """Weights of the features, ``[15]``. Without examples: the rise of the place itself, and nothing else."""
    plain = np.zeros(OWN * 5)
    plain[2 * 5] = 1.0
    gram, moment = np.zeros((OWN * 5, OWN * 5)), np.zeros(OWN * 5)
    for watched in examples:
        for frame, playing in watched.events(watched.notes):
            features = watched.features(frame)
            # Centred over places: only their order within a moment counts.
            centred = features - features.mean(axis=0)
            gram += centred.T @ centred
            moment += centred.T @ np.isin(watched.geometry.pitches, list(playing)).astype(float)
    return np.linalg.solve(gram + RIDGE * np.eye(OWN * 5), moment) if moment.any() else plain


def read(watched: Watched, weights: np.ndarray, frame: int, count: int = 1) -> list[int]:
    """The ``count`` pitches whose places score highest for an onset first shown by ``frame``, best first."""
    scores = watched.features(frame) @ weights
    ordered = [int(pitch) for pitch in watched.geometry.pitches[np.argsort(-scores, kind="stable")]]
    return list(dict.fromkeys(ordered))[:count]


def places_right(watched: Watched, weights: np.ndarray, notes: np.ndarray) -> float:
    """Share of notes (onset, offset, pitch ``[N, 3]``) among the places read at their moment, as many as start there.

    NaN if no note is far enough from both ends.
    """
    hits = asked = 0
    for frame, playing in watched.events(notes):
        hits += len(playing & set(read(watched, weights, frame, len(playing))))
        asked += len(playing)
    return hits / asked if asked else float("nan")


def fit_in_folds(originals: Sequence[Watched]) -> list[np.ndarray]:
    """For each clip the weights fitted on the originals of the other folds (of three; every third clip is one fold).

    A single clip has no others: it is read by the rise of each place alone.
    """
    folds = min(FOLDS, len(originals))
    weights = [fit([other for i, other in enumerate(originals) if i % folds != fold]) for fold in range(folds)]
    return [weights[i % folds] for i in range(len(originals))]


def blind_guess(geometry: Geometry, notes: np.ndarray) -> float:
    """Share of notes that guessing blindly among the places gets right: notes together over places, over all notes."""
    if not len(notes):
        return float("nan")
    sizes = [np.sum((notes[:, 0] >= moment) & (notes[:, 0] <= moment + TOGETHER)) for moment in moments(notes[:, 0])]
    return float(np.sum(np.square(sizes)) / np.sum(sizes) / len(set(geometry.pitches)))
