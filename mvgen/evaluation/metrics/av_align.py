"""AV-Align: share of sound onsets and motion peaks that meet within one frame.

The one-to-one variant of TempoTokens' ``av_align.py`` (2025-02): Yariv et al., "Diverse and Aligned Audio-to-Video
Generation via Text-to-Video Model Adaptation", AAAI 2024. It says little by itself: chance is high and rises as the
frame rate falls, so it is only ever shown beside shuffled pairs and with its frame rate.
"""

from __future__ import annotations

import numpy as np

QUIET = 0.1
"""Pixels of mean flow below which a motion peak does not count."""


def video_peaks(magnitude: np.ndarray, rate: float) -> np.ndarray:
    """Times in seconds of the strict local maxima of :func:`mvgen.evaluation.metrics.motion.flow_magnitude` of at
    least 0.1 px."""
    inner = magnitude[1:-1]
    peak = (inner > magnitude[:-2]) & (inner > magnitude[2:]) & (inner >= QUIET)
    return (np.flatnonzero(peak) + 1) / rate


def av_align(audio_peaks: np.ndarray, video_peaks: np.ndarray, rate: float) -> float:
    """Hits over the union of peaks: each audio peak in order takes the first unused video peak nearer than one frame.

    NaN if neither has a peak (the original divides by zero).
    """
    unused = list(video_peaks)
    hits = 0
    for peak in audio_peaks:
        for index, other in enumerate(unused):
            if abs(peak - other) < 1.0 / rate:
                hits += 1
                del unused[index]
                break
    union = len(audio_peaks) + len(video_peaks) - hits
    return hits / union if union else float("nan")
