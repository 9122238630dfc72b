"""The place that plays is read from pixels through a drifting camera."""

import numpy as np
import pytest

from mvgen.evaluation.metrics.geometry import Geometry
from mvgen.evaluation.metrics.places import Watched, blind_guess, fit, fit_in_folds, places_right, read
from tests.mvgen.evaluation.metrics.stage import FILM, PITCHES, notes_of, show


def watched(seed: int) -> Watched:
    geometry = Geometry(FILM)
    return Watched(notes_of(seed), geometry, geometry.deviation(show(notes_of(seed), seed=seed)))


@pytest.mark.parametrize("examples", [0, 2])
def test_reads_what_lights_up(examples):
    weights = fit([watched(seed) for seed in range(10, 10 + examples)])
    for seed in range(2):
        assert places_right(watched(seed), weights, notes_of(seed)) == 1.0


def test_wrong_notes_are_right_by_chance_only():
    weights = fit([])
    scores = [places_right(watched(seed), weights, notes_of(seed + 50)) for seed in range(4)]
    assert np.mean(scores) < 0.5


def test_no_clip_is_read_with_weights_fitted_on_itself():
    clips = [watched(seed) for seed in range(4)]
    folds = fit_in_folds(clips)
    np.testing.assert_array_equal(folds[0], folds[3])
    np.testing.assert_array_equal(folds[0], fit([clips[1], clips[2]]))
    np.testing.assert_array_equal(fit_in_folds(clips[:1])[0], fit([]))


def test_reads_as_many_as_start_together():
    notes = np.array([(1.0, 1.3, 60), (1.01, 1.3, 67), (2.0, 2.3, 64)])
    geometry = Geometry(FILM)
    clip = Watched(notes, geometry, geometry.deviation(show(notes)))
    assert clip.events(notes) == [(25, {60, 67}), (50, {64})]
    assert set(read(clip, fit([]), 25, 2)) == {60, 67}
    assert places_right(clip, fit([]), notes) == 1.0
    assert blind_guess(geometry, notes) == pytest.approx((2 * 2 + 1) / 3 / len(PITCHES))
    assert np.isnan(places_right(clip, fit([]), np.array([(0.02, 0.3, 60)])))  # too near the start to be seen


def test_camera_is_linear_between_knots():
    film = {"places": [[60, 0, 0, 1, 1]], "camera": [[1, 1, 0, 0, 0, 1, 0, 0, 0], [3, 1, 0, 0.5, 0, 1, 0.1, 0, 0.2]]}
    geometry = Geometry(film)
    np.testing.assert_allclose(geometry.camera(2.0), [[1, 0, 0.25], [0, 1, 0.05], [0, 0.1, 1]])
    np.testing.assert_allclose(geometry.camera(0.0), geometry.camera(1.0))


def test_neighbours_are_those_that_adjoin():
    boxes = [[1, 0.0, 0.0, 0.1, 0.1], [2, 0.1, 0.0, 0.2, 0.1], [3, 0.0, 0.1, 0.1, 0.2], [4, 0.5, 0.5, 0.6, 0.6]]
    neighbours = Geometry({"places": boxes, "camera": [[0, 1, 0, 0, 0, 1, 0, 0, 0]]}).neighbours
    assert neighbours[:, 0].tolist() == [-1, 1, -1, 2]  # left, right, above, below
    assert neighbours[:, 1].tolist() == [0, -1, -1, -1]
    assert neighbours[:, 3].tolist() == [-1, -1, -1, -1]


@pytest.mark.parametrize(
    "film",
    [
        {},
        {"places": [], "camera": []},
        {"places": [[60, 0, 0, 1]], "camera": [[0] * 9]},
        {"places": [["x"] * 5], "camera": [[0] * 9]},
        {"places": [[60, 0, 0, float("nan"), 1]], "camera": [[0] * 9]},
    ],
)
def test_refuses_geometry_it_cannot_use(film):
    with pytest.raises(ValueError, match="film geometry"):
        Geometry(film)
