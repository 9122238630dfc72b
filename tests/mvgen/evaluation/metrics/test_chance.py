"""Shuffled pairs and bootstrap intervals."""

import numpy as np
import pytest

from mvgen.evaluation.metrics.chance import bootstrap_interval, derangement


def test_partners_are_others_of_the_same_group_each_used_once():
    groups = ["a"] * 7 + ["b"] * 2 + ["c"] + ["a"] * 4
    partners = derangement(groups, seed=5)
    assert partners[9] == -1  # alone
    rest = [i for i in range(len(groups)) if i != 9]
    assert sorted(partners[rest]) == rest
    assert all(partners[i] != i and groups[partners[i]] == groups[i] for i in rest)
    assert np.array_equal(partners, derangement(groups, seed=5))
    assert not np.array_equal(partners, derangement(groups, seed=6))


def test_interval_covers_the_true_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        low, high = bootstrap_interval(rng.normal(3.0, 1.0, 40), seed=trial, repeats=300)
        covered += low <= 3.0 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_interval_leaves_out_what_does_not_apply():
    assert bootstrap_interval(np.array([2.0, np.nan, 2.0])) == (2.0, 2.0)
    assert np.isnan(bootstrap_interval(np.array([np.nan]))).all()
    low, high = bootstrap_interval(np.array([0.0, 1.0] * 20), seed=1)
    assert (low, high) == bootstrap_interval(np.array([0.0, 1.0] * 20), seed=1)
    assert low == pytest.approx(0.5 - 1.96 * 0.5 / np.sqrt(40), abs=0.05) and high > 0.5
