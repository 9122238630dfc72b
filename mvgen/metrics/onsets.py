"""Onsets: when something starts to sound, and how well two lists of onsets agree.

Everything is measured at 22,050 Hz with librosa's spectral-flux picker (n_fft 2048, hop 512), because its answers
depend on the sample rate. The matching is ``mir_eval.onset``'s: maximum bipartite matching within 50 ms.
"""

from __future__ import annotations

from typing import Any

import librosa
import mir_eval
import numpy as np

SAMPLE_RATE = 22_050
"""Samples a second of every sound in this package."""
HOP = 512
"""Samples between two values of the onset strength (23.2 ms)."""
N_FFT = 2048
TOLERANCE = 0.05
"""Seconds within which two onsets are the same: 2.5 tokens, 1.25 frames."""


def onset_strength(sound: np.ndarray) -> np.ndarray:
    """Spectral flux of the log-mel spectrogram, float32 ``[1 + n // 512]``, value ``k`` at ``k * 512 / 22050`` s.

    Args:
        sound: mono, float, ``[n]``, at :data:`SAMPLE_RATE`.
    """
    return librosa.onset.onset_strength(y=sound, sr=SAMPLE_RATE, hop_length=HOP, n_fft=N_FFT)


def pick_onsets(strength: np.ndarray, **picker: Any) -> np.ndarray:
    """Onset times in seconds, ascending, picked from :func:`onset_strength` by ``librosa.onset.onset_detect``.

    ``picker`` passes on librosa's peak-picking settings; without any, its defaults hold.
    """
    return librosa.onset.onset_detect(onset_envelope=strength, sr=SAMPLE_RATE, hop_length=HOP, units="time", **picker)


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
