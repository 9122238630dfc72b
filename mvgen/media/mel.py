"""Spectra of a sound, and their mel bands.

The mel scale is that of Slaney's Auditory Toolbox (Apple TR 45, 1993): linear up to 1 kHz, logarithmic above.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

LINEAR = 200.0 / 3
"""Hz a mel, below the knee."""
KNEE = 1000.0
"""Hz."""
STEP = np.log(6.4) / 27
"""Logarithm of the factor between two mels, above the knee."""


BLOCK = 1024
"""Spectra worked out at once."""


def spectra(sound: np.ndarray, n_fft: int, hop: int) -> Iterator[np.ndarray]:
    """Short-time Fourier transforms in blocks of complex64 ``[some, 1 + n_fft // 2]``, ``1 + n // hop`` in all.

    Number ``k`` is centred on sample ``k * hop``, under a Hann window; beyond its ends the sound is silent.
    """
    count = 1 + len(sound) // hop
    padded = np.pad(np.asarray(sound, np.float32), n_fft // 2)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    pieces = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop][:count]
    for first in range(0, count, BLOCK):
        yield np.fft.rfft(pieces[first : first + BLOCK] * window).astype(np.complex64)


def _mels(hertz: float) -> float:
    return hertz / LINEAR if hertz < KNEE else KNEE / LINEAR + np.log(hertz / KNEE) / STEP


def _hertz(mels: np.ndarray) -> np.ndarray:
    knee = KNEE / LINEAR
    return np.where(mels < knee, mels * LINEAR, KNEE * np.exp(STEP * (mels - knee)))


def mel_bands(
    sample_rate: int, n_fft: int, bands: int, lowest: float, highest: float, equal_area: bool = False
) -> np.ndarray:
    """Overlapping triangles over the bins of a Fourier transform, float32 ``[bands, 1 + n_fft // 2]``.

    Args:
        lowest, highest: Hz, where the first begins and the last ends.
        equal_area: every triangle has the same area over Hz; else each is 1 at its top.
    """
    edges = _hertz(np.linspace(_mels(lowest), _mels(highest), bands + 2))
    bins = np.fft.rfftfreq(n_fft, 1 / sample_rate)
    widths = np.diff(edges)
    rising = (bins - edges[:-2, None]) / widths[:-1, None]
    falling = (edges[2:, None] - bins) / widths[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    if equal_area:
        triangles *= (2 / (edges[2:] - edges[:-2]))[:, None]
    return triangles
