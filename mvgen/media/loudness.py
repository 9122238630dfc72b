"""Loudness and peaks of a sound as players and broadcasters measure them, and a sound brought to a loudness.

Loudness is integrated loudness in LUFS (ITU-R BS.1770-5, annex 1: K-weighting, blocks of 400 ms, two gates), measured
by pyloudnorm. Peaks are true peaks (annex 2): those of the sound between its samples, found at four times its rate.
"""

from __future__ import annotations

import math

import numpy as np
import pyloudnorm
import soxr
from scipy.ndimage import minimum_filter1d

from mvgen.media.notes import note

BLOCK = 0.4
"""Seconds of a block of BS.1770; a sound that is shorter is one block."""
SHORTEST = 0.05
"""Seconds below which a sound has no loudness."""
OVERSAMPLING = 4
CEILING = -1.0
"""dBTP that no sound made here exceeds: what streaming services ask for."""
REACH = 0.005
"""Seconds before and behind a peak within which the limiter goes down and up again: longer ones take more of a drum's
loudness away than its peak."""
MOST_LIMITED = 15.0
"""dB that a peak is taken down by at most. A sound whose peaks stand out further stays quieter than was asked for. Of
eight clips of Recital and of real players, through the packaged codec, all reach -16 LUFS; with 9 dB drums do not."""
MOST_GAIN = 40.0
"""dB that a sound is amplified by at most: what is that quiet is noise."""
NEAR = 0.1
"""LU within which a loudness counts as reached."""


def loudness(sound: np.ndarray, sample_rate: int) -> float:
    """Integrated loudness in LUFS; minus infinity for silence, and for less than :data:`SHORTEST` seconds.

    Args:
        sound: float ``[n]`` or ``[channels, n]``, at most two channels. One channel counts once, as BS.1770 has it.
        sample_rate: samples a second.
    """
    # A sample less than it lasts: rounding must not make the block longer than the sound.
    seconds = (sound.shape[-1] - 1) / sample_rate
    if seconds < SHORTEST or not np.any(sound):
        return -math.inf
    meter = pyloudnorm.Meter(sample_rate, block_size=min(BLOCK, seconds))
    with np.errstate(divide="ignore"):
        found = float(meter.integrated_loudness(np.atleast_2d(sound).T.astype(np.float64)))
    return found if math.isfinite(found) else -math.inf


def true_peak(sound: np.ndarray, sample_rate: int) -> float:
    """The highest true peak of all channels in dBTP; minus infinity for silence.

    Args:
        sound, sample_rate: see :func:`loudness`.
    """
    peak = float(_peaks(np.atleast_2d(sound), sample_rate).max(initial=0.0))
    return 20 * math.log10(peak) if peak > 0 else -math.inf


def _peaks(sound: np.ndarray, sample_rate: int) -> np.ndarray:
    """The highest of all channels from each sample to the next, ``[n]``, of ``[channels, n]``."""
    count = sound.shape[-1]
    over = np.abs(soxr.resample(sound.T.astype(np.float32), sample_rate, OVERSAMPLING * sample_rate, quality="HQ"))
    over = over.max(axis=1)[: OVERSAMPLING * count]
    over = np.pad(over, (0, OVERSAMPLING * count - len(over))).reshape(count, OVERSAMPLING)
    return np.maximum(over.max(axis=1), np.abs(sound).max(axis=0))


def limited(sound: np.ndarray, sample_rate: int, ceiling: float = CEILING) -> np.ndarray:
    """A sound whose true peaks do not exceed a ceiling: turned down round each that does, all channels alike.

    Args:
        sound: float ``[n]`` or ``[channels, n]``.
        sample_rate: samples a second.
        ceiling: in dBTP.

    Returns:
        float32 of the same shape; the same samples where nothing exceeds it.
    """
    most = 10 ** (ceiling / 20)
    peaks = _peaks(np.atleast_2d(sound), sample_rate)
    if peaks.max(initial=0.0) <= most:
        return sound.astype(np.float32)
    wanted = most / np.maximum(peaks, most)
    reach = max(1, round(REACH * sample_rate))
    # The least of each neighbourhood, then a weighted mean over as much: smooth, and nowhere above what is wanted.
    held = minimum_filter1d(wanted, 2 * reach + 1, mode="nearest")
    weights = np.hanning(2 * reach + 3)[1:-1]
    gain = np.convolve(np.pad(held, reach, mode="edge"), weights / weights.sum(), mode="valid")
    made = sound * gain
    # Samples between those of a gain that moves may rise by a hair.
    rest = most / max(most, float(_peaks(np.atleast_2d(made), sample_rate).max()))
    return (made * rest).astype(np.float32)


def brought_to(sound: np.ndarray, sample_rate: int, target: float, ceiling: float = CEILING) -> np.ndarray:
    """A sound at a loudness, its true peaks below a ceiling. Silence stays as it is.

    Where peaks stand out too far (:data:`MOST_LIMITED`) or it is too quiet (:data:`MOST_GAIN`) it stays quieter, and a
    note says so.

    Args:
        sound: float ``[n]`` or ``[channels, n]``.
        sample_rate: samples a second.
        target: integrated loudness in LUFS.
        ceiling: in dBTP.

    Returns:
        float32 of the same shape.
    """
    found = loudness(sound, sample_rate)
    if not math.isfinite(found):
        return sound.astype(np.float32)
    most = min(MOST_GAIN, ceiling + MOST_LIMITED - true_peak(sound, sample_rate))
    gain = min(target - found, most)
    made = limited(sound * 10 ** (gain / 20), sample_rate, ceiling)
    for _ in range(4):  # limiting takes some loudness away
        short = target - loudness(made, sample_rate)
        if abs(short) < NEAR or gain + short > most:
            break
        gain += short
        made = limited(sound * 10 ** (gain / 20), sample_rate, ceiling)
    short = target - loudness(made, sample_rate)
    if short > 0.5:
        note(f"the sound is {short:.1f} LU quieter than the {target:g} LUFS asked for: its peaks would not fit")
    return made
