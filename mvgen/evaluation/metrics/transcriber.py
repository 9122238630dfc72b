"""A transcriber for timbres that are known: which pitches, or which drums, start at each onset heard in a sound.

It is fitted on the *originals*, whose notes are known: logistic regression (scikit-learn's, L2) from what an onset
sounds like (:mod:`mvgen.evaluation.metrics.attacks`) to whether a note starts there. For pitches one set of weights
serves all of them, moved along the scale; each drum has weights of its own. No sound is read with weights fitted on
its own clip. Onsets at which nothing starts, such as the fall of a damper, teach it to keep silent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mvgen.evaluation.metrics import attacks
from mvgen.evaluation.metrics.clips import Clip, Heard
from mvgen.evaluation.metrics.onsets import TOLERANCE, until_next

FOLDS = 3
FEWEST = 20
"""Known notes from which on a transcriber can be fitted."""
REGULARISATION = 0.1
"""scikit-learn's ``C``, over standardised features: the inverse of the weight of the L2 term."""
LIKELY = 0.5


@dataclass(frozen=True)
class Listened:
    """A sound as the transcriber takes it in: its onsets, and features of each for all that may start there.

    Attributes:
        candidates: MIDI pitches that may be read, ascending; for drums General MIDI keys.
        pitched: whether candidates are pitches a semitone apart, which share their weights.
    """

    clip: Clip
    heard: Heard
    candidates: np.ndarray
    pitched: bool

    @cached_property
    def features(self) -> np.ndarray:
        """``[onsets, candidates, F]`` of pitches, ``[onsets, F]`` of drums."""
        if self.pitched:
            return attacks.pitched(self.heard.sound, self.heard.onsets, self.candidates)
        return attacks.struck(self.heard.sound, self.heard.onsets)

    @property
    def starts(self) -> np.ndarray:
        """Which candidates start at which onset by the known notes (each at its nearest onset), ``[onsets, K]``."""
        onsets = self.heard.onsets
        starts = np.zeros((len(onsets), len(self.candidates)), bool)
        if self.clip.notes is None or not len(onsets):
            return starts
        for onset, _, pitch in self.clip.notes[:, :3]:
            nearest = int(np.argmin(np.abs(onsets - onset)))
            if abs(onsets[nearest] - onset) <= TOLERANCE:
                starts[nearest] |= self.candidates == round(pitch)
        return starts


@dataclass(frozen=True)
class Transcriber:
    """Weights ``[F, K]`` (``K`` is 1 for pitches) of standardised features, and what standardises them ``[F]``."""

    weights: np.ndarray
    bias: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray

    def likelihoods(self, listened: Listened) -> np.ndarray:
        """How likely each candidate starts at each onset, ``[onsets, K]``."""
        values = (listened.features - self.mean) / self.deviation @ self.weights + self.bias
        return 1.0 / (1.0 + np.exp(-np.clip(values.reshape(-1, len(listened.candidates)), -50, 50)))

    def read(self, listened: Listened) -> np.ndarray:
        """Notes heard, float ``[N, 3]``: onset s, offset s (the next onset), MIDI pitch.

        At most as many at an onset as the clip has voices (at least one), each likelier than not.
        """
        most = max(1, listened.clip.voices)
        onsets = listened.heard.onsets
        ends = until_next(onsets, listened.heard.seconds)
        notes = [
            (onset, max(end, onset + 0.01), listened.candidates[best])
            for onset, end, row in zip(onsets, ends, self.likelihoods(listened), strict=True)
            for best in np.argsort(-row, kind="stable")[:most]
            if row[best] > LIKELY
        ]
        return np.array(notes, float).reshape(-1, 3)


def fit(examples: Sequence[Listened]) -> Transcriber | None:
    """A transcriber from originals of one instrument; ``None`` from fewer than :data:`FEWEST` heard notes."""
    from sklearn.linear_model import LogisticRegression  # costs a second to import

    if not examples or sum(int(listened.starts.sum()) for listened in examples) < FEWEST:
        return None
    features = np.concatenate([listened.features.reshape(-1, listened.features.shape[-1]) for listened in examples])
    starts = np.concatenate([listened.starts for listened in examples])
    starts = starts.reshape(-1, 1) if examples[0].pitched else starts
    mean, deviation = features.mean(axis=0), features.std(axis=0) + 1e-6
    weights, bias = np.zeros((features.shape[1], starts.shape[1])), np.full(starts.shape[1], -50.0)
    for column, playing in enumerate(starts.T):
        if playing.all():
            bias[column] = 50.0
        elif playing.any():
            model = LogisticRegression(C=REGULARISATION, max_iter=500).fit((features - mean) / deviation, playing)
            weights[:, column], bias[column] = model.coef_[0], model.intercept_[0]
    return Transcriber(weights, bias, mean, deviation)


def candidates_of(clips: Sequence[Clip], pitched: bool) -> np.ndarray:
    """What may be read in clips of one instrument: all semitones over the span of known pitches, or the known drums."""
    known = np.concatenate([clip.notes[:, 2] for clip in clips if clip.notes is not None])
    pitches = np.unique(np.rint(known).astype(int))
    return np.arange(pitches[0], pitches[-1] + 1) if pitched else pitches


class Transcribers:
    """For each clip a transcriber fitted on originals of other clips of its instrument (three folds, in order)."""

    def __init__(self, clips: Sequence[Clip], originals: Sequence[Heard]) -> None:
        """``clips`` and the sounds of their originals, ``[n]`` each."""
        self._clips = clips
        self._candidates: dict[str, tuple[np.ndarray, bool]] = {}
        self._fitted: dict[int, Transcriber | None] = {}
        for instrument in dict.fromkeys(clip.instrument for clip in clips):
            members = [i for i, clip in enumerate(clips) if clip.instrument == instrument and clip.known]
            if not members:
                continue
            pitched = clips[members[0]].pitched
            candidates = candidates_of([clips[i] for i in members], pitched)
            self._candidates[instrument] = candidates, pitched
            listened = [Listened(clips[i], originals[i], candidates, pitched) for i in members]
            folds = min(FOLDS, len(members))
            for fold in range(folds):
                fitted = fit([other for at, other in enumerate(listened) if at % folds != fold])
                self._fitted |= {i: fitted for at, i in enumerate(members) if at % folds == fold}

    def read(self, number: int, heard: Heard) -> np.ndarray | None:
        """Notes heard in a sound made for clip ``number``; ``None`` where no transcriber could be fitted for it."""
        fitted = self._fitted.get(number)
        if fitted is None:
            return None
        clip = self._clips[number]
        return fitted.read(Listened(clip, heard, *self._candidates[clip.instrument]))
