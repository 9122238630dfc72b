"""Onsets of a sound: when something starts to sound.

Everything is measured at 22,050 Hz by spectral flux as librosa 0.11 has it with its defaults (n_fft 2048, hop 512),
because published figures are, and because the answers depend on the sample rate. The same values are worked out here
without librosa: its functions are compiled at their first call, which takes half a minute, and two processes that fill
its cache of compiled functions at the same time leave one that crashes every later reader (numba 0.68).
"""

from __future__ import annotations

from functools import cache
from typing import TypedDict

import numpy as np

from mvgen.media.mel import mel_bands, spectra

SAMPLE_RATE = 22_050
"""Samples a second of every sound whose onsets are picked."""
HOP = 512
"""Samples between two values of the onset strength (23.2 ms)."""
N_FFT = 2048
BANDS = 128
"""Mel bands of the spectrogram, from 0 to half the sample rate."""
RANGE_DB = 80.0
"""Decibels below the loudest place of a sound at which its spectrogram ends."""
QUIETEST = 1e-10
"""Power that counts as the least."""


@cache
def _bands() -> np.ndarray:
    return mel_bands(SAMPLE_RATE, N_FFT, BANDS, 0.0, SAMPLE_RATE / 2, equal_area=True)


class Picker(TypedDict):
    """Settings of :func:`pick_onsets`."""

    pre_max: int
    post_max: int
    pre_avg: int
    post_avg: int
    delta: float
    wait: int


def onset_strength(sound: np.ndarray) -> np.ndarray:
    """Spectral flux of the log-mel spectrogram, float32 ``[1 + n // 512]``, value ``k`` at ``k * 512 / 22050`` s.

    Args:
        sound: mono, float, ``[n]``, at :data:`SAMPLE_RATE`.
    """
    power = np.concatenate([_bands() @ (np.abs(block) ** 2).T for block in spectra(sound, N_FFT, HOP)], axis=1)
    decibels = 10 * np.log10(np.maximum(power, np.float32(QUIETEST)))
    decibels = np.maximum(decibels, decibels.max() - np.float32(RANGE_DB))
    flux = np.maximum(0, np.diff(decibels, axis=1)).mean(axis=0)
    # A rise belongs to the later of two spectra, whose window is centred on its moment.
    return np.pad(flux, (1 + N_FFT // (2 * HOP), 0))[: power.shape[1]]


def pick_onsets(
    strength: np.ndarray,
    *,
    pre_max: int = 1,
    post_max: int = 1,
    pre_avg: int = 4,
    post_avg: int = 5,
    delta: float = 0.07,
    wait: int = 1,
) -> np.ndarray:
    """Onset times in seconds, ascending, of :func:`onset_strength`: Boeck, Krebs and Schedl, ISMIR 2012.

    Value ``n`` of the strength, scaled to 0..1, is an onset where it is the largest of ``n - pre_max .. n + post_max``,
    the last not included, at least ``delta`` above the mean of ``n - pre_avg .. n + post_avg``, and more than ``wait``
    values after the onset before. The defaults are those of ``librosa.onset.onset_detect``.
    """
    scaled = strength - strength.min(initial=np.inf)
    scaled = scaled / (scaled.max(initial=0) + np.finfo(np.float32).tiny)
    if not scaled.any() or not np.isfinite(scaled).all():
        return np.zeros(0)
    onsets = []
    number, count = 0, len(scaled)
    while number < count:
        value = scaled[number]
        if (
            value == scaled[max(0, number - pre_max) : number + post_max].max()
            and value >= scaled[max(0, number - pre_avg) : number + post_avg].mean() + delta
        ):
            onsets.append(number)
            number += wait
        number += 1
    return np.array(onsets, float) * HOP / SAMPLE_RATE
