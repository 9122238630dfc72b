"""The Frechet distance against its closed form, and the divergence by hand."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from mvgen.evaluation.metrics.frechet import divergence, frechet_distance


def test_of_gaussians_with_axes_in_common_is_the_closed_form():
    # Whitened samples scaled by hand have exactly the means and covariances that the formula is given.
    rng = np.random.default_rng(0)
    white = rng.normal(size=(50, 3))
    white -= white.mean(axis=0)
    white = white @ np.linalg.inv(np.linalg.cholesky(np.cov(white.T))).T
    first, second = white * [1.0, 2.0, 3.0], white * [2.0, 2.0, 1.0] + [0.5, 0.0, -1.0]
    closed = 0.5**2 + 1.0**2 + (1 - 2) ** 2 + (2 - 2) ** 2 + (3 - 1) ** 2
    assert frechet_distance(first, second) == pytest.approx(closed, rel=1e-9)
    assert frechet_distance(first, first) == pytest.approx(0.0, abs=1e-9)


def test_agrees_with_the_matrix_square_root():
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(40, 6)) @ rng.normal(size=(6, 6)), rng.normal(size=(30, 6)) + 0.3
    a, b = np.cov(first.T), np.cov(second.T)
    apart = np.sum((first.mean(0) - second.mean(0)) ** 2)
    expected = apart + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-8)


def test_fewer_clips_than_dimensions_is_no_trouble():
    rng = np.random.default_rng(2)
    few = rng.normal(size=(5, 64))
    assert frechet_distance(few, few) == pytest.approx(0.0, abs=1e-9)
    assert frechet_distance(few, few + 1.0) == pytest.approx(64.0)
    for bad in (few[:1], few[:, :3], few * np.nan):
        with pytest.raises(ValueError, match="embeddings"):
            frechet_distance(few, bad)


def test_divergence_by_hand():
    assert divergence(np.array([0.5, 0.5]), np.array([0.25, 0.75])) == pytest.approx(
        0.5 * np.log(2) + 0.5 * np.log(2 / 3), rel=1e-5
    )
    assert divergence(np.array([1.0, 0.0]), np.array([1.0, 0.0])) == 0.0
    assert divergence(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == pytest.approx(np.log(1e6), rel=1e-3)
