"""Onset accuracy and average precision of the first two seconds, as measured for conditional Foley.

Du et al., "Conditional Generation of Audio from Video via Foley Analogies" (CondFoleyGen), CVPR 2023.
"""

from __future__ import annotations

import numpy as np

from mvgen.media.onsets import SAMPLE_RATE, pick_onsets

SECONDS = 2.0
DELTA = 0.3
NEAR = 0.05
"""Seconds around a detection in which its confidence is read, and within which a weaker one is dropped."""
REACH = 0.1
"""Seconds within which a detection answers a reference onset."""


def detections(sound: np.ndarray, strength: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Onset times in the first two seconds, ascending, and the confidence of each, 0 to 1.

    The confidence is the largest absolute sample within 50 ms, over those two seconds scaled from least to greatest.

    Args:
        sound: mono, ``[n]``, at 22,050 Hz.
        strength: its onset strength (:func:`mvgen.media.onsets.onset_strength`).
    """
    wave = np.abs(sound[: round(SECONDS * SAMPLE_RATE)])
    times = pick_onsets(strength, delta=DELTA)
    times = times[times < min(SECONDS, len(wave) / SAMPLE_RATE)]
    if not len(times):
        return times, np.zeros(0)
    wave = (wave - wave.min()) / max(float(wave.max() - wave.min()), 1e-9)
    confidence = np.array(
        [
            wave[max(0, round((time - NEAR) * SAMPLE_RATE)) : round((time + NEAR) * SAMPLE_RATE) + 1].max()
            for time in times
        ]
    )
    kept: list[int] = []
    for number in np.argsort(-confidence, kind="stable"):
        if all(abs(times[number] - times[other]) > NEAR for other in kept):
            kept.append(int(number))
    kept.sort()
    return times[kept], confidence[kept]


def foley_scores(reference: np.ndarray, times: np.ndarray, confidence: np.ndarray) -> dict[str, float]:
    """``accuracy`` (hits over reference onsets) and ``ap`` (average precision); both NaN without a reference onset.

    Each reference onset takes the most confident unused detection within 0.1 s. A hit is a positive with its
    confidence, a miss a positive with none, a detection that is left over a negative with its confidence.

    Args:
        reference: onset times, ascending. times, confidence: what :func:`detections` found in the generated sound.
    """
    if not len(reference):
        return {"accuracy": float("nan"), "ap": float("nan")}
    from sklearn.metrics import average_precision_score  # costs a second to import

    unused = np.ones(len(times), bool)
    truth, scores = [], []
    for onset in reference:
        near = np.flatnonzero(unused & (np.abs(times - onset) <= REACH))
        truth.append(1)
        scores.append(0.0)
        if len(near):
            taken = near[np.argmax(confidence[near])]
            unused[taken] = False
            scores[-1] = float(confidence[taken])
    hits = len(times) - int(unused.sum())
    truth += [0] * int(unused.sum())
    scores += confidence[unused].tolist()
    return {"accuracy": hits / len(reference), "ap": float(average_precision_score(truth, scores))}
