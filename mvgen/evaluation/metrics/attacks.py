"""What an onset sounds like: the features from which :mod:`mvgen.evaluation.metrics.transcriber` tells which notes
start there.

Amplitude spectra of a stretch before the onset and of one after it, in decibels below what is strongest after it (that
is 1, and what lies a given number of decibels below is 0), and of the rise from one to the other: a note that rings on
stands in both, a new one in the rise. Of pitches the harmonics are looked at, and those of pitches at other intervals
beside them; of drums, bands of frequency.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mvgen.evaluation.metrics.onsets import until_next
from mvgen.evaluation.metrics.pitch import FFT, Bands, frequency
from mvgen.media.onsets import SAMPLE_RATE

PITCHED_FLOOR_DB, STRUCK_FLOOR_DB = 25.0, 50.0
"""Decibels below the strongest at which a level is 0. Fainter harmonics do not survive a codec: with 50 dB for pitches
the transcriber reads originals no better, and what a codec has made of them much worse."""
QUIET = 3e-4
"""Amplitude of the strongest bin below which a sound counts as ever fainter, down to nothing."""
SHORTEST = 0.04
"""Seconds below which a stretch is not looked at."""
HARMONICS = 8
INTERVALS = (-24, -19, -16, -12, -7, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 7, 12, 16, 19, 24)
"""Semitones from a pitch to those whose salience tells whether it is itself, or a harmonic or neighbour of another."""
EDGES = np.geomspace(40.0, 10_500.0, 25)
"""Hz between the bands in which drums are told apart."""


@dataclass(frozen=True)
class Window:
    """A stretch of sound, in seconds from an onset as librosa picks it (some 25 ms late)."""

    start: float
    stop: float


PITCHED_BEFORE, PITCHED_AFTER = Window(-0.20, -0.045), Window(0.0, 0.18)
STRUCK_BEFORE, STRUCK_AFTER, STRUCK_LATER = Window(-0.10, -0.03), Window(-0.02, 0.06), Window(0.04, 0.12)


def pitched(sound: np.ndarray, onsets: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Features of each candidate pitch at each onset, float ``[onsets, candidates, features]``.

    Args:
        sound: mono, ``[n]``, at 22,050 Hz.
        onsets: in seconds, ascending.
        candidates: MIDI pitches, ascending, a semitone apart.
    """
    reach = max(INTERVALS)
    around = np.arange(candidates[0] - reach, candidates[-1] + reach + 1)
    bands = Bands(frequency(around)[:, None] * np.arange(1, HARMONICS + 1))
    weights = 0.85 ** np.arange(HARMONICS)
    weights /= weights.sum()
    own = np.arange(reach, reach + len(candidates))
    ends = until_next(onsets, len(sound) / SAMPLE_RATE)
    found = []
    for onset, end in zip(onsets, ends, strict=True):
        # Not into the next note, but long enough to part low pitches.
        stop = min(onset + PITCHED_AFTER.stop, max(end - 0.03, onset + 0.1))
        after = amplitudes(sound, onset + PITCHED_AFTER.start, stop)
        before = amplitudes(sound, onset + PITCHED_BEFORE.start, onset + PITCHED_BEFORE.stop)
        strongest = after.max()
        a, b, rise = (
            bands.peaks(_levels(part, strongest, 20.0, PITCHED_FLOOR_DB))
            for part in (after, before, np.maximum(after - before, 0.0))
        )
        sounding, rising = a @ weights, rise @ weights
        octave_below = rise[own - 12]
        found.append(
            np.concatenate(
                [
                    a[own],
                    b[own],
                    rise[own],
                    np.sort(rise[own, :4], axis=1),
                    np.stack([sounding[own + interval] for interval in INTERVALS], axis=1),
                    np.stack([rising[own + interval] for interval in INTERVALS], axis=1),
                    np.stack(
                        [
                            sounding[own] / max(sounding[own].max(), 1e-3),
                            rising[own] / max(rising[own].max(), 1e-3),
                            np.minimum(rise[own, 0], rise[own, 1]),
                            rise[own, 0] * rising[own],
                            np.maximum(0.0, rise[own, 0] - octave_below[:, 0]),
                            np.maximum(0.0, rise[own, 0] - octave_below[:, 1]),
                        ],
                        axis=1,
                    ),
                ],
                axis=1,
            )
        )
    return np.stack(found) if found else np.zeros((0, len(candidates), 3 * HARMONICS + 10 + 2 * len(INTERVALS)))


def struck(sound: np.ndarray, onsets: np.ndarray) -> np.ndarray:
    """Features of each onset by bands of frequency, float ``[onsets, features]``; arguments as :func:`pitched`."""
    found = []
    for onset in onsets:
        after, before, later = (
            _powers(amplitudes(sound, onset + window.start, onset + window.stop))
            for window in (STRUCK_AFTER, STRUCK_BEFORE, STRUCK_LATER)
        )
        parts = (after, before, np.maximum(after - before, 0.0), later)
        found.append(np.concatenate([_levels(part, after.max(), 10.0, STRUCK_FLOOR_DB) for part in parts]))
    return np.stack(found) if found else np.zeros((0, 4 * (len(EDGES) - 1)))


def amplitudes(sound: np.ndarray, start: float, stop: float) -> np.ndarray:
    """Amplitude spectrum of a stretch whatever its length, float ``[8193]``: a sine's peak is half its amplitude."""
    stretch = sound[max(0, round(start * SAMPLE_RATE)) : max(0, round(stop * SAMPLE_RATE))]
    if len(stretch) < SHORTEST * SAMPLE_RATE:
        return np.zeros(FFT // 2 + 1)
    window = np.hanning(len(stretch))
    return np.abs(np.fft.rfft(stretch * window, FFT)) / window.sum()


def _powers(spectrum: np.ndarray) -> np.ndarray:
    sums = np.concatenate([[0.0], np.cumsum(spectrum**2)])
    bins = np.rint(EDGES * FFT / SAMPLE_RATE).astype(int)
    return np.diff(sums[bins])


def _levels(values: np.ndarray, strongest: float, decibels: float, floor_db: float) -> np.ndarray:
    """1 at the strongest, 0 at ``floor_db`` below it; ``decibels`` are a factor of ten (20: amplitude, 10: power)."""
    reference = max(strongest, QUIET ** (20.0 / decibels))
    return np.maximum(0.0, 1.0 + decibels * np.log10(np.maximum(values, 1e-20) / reference) / floor_db)
