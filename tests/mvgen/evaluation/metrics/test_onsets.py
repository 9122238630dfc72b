"""Onsets are found where notes start, and matched as mir_eval matches them."""

import numpy as np
import pytest

from mvgen.evaluation.metrics.onsets import moments, onset_agreement
from mvgen.media.onsets import onset_strength, pick_onsets
from tests.mvgen.evaluation.metrics.sounds import MELODY, SECONDS, play


def test_finds_the_notes_of_a_melody():
    known = np.array([onset for onset, _, _ in MELODY])
    onsets = pick_onsets(onset_strength(play(MELODY, SECONDS)))
    assert onset_agreement(known, onsets)["recall"] == 1.0
    assert onset_agreement(known, onsets)["f"] > 0.9


def test_silence_has_no_onsets():
    assert len(pick_onsets(onset_strength(np.zeros(22_050, np.float32)))) == 0


def test_agreement_by_hand():
    reference = np.array([1.0, 2.0, 3.0, 4.0])
    # One exact, one 40 ms late, one 60 ms late (missed), and one onset answers only once.
    scores = onset_agreement(reference, np.array([1.0, 1.01, 2.04, 3.06]))
    assert scores["recall"] == pytest.approx(2 / 4)
    assert scores["precision"] == pytest.approx(2 / 4)
    assert scores["f"] == pytest.approx(0.5)


def test_matching_is_maximal_not_greedy():
    # 1.00 could take 1.04, but must leave it to 1.08 and take 0.96.
    assert onset_agreement(np.array([1.00, 1.08]), np.array([0.96, 1.04]))["f"] == 1.0


def test_nothing_against_nothing_is_no_answer():
    empty = np.zeros(0)
    assert np.isnan(onset_agreement(empty, empty)["f"])
    assert onset_agreement(np.array([1.0]), empty)["f"] == 0.0
    assert onset_agreement(empty, np.array([1.0]))["f"] == 0.0


def test_notes_of_a_chord_are_one_moment():
    np.testing.assert_allclose(moments(np.array([2.0, 1.0, 1.01, 1.0, 2.5])), [1.0, 2.0, 2.5])
    assert len(moments(np.zeros(0))) == 0
