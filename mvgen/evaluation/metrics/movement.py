"""Whether what moves in a film moves as it does in the original: gain over a still, paths, contact, onsets, look-ahead.

Landmarks are ``[T, K, 3]``: x and y in picture sides, and how sure; frames are 25 a second. Those of the generated film
are read from its pixels, those of the original are known or read the same way. A landmark counts in the frames in which
both are sure. What cannot be told is NaN.
"""

from __future__ import annotations

import numpy as np

from mvgen.clock import FRAME_RATE, frame_centres
from mvgen.evaluation.metrics.onsets import TOLERANCE, moments, onset_agreement

MOVES = 25.5
"""Grey levels by which a pixel changes within a clip, at least, that is said to move: a tenth of full scale."""
STILL_SPEED = 0.02
"""Picture sides a second below which a landmark is at rest."""
LONGEST_LEAD = 1.0
"""Seconds before an onset from which a landmark is watched."""


def gain_over_still(original: np.ndarray, generated: np.ndarray, image: np.ndarray | None = None) -> float:
    """PSNR in dB over the pixels that move in the original, minus that of the first image held.

    A still gains 0 dB, smudges less; only what is painted where it belongs gains.

    Args:
        original, generated: uint8 ``[T, H, W, 3]`` of the same shape.
        image: the image given, uint8 ``[H, W, 3]``; by default the original's first frame.
    """
    if original.shape != generated.shape:
        raise ValueError(f"films differ in shape: {original.shape} and {generated.shape}")
    moves = np.ptp(original, axis=0).max(axis=-1) > MOVES
    if not moves.any():
        return float("nan")
    image = original[0] if image is None else image
    true = original[:, moves].astype(np.float32)
    error = np.mean((generated[:, moves] - true) ** 2, dtype=float)
    held = np.mean((image[moves][None] - true) ** 2, dtype=float)
    return float(10 * np.log10(max(held, 1e-9) / max(error, 1e-9)))


def velocities(landmarks: np.ndarray) -> np.ndarray:
    """Picture sides a second between frames, ``[T - 1, K, 2]``; NaN where a landmark is not seen in both."""
    seen = (landmarks[1:, :, 2] > 0) & (landmarks[:-1, :, 2] > 0)
    moved = np.diff(landmarks[..., :2].astype(float), axis=0) * FRAME_RATE
    return np.where(seen[..., None], moved, np.nan)


def _both(generated: np.ndarray, original: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Velocities of both where both are known, and whether they are, ``[T - 1, K]``."""
    if generated.shape != original.shape:
        raise ValueError(f"landmarks differ in shape: {generated.shape} and {original.shape}")
    made, true = velocities(generated), velocities(original)
    known = np.isfinite(made).all(-1) & np.isfinite(true).all(-1)
    return made, true, known


def speed_ratio(generated: np.ndarray, original: np.ndarray) -> float:
    """Mean speed of the landmarks over that of the original's; a still is 0, 1 is right."""
    made, true, known = _both(generated, original)
    whole = np.linalg.norm(true[known], axis=-1).sum()
    return float(np.linalg.norm(made[known], axis=-1).sum() / whole) if whole > 0 else float("nan")


def path_error(generated: np.ndarray, original: np.ndarray) -> np.ndarray:
    """Of each landmark the median distance to its place in the original, in picture sides, ``[K]``.

    Over the frames in which the original is faster than its median: a still scores well on the rest.
    """
    _, true, known = _both(generated, original)
    apart = np.linalg.norm(generated[1:, :, :2] - original[1:, :, :2], axis=-1)
    found = np.full(original.shape[1], np.nan)
    for k in range(original.shape[1]):
        speed = np.linalg.norm(true[known[:, k], k], axis=-1)
        if len(speed) and speed.max() > STILL_SPEED:
            found[k] = np.median(apart[known[:, k], k][speed > np.median(speed)])
    return found


def path_correlation(generated: np.ndarray, original: np.ndarray) -> np.ndarray:
    """Of each landmark the correlation of its velocities with the original's over time, ``[K]``.

    Both coordinates together, each from its mean; NaN for what rests in the original, 0 for what rests in the film.
    """
    made, true, known = _both(generated, original)
    found = np.full(original.shape[1], np.nan)
    for k in range(original.shape[1]):
        if known[:, k].sum() < 3:
            continue
        a, b = (v[known[:, k], k] - v[known[:, k], k].mean(axis=0) for v in (made, true))
        if np.linalg.norm(true[known[:, k], k], axis=-1).max() <= STILL_SPEED:
            continue
        found[k] = np.sum(a * b) / max(np.sqrt(np.sum(a**2) * np.sum(b**2)), 1e-9)
    return found


def contacts(
    landmarks: np.ndarray, places: np.ndarray, pitches: np.ndarray, at: np.ndarray, reach: float
) -> list[set[int]]:
    """Which pitches are touched at moments: of each landmark the nearest place, if within reach.

    Args:
        landmarks: ``[T, K, 3]``, those that can play.
        places: where each pitch is touched, in every frame, ``[T, P, 2]``.
        pitches: of each place, ``[P]``.
        at: seconds, ``[N]``.
        reach: picture sides. The nearest that a landmark comes within 50 ms before and after counts.
    """
    centres = frame_centres(len(landmarks))
    apart = np.linalg.norm(landmarks[:, :, None, :2] - places[:, None], axis=-1)
    apart = np.where(landmarks[:, :, None, 2] > 0, apart, np.inf)
    found = []
    for moment in at:
        near = apart[np.abs(centres - moment) <= TOLERANCE + 0.5 / FRAME_RATE].min(axis=0, initial=np.inf)
        best = near.argmin(axis=1)
        touching = near[np.arange(len(best)), best] <= reach
        found.append({int(pitches[place]) for place in best[touching]})
    return found


def contact_scores(touched: list[set[int]], notes: np.ndarray, at: np.ndarray, gap: float = 0.03) -> dict[str, float]:
    """Precision, recall and F of what is touched at each moment against the notes that start there.

    Args:
        touched: what :func:`contacts` gives for ``at``.
        notes: onset s, offset s, MIDI pitch, ``[N, 3]``.
        at: the notes' moments (:func:`mvgen.evaluation.metrics.onsets.moments`).
        gap: notes within so many seconds of a moment start there.
    """
    hits = asked = given = 0
    for pitches, moment in zip(touched, at, strict=True):
        start = (notes[:, 0] >= moment - 1e-6) & (notes[:, 0] <= moment + gap)
        true = {round(float(pitch)) for pitch in notes[start, 2]}
        hits, asked, given = hits + len(true & pitches), asked + len(true), given + len(pitches)
    if not asked:
        return dict.fromkeys(("precision", "recall", "f"), float("nan"))
    return {
        "precision": hits / given if given else 0.0,
        "recall": hits / asked,
        "f": 2 * hits / (asked + given),
    }


def movement_onsets(landmarks: np.ndarray, threshold: float = 0.25) -> np.ndarray:
    """Moments at which something that moves fast is stopped, seconds: peaks of the fastest landmark's deceleration.

    Args:
        landmarks: ``[T, K, 3]``.
        threshold: of the largest deceleration of the clip; lower peaks do not count.
    """
    speed = np.linalg.norm(np.nan_to_num(velocities(landmarks)), axis=-1)
    fastest = speed.max(axis=1, initial=0.0)
    slower = np.maximum(fastest[:-1] - fastest[1:], 0.0)
    if not len(slower) or slower.max() <= 0:
        return np.zeros(0)
    padded = np.pad(slower, 1)
    peak = (padded[1:-1] >= padded[:-2]) & (padded[1:-1] > padded[2:]) & (slower >= threshold * slower.max())
    # Between frames t and t + 1 it was fast, between t + 1 and t + 2 no more: it was stopped about frame t + 1.
    return frame_centres(len(landmarks))[np.flatnonzero(peak) + 1]


def movement_onset_f(landmarks: np.ndarray, onsets: np.ndarray, longest: float) -> float:
    """F of :func:`movement_onsets` against the notes' moments, within 50 ms; only those before ``longest`` seconds."""
    asked = moments(onsets)
    return onset_agreement(asked[asked < longest], movement_onsets(landmarks))["f"]


def anticipation(landmarks: np.ndarray, onsets: np.ndarray, share: float = 0.2) -> float:
    """Mean seconds by which what plays a note sets off before its onset.

    What plays is taken to be the landmark that is fastest within 50 ms of the onset. Going back from there, it sets off
    where its speed is last below ``share`` of that speed, at most :data:`LONGEST_LEAD` before.
    """
    speed = np.linalg.norm(np.nan_to_num(velocities(landmarks)), axis=-1)
    between = frame_centres(len(landmarks))[:-1] + 0.5 / FRAME_RATE
    found = []
    for onset in moments(onsets):
        near = np.flatnonzero(np.abs(between - onset) <= TOLERANCE)
        if not len(near) or speed[near].max(initial=0.0) <= STILL_SPEED:
            continue
        peak, k = divmod(int(speed[near].argmax()), speed.shape[1])
        at = int(near[peak])
        first = max(0, at - round(LONGEST_LEAD * FRAME_RATE))
        slow = np.flatnonzero(speed[first:at, k] < share * speed[at, k])
        begins = between[first + slow[-1]] if len(slow) else between[first]
        found.append(max(onset - begins, 0.0))
    return float(np.mean(found)) if found else float("nan")
