"""Onsets of a sound: when something starts to sound.

Everything is measured at 22,050 Hz with librosa's spectral-flux picker (n_fft 2048, hop 512), because its answers
depend on the sample rate.
"""

from __future__ import annotations

from typing import Any

import librosa
import numpy as np

SAMPLE_RATE = 22_050
"""Samples a second of every sound whose onsets are picked."""
HOP = 512
"""Samples between two values of the onset strength (23.2 ms)."""
N_FFT = 2048


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
