"""The pitch of a note, read from sound by harmonic salience over the pitches that could have been played.

For each candidate the log spectrum is summed at its harmonics, and what stands halfway and a third of the way between
them counts against it: a candidate an octave too low lacks every other harmonic, one an octave too high leaves strong
partials between its own. Sums of harmonics as salience: Klapuri, "Multiple fundamental frequency estimation by summing
harmonic amplitudes", ISMIR 2006. Valid where one note (or few) sounds at a time.
"""

from __future__ import annotations

import numpy as np

from mvgen.media.onsets import SAMPLE_RATE

FFT = 16_384
SKIP = 0.02
"""Seconds after the onset that are not read: the attack is noise."""
LONGEST = 0.35
"""Seconds of a note that are read at most."""
SHORTEST = 0.05
"""Seconds below which no pitch is read."""
HARMONICS = 10
HIGHEST = 7_000.0
"""Hz above which partials are not looked at."""


def frequency(pitch: np.ndarray) -> np.ndarray:
    """Hz of a MIDI pitch (69 is 440 Hz)."""
    return 440.0 * 2.0 ** ((np.asarray(pitch, float) - 69.0) / 12.0)


class PitchReader:
    """Reads pitches among ``candidates`` (MIDI numbers); the bins of their harmonics are worked out once."""

    def __init__(self, candidates: np.ndarray) -> None:
        self.candidates = np.unique(np.asarray(candidates, int))
        if not len(self.candidates):
            raise ValueError("a pitch reader needs at least one candidate pitch")
        fundamental = frequency(self.candidates)[:, None]
        numbers = np.arange(1, HARMONICS + 1)
        self._weights_KxH = np.where(numbers * fundamental < HIGHEST, 0.85 ** (numbers - 1.0), 0.0)
        self._harmonics = Bands(numbers * fundamental)
        # Between two harmonics of the candidate: partials found here belong to a lower note.
        between = np.concatenate([numbers - 1 / 2, numbers - 1 / 3, numbers - 2 / 3])
        self._between = Bands(between * fundamental)

    def salience(self, log_spectrum: np.ndarray) -> np.ndarray:
        """How strongly each candidate stands in a log spectrum (:func:`log_spectrum`), float ``[candidates]``."""
        weights = self._weights_KxH
        own = self._harmonics.peaks(log_spectrum)
        halves, thirds, two_thirds = np.split(self._between.peaks(log_spectrum), 3, axis=1)
        foreign = np.maximum(halves, np.maximum(thirds, two_thirds))
        return np.sum(weights * (own - 0.5 * foreign), axis=1) / np.sum(weights, axis=1)

    def read(self, sound: np.ndarray, onset: float, until: float, voices: int = 1, keep: float = 0.7) -> list[int]:
        """The pitches that sound after ``onset``, strongest first.

        Args:
            sound: mono, ``[n]``, at 22,050 Hz.
            onset: where the note starts, in seconds.
            until: where the next one starts (or the sound ends), in seconds.
            voices: how many pitches may sound at once.
            keep: share of the strongest salience that a further voice must reach.

        Returns:
            MIDI pitches; empty if there is silence or less than 50 ms to read.
        """
        spectrum = log_spectrum(sound, onset + SKIP, min(until, onset + LONGEST))
        pitches: list[int] = []
        if spectrum is None:
            return pitches
        first = 0.0
        for _ in range(voices):
            saliences = self.salience(spectrum)
            saliences[np.isin(self.candidates, pitches)] = -np.inf
            best = int(np.argmax(saliences))
            if saliences[best] <= max(0.0, keep * first):
                break
            first = max(first, float(saliences[best]))
            pitches.append(int(self.candidates[best]))
            self._harmonics.erase(spectrum, best)
        return pitches


def log_spectrum(sound: np.ndarray, start: float, stop: float, floor_db: float = 50.0) -> np.ndarray | None:
    """The spectrum of a stretch of sound, 0 at ``floor_db`` below its strongest bin and 1 there, float ``[8193]``.

    ``None`` if the stretch is shorter than 50 ms or silent (peak below -60 dB of full scale).
    """
    stretch = sound[max(0, round(start * SAMPLE_RATE)) : round(stop * SAMPLE_RATE)]
    if len(stretch) < SHORTEST * SAMPLE_RATE or np.max(np.abs(stretch)) < 1e-3:
        return None
    magnitudes = np.abs(np.fft.rfft(stretch * np.hanning(len(stretch)), FFT))
    decibels = 20.0 * np.log10(np.maximum(magnitudes, 1e-9) / magnitudes.max())
    return np.maximum(0.0, 1.0 + decibels / floor_db)


class Bands:
    """Bands of some 35 cents around frequencies ``[K, H]``, and the largest value of a spectrum in each."""

    def __init__(self, centres_KxH: np.ndarray) -> None:
        last = FFT // 2
        half_width = np.maximum(centres_KxH * (2.0 ** (35 / 1200) - 1.0), 0.75 * SAMPLE_RATE / FFT)
        low = np.rint((centres_KxH - half_width) * FFT / SAMPLE_RATE).astype(int)
        high = np.rint((centres_KxH + half_width) * FFT / SAMPLE_RATE).astype(int)
        self._low = np.clip(low, 0, last)
        self._high = np.clip(high, 0, last)
        # Two overlapping spans whose length is a power of two cover any band: maxima by doubling, no loop over bands.
        self._level = np.floor(np.log2(self._high - self._low + 1)).astype(int)

    def peaks(self, spectrum: np.ndarray) -> np.ndarray:
        """Largest value inside each band, ``[K, H]``."""
        tables = [spectrum]
        for level in range(int(self._level.max())):
            shifted = np.concatenate([tables[-1][2**level :], np.zeros(2**level)])
            tables.append(np.maximum(tables[-1], shifted))
        stacked = np.stack(tables)
        right = self._high - 2**self._level + 1
        return np.maximum(stacked[self._level, self._low], stacked[self._level, right])

    def erase(self, spectrum: np.ndarray, row: int) -> None:
        """Sets the bands of one row to zero, in place."""
        for low, high in zip(self._low[row], self._high[row], strict=True):
            spectrum[low : high + 1] = 0.0
