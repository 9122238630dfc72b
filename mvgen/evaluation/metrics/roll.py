"""Piano rolls compared frame by frame, as Audeo does: Su et al., "Audeo", NeurIPS 2020."""

from __future__ import annotations

import numpy as np

from mvgen.clock import frame_centres


def piano_roll(notes: np.ndarray, frames: int, pitches: np.ndarray) -> np.ndarray:
    """Which pitch is down in the middle of which frame (25 a second), bool ``[frames, pitches]``.

    Args:
        notes: onset s, offset s, MIDI pitch, ``[N, 3]``. frames: how many. pitches: MIDI numbers, ``[P]``.
    """
    centres = frame_centres(frames)
    roll = np.zeros((frames, len(pitches)), bool)
    for onset, offset, pitch in notes[:, :3]:
        roll |= ((centres >= onset) & (centres < offset))[:, None] & (pitches == round(pitch))
    return roll


def roll_scores(reference: np.ndarray, estimated: np.ndarray) -> dict[str, float]:
    """``precision``, ``recall`` and ``f1`` averaged over frames, and ``accuracy`` TP / (TP + FP + FN) over all.

    A frame in which a ratio has nothing to divide by counts 1 (scikit-learn's ``average="samples"``,
    ``zero_division=1``). ``accuracy`` is NaN if both rolls are empty.

    Args:
        reference, estimated: bool ``[frames, pitches]``.
    """
    if reference.shape != estimated.shape:
        raise ValueError(f"piano rolls differ in shape: {reference.shape} and {estimated.shape}")
    both, asked, given = (np.sum(part, axis=1) for part in (reference & estimated, reference, estimated))

    def mean(above: np.ndarray, below: np.ndarray) -> float:
        return float(np.mean(np.where(below > 0, above / np.maximum(below, 1), 1.0)))

    union = int(np.sum(reference | estimated))
    return {
        "precision": mean(both, given),
        "recall": mean(both, asked),
        "f1": mean(2 * both, asked + given),
        "accuracy": int(both.sum()) / union if union else float("nan"),
    }
