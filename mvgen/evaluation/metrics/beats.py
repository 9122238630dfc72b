"""Beats: once-a-second coverage and hit scores of video-to-music work, and how beats fall on motion.

LORIS: Yu et al., "Long-Term Rhythmic Video Soundtracker", ICML 2023. D2M-GAN: Zhu et al., "Quantized GAN for Complex
Music Generation from Dance Videos", ECCV 2022. Beat alignment: Siyao et al., "Bailando", CVPR 2022.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from mvgen.media.onsets import Picker, pick_onsets

LORIS_PICKER: Picker = {"wait": 1, "delta": 0.2, "pre_avg": 3, "post_avg": 3, "pre_max": 3, "post_max": 3}
D2M_PICKER: Picker = {"wait": 1, "delta": 0.2, "pre_avg": 1, "post_avg": 1, "pre_max": 1, "post_max": 1}


def beat_bits(strength: np.ndarray, seconds: int, picker: Picker) -> np.ndarray:
    """One bit a second, set where an onset falls in it, bool ``[seconds]``."""
    bits = np.zeros(seconds, bool)
    onsets = pick_onsets(strength, **picker).astype(int)
    bits[onsets[onsets < seconds]] = True
    return bits


def loris_scores(reference_bits: np.ndarray, generated_bits: np.ndarray) -> dict[str, float]:
    """``coverage`` (BCS, hits over generated beats) and ``hit`` (BHS, hits over reference beats); 0 where empty.

    The reference is cut to the generated length. Over a set of clips, F1 is that of the two means.
    """
    reference_bits = reference_bits[: len(generated_bits)]
    hits = int(np.sum(reference_bits & generated_bits[: len(reference_bits)]))
    generated, reference = int(generated_bits.sum()), int(reference_bits.sum())
    return {"coverage": hits / generated if generated else 0.0, "hit": hits / reference if reference else 0.0}


def d2m_scores(reference_bits: np.ndarray, generated_bits: np.ndarray) -> dict[str, float]:
    """D2M-GAN's ``coverage`` (generated over reference beats, may exceed 1) and ``hit``; NaN without reference."""
    reference = int(reference_bits.sum())
    if not reference:
        return {"coverage": float("nan"), "hit": float("nan")}
    length = min(len(reference_bits), len(generated_bits))
    hits = int(np.sum(reference_bits[:length] & generated_bits[:length]))
    return {"coverage": int(generated_bits.sum()) / reference, "hit": hits / reference}


def beat_alignment(music_beats: np.ndarray, magnitude: np.ndarray, rate: float, sigma: float = 0.05) -> float:
    """Mean over music beats of ``exp(-d^2 / (2 sigma^2))``, ``d`` the seconds to the nearest motion beat.

    Motion beats are the strict local minima of flow magnitude ``[T]`` smoothed by a Gaussian of 5 frames. NaN without
    music beats, 0 without motion beats.
    """
    if not len(music_beats):
        return float("nan")
    speed = gaussian_filter1d(np.asarray(magnitude, float), 5)
    minima = (np.flatnonzero((speed[1:-1] < speed[:-2]) & (speed[1:-1] < speed[2:])) + 1) / rate
    if not len(minima):
        return 0.0
    distances = np.min(np.abs(np.asarray(music_beats)[:, None] - minima), axis=1)
    return float(np.mean(np.exp(-(distances**2) / (2 * sigma**2))))


def loris_set(coverage: np.ndarray, hit: np.ndarray) -> dict[str, float]:
    """LORIS over a set of clips, from each clip's scores ``[n]``: means, deviations (ddof 1) and F1 of the two means.

    ``bcs``, ``csd``, ``bhs``, ``hsd``, ``f1``. A deviation of one clip is NaN; F1 is 0 where both means are.
    """
    coverage, hit = (values[np.isfinite(values)] for values in (np.asarray(coverage, float), np.asarray(hit, float)))
    if not len(coverage) or not len(hit):
        return dict.fromkeys(("bcs", "csd", "bhs", "hsd", "f1"), float("nan"))
    bcs, bhs = float(coverage.mean()), float(hit.mean())
    csd, hsd = (float(np.std(values, ddof=1)) if len(values) > 1 else float("nan") for values in (coverage, hit))
    return {"bcs": bcs, "csd": csd, "bhs": bhs, "hsd": hsd, "f1": 2 * bcs * bhs / (bcs + bhs) if bcs + bhs else 0.0}
