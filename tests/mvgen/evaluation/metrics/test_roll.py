"""Piano rolls by hand and against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from mvgen.evaluation.metrics.roll import piano_roll, roll_scores


def test_a_key_is_down_in_the_middle_of_its_frames():
    notes = np.array([(0.03, 0.11, 60), (0.0, 0.015, 62), (0.0, 0.2, 99)])
    roll = piano_roll(notes, 4, np.array([60, 62]))  # frames' middles are 0.02, 0.06, 0.10, 0.14
    assert roll.T.astype(int).tolist() == [[0, 1, 1, 0], [0, 0, 0, 0]]


def test_by_hand():
    reference = np.array([[1, 0], [1, 1], [0, 0], [0, 0]], bool)
    estimated = np.array([[1, 1], [1, 0], [0, 0], [0, 1]], bool)
    scores = roll_scores(reference, estimated)
    assert scores["precision"] == pytest.approx((0.5 + 1 + 1 + 0) / 4)
    assert scores["recall"] == pytest.approx((1 + 0.5 + 1 + 1) / 4)
    assert scores["f1"] == pytest.approx((2 / 3 + 2 / 3 + 1 + 0) / 4)
    assert scores["accuracy"] == pytest.approx(2 / 5)
    assert np.isnan(roll_scores(reference[2:3], estimated[2:3])["accuracy"])
    with pytest.raises(ValueError, match="shape"):
        roll_scores(reference, estimated[:1])


def test_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    reference, estimated = rng.random((2, 60, 5)) < 0.2
    ours = roll_scores(reference, estimated)
    theirs = precision_recall_fscore_support(reference, estimated, average="samples", zero_division=1)
    assert [ours["precision"], ours["recall"], ours["f1"]] == pytest.approx(list(theirs[:3]))
