"""Onset accuracy and average precision by hand."""

import numpy as np
import pytest

from mvgen.evaluation.metrics.foley import detections, foley_scores
from mvgen.media.onsets import onset_strength
from tests.mvgen.evaluation.metrics.sounds import RATE, play


def test_by_hand():
    reference = np.array([0.5, 1.0, 1.5])
    times, confidence = np.array([0.45, 0.58, 1.05, 1.9]), np.array([0.4, 0.9, 0.6, 0.8])
    # 0.5 takes 0.58 (the more confident), 1.0 takes 1.05, 1.5 is missed; 0.45 and 1.9 are left over.
    scores = foley_scores(reference, times, confidence)
    assert scores["accuracy"] == pytest.approx(2 / 3)
    # Ranked: 0.9 right, 0.8 wrong, 0.6 right, 0.4 wrong, 0 right.
    assert scores["ap"] == pytest.approx((1 / 1 + 2 / 3 + 3 / 5) / 3)


def test_edges():
    some = np.array([0.5])
    assert foley_scores(some, some, some) == {"accuracy": 1.0, "ap": 1.0}
    assert foley_scores(some, np.zeros(0), np.zeros(0))["accuracy"] == 0.0
    assert np.isnan(foley_scores(np.zeros(0), some, some)["ap"])
    assert foley_scores(np.array([1.0, 1.1]), np.array([1.05]), some)["accuracy"] == 0.5  # one answers once


def test_only_two_seconds_and_louder_is_surer():
    sound = play([(0.4, 0.8, 60), (1.2, 1.6, 67), (2.6, 3.0, 60)], 3.2)
    sound[round(1.1 * RATE) : round(1.9 * RATE)] *= 2
    times, confidence = detections(sound, onset_strength(sound))
    np.testing.assert_allclose(times, [0.4, 1.2], atol=0.06)
    assert confidence[1] == 1.0 and 0.3 < confidence[0] < 0.7
    assert len(detections(np.zeros(RATE, np.float32), onset_strength(np.zeros(RATE, np.float32)))[0]) == 0
