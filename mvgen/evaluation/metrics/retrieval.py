"""Retrieval in the coordinated latent space: does a video find its music, and the right offset?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def similarities(video_NxTxD: np.ndarray, audio_NxTxD: np.ndarray) -> np.ndarray:
    """Similarity of every video with every music, ``[N, N]``: mean over time of the dot products of aligned frames."""
    if video_NxTxD.shape != audio_NxTxD.shape or video_NxTxD.ndim != 3:
        raise ValueError(
            f"latents must both be [clips, frames, dim]: {video_NxTxD.shape} and {audio_NxTxD.shape} were given"
        )
    clips, frames, _ = video_NxTxD.shape
    return video_NxTxD.reshape(clips, -1) @ audio_NxTxD.reshape(clips, -1).T / frames


def ranks(similarity_NxN: np.ndarray) -> np.ndarray:
    """Rank (1 is best) of each row's true partner, the diagonal, int ``[N]``; ties count against us."""
    true = np.diagonal(similarity_NxN)[:, None]
    # NaN compares false: written as "not worse", so that a NaN can never look like a win.
    return np.sum(~(similarity_NxN < true), axis=1)


def retrieval(video_NxTxD: np.ndarray, audio_NxTxD: np.ndarray, max_shift: int = 25) -> dict[str, float]:
    """Recall at 1, 5, 10 and median rank both ways over the whole pool, and offset accuracy within a clip.

    Returns:
        ``video_to_music_r1`` ... ``music_to_video_median_rank``, each recall's chance as ``chance_r1`` ...,
        ``offset_right``, ``offset_within_frame`` and the chance of either (absent if the clips are too short for the
        shifts), ``clips``.
    """
    similarity = similarities(video_NxTxD, audio_NxTxD)
    clips, frames, _ = video_NxTxD.shape
    scores: dict[str, float] = {"clips": clips}
    for name, matrix in (("video_to_music", similarity), ("music_to_video", similarity.T)):
        found = ranks(matrix)
        for at in (1, 5, 10):
            scores[f"{name}_r{at}"] = float(np.mean(found <= at))
        scores[f"{name}_median_rank"] = float(np.median(found))
    for at in (1, 5, 10):
        scores[f"chance_r{at}"] = min(1.0, at / clips)
    if frames > 2 * max_shift:
        scores["offset_right"] = offset_accuracy(video_NxTxD, audio_NxTxD, max_shift)
        scores["chance_offset"] = 1.0 / (2 * max_shift + 1)
        scores["offset_within_frame"] = offset_accuracy(video_NxTxD, audio_NxTxD, max_shift, within=1)
        scores["chance_offset_within_frame"] = 3.0 / (2 * max_shift + 1)
    return scores


def offset_accuracy(video_NxTxD: np.ndarray, audio_NxTxD: np.ndarray, max_shift: int = 25, within: int = 0) -> float:
    """Share of clips for which :func:`offsets_right` is true; arguments as there."""
    return float(np.mean(offsets_right(video_NxTxD, audio_NxTxD, max_shift, within)))


def offsets_right(video_NxTxD: np.ndarray, audio_NxTxD: np.ndarray, max_shift: int = 25, within: int = 0) -> np.ndarray:
    """Whether a clip's best shift of the audio, among ``-max_shift .. max_shift`` frames, is the true one (0), ``[N]``.

    Every shift is scored over the same middle frames of the video, so none has more terms than another. A tie counts
    against us. ``within`` frames of error are forgiven.

    Raises:
        ValueError: the clips are not longer than ``2 * max_shift`` frames.
    """
    frames = video_NxTxD.shape[1]
    if frames <= 2 * max_shift:
        raise ValueError(f"clips of {frames} frames are too short for shifts of {max_shift} frames either way")
    middle = video_NxTxD[:, max_shift : frames - max_shift]
    scores_NxS = np.stack(
        [
            np.mean(np.sum(middle * audio_NxTxD[:, start : start + middle.shape[1]], axis=-1), axis=1)
            for start in range(2 * max_shift + 1)
        ],
        axis=1,
    )
    near = np.abs(np.arange(-max_shift, max_shift + 1)) <= within
    best_near = scores_NxS[:, near].max(axis=1)
    best_far = scores_NxS[:, ~near].max(axis=1)
    return best_near > best_far


def area_under_roc(true: Sequence[float] | np.ndarray, false: Sequence[float] | np.ndarray) -> float | None:
    """Area under the ROC curve: how often a true score is above a false one, ties counting half (Mann-Whitney).

    ``None`` where either is empty.
    """
    if not len(true) or not len(false):
        return None
    return float(np.mean(shares_above(np.asarray(true), np.asarray(false))))


def shares_above(scores_N: np.ndarray, others_M: np.ndarray) -> np.ndarray:
    """Of each score the share of others that lie below it, ties counting half, ``[N]``."""
    ordered = np.sort(np.asarray(others_M, float))
    return (np.searchsorted(ordered, scores_N, "left") + np.searchsorted(ordered, scores_N, "right")) / 2 / len(ordered)


def belonging(similarity_NxN: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """Of each true pair the share of all false pairs of one instrument that are less alike, ``[N]``; NaN without any.

    Its mean is the area under the ROC curve of "picture and sound belong together" (chance 0.5).
    """
    names = np.asarray(labels)
    false = (names[:, None] == names[None, :]) & ~np.eye(len(names), dtype=bool)
    if not false.any():
        return np.full(len(names), np.nan)
    return shares_above(np.diagonal(similarity_NxN), similarity_NxN[false])
