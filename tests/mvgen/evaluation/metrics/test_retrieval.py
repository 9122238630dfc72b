"""Retrieval on latents whose neighbours are known."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mvgen.evaluation.metrics.retrieval import (
    area_under_roc,
    belonging,
    offset_accuracy,
    ranks,
    retrieval,
    similarities,
)


def latents(clips: int = 12, frames: int = 60, dim: int = 32, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(clips, frames, dim))
    return drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)


def test_similarity_by_hand():
    video = np.array([[[1.0, 0.0], [0.0, 1.0]]])
    audio = np.array([[[1.0, 0.0], [1.0, 0.0]]])
    np.testing.assert_allclose(similarities(video, audio), [[0.5]])
    with pytest.raises(ValueError, match="clips, frames, dim"):
        similarities(video, audio[:, :1])


def test_ranks_count_ties_and_nan_against_us():
    similarity = np.array([[0.9, 0.1, 0.2], [0.5, 0.5, 0.1], [0.9, np.nan, 0.3]])
    assert ranks(similarity).tolist() == [1, 2, 3]
    assert ranks(np.zeros((4, 4))).tolist() == [4, 4, 4, 4]


def test_equal_latents_are_all_found():
    scores = retrieval(latents(), latents())
    assert scores["video_to_music_r1"] == scores["music_to_video_r1"] == scores["offset_right"] == 1.0
    assert scores["video_to_music_median_rank"] == 1.0
    assert scores["chance_r1"] == pytest.approx(1 / 12)
    assert scores["chance_offset"] == pytest.approx(1 / 51)
    late = retrieval(latents(), np.roll(latents(), 1, axis=1))
    assert (late["offset_right"], late["offset_within_frame"]) == (0.0, 1.0)
    assert late["chance_offset_within_frame"] == pytest.approx(3 / 51)


def test_strange_latents_are_found_by_chance():
    scores = retrieval(latents(200, 20), latents(200, 20, seed=1))
    assert scores["video_to_music_r10"] < 0.15
    assert 70 < scores["video_to_music_median_rank"] < 130
    assert "offset_right" not in scores  # too short to be shifted by a second


def test_offset_is_exact_and_constants_do_not_win():
    video = latents()
    assert offset_accuracy(video, np.roll(video, 2, axis=1), max_shift=5) == 0.0
    assert offset_accuracy(video, np.roll(video, 1, axis=1), max_shift=5, within=1) == 1.0
    constant = np.ones((3, 30, 4))
    assert offset_accuracy(constant, constant, max_shift=5) == 0.0
    with pytest.raises(ValueError, match="too short"):
        offset_accuracy(video, video, max_shift=30)


def test_area_under_roc_is_scikit_learns():
    rng = np.random.default_rng(0)
    true, false = np.round(rng.normal(1, 1, 40), 1), np.round(rng.normal(0, 1, 70), 1)  # rounded: with ties
    truth = np.r_[np.ones(40), np.zeros(70)]
    assert area_under_roc(true, false) == pytest.approx(roc_auc_score(truth, np.r_[true, false]))
    assert area_under_roc([], [1.0]) is None and area_under_roc([2.0], [1.0]) == 1.0


def test_belonging_compares_with_pairs_of_the_same_instrument():
    similarity = np.array([[0.5, 0.4, 0.9], [0.6, 0.3, 0.9], [0.9, 0.9, 0.9]])
    found = belonging(similarity, ["drums", "drums", "strings"])
    np.testing.assert_allclose(found, [0.5, 0.0, 1.0])  # the false pairs are 0.4 and 0.6
    assert np.isnan(belonging(similarity, ["a", "b", "c"])).all()
