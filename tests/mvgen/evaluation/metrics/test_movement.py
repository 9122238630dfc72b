"""Scores of movement, on paths that are known."""

import numpy as np
import pytest

from mvgen.clock import frame_centres
from mvgen.evaluation.metrics import movement
from mvgen.evaluation.metrics.onsets import moments

ONSETS = np.array([0.5, 1.0, 1.7])
PITCHES = np.array([60, 62, 64])
NOTES = np.stack([ONSETS, ONSETS + 0.2, PITCHES], 1)
PLACES = np.array([[0.2, 0.7], [0.5, 0.7], [0.8, 0.7]])


def hand(frames: int = 50, late: float = 0.0) -> np.ndarray:
    """One fingertip that leaves for each note's place 0.2 s before its onset, is there at it, and one that rests."""
    times = frame_centres(frames) - late
    x = np.interp(
        times, [0, *np.sort(np.concatenate([ONSETS - 0.2, ONSETS])), 9], [0.5, 0.5, 0.2, 0.2, 0.5, 0.5, 0.8, 0.8]
    )
    tip = np.stack([x, np.full(frames, 0.7), np.ones(frames)], 1)
    return np.stack([tip, np.tile([0.5, 0.95, 1.0], (frames, 1))], 1)


def test_the_original_is_right_and_a_still_is_not():
    true = hand()
    still = np.repeat(true[:1], len(true), axis=0)
    assert movement.speed_ratio(true, true) == pytest.approx(1) and movement.speed_ratio(still, true) == 0
    np.testing.assert_allclose(movement.path_correlation(true, true), [1, np.nan])
    np.testing.assert_allclose(movement.path_correlation(still, true)[0], 0, atol=1e-6)
    assert movement.path_error(true, true)[0] == 0 and movement.path_error(still, true)[0] > 0.1
    assert np.isnan(movement.path_error(true, true)[1])


def test_late_movement_loses_its_correlation():
    found = [movement.path_correlation(hand(late=late), hand())[0] for late in (0.0, 0.04, 0.2)]
    assert found[0] > found[1] > 0.5 > found[2]


def test_contact_is_read_at_the_onset_with_its_pitch():
    places = np.broadcast_to(PLACES, (50, 3, 2))
    at = moments(ONSETS)

    def scored(landmarks):
        return movement.contact_scores(movement.contacts(landmarks, places, PITCHES, at, 0.05), NOTES, at)

    assert scored(hand()) == {"precision": 1.0, "recall": 1.0, "f": 1.0}
    assert scored(np.repeat(hand()[:1], 50, axis=0))["recall"] == pytest.approx(1 / 3)  # it rests on one of them
    away = hand()
    away[..., 1] -= 0.2
    assert scored(away)["f"] == 0


def test_movement_stops_at_onsets_and_sets_off_before_them():
    found = movement.movement_onsets(hand())
    np.testing.assert_allclose(found, ONSETS, atol=0.04)
    assert movement.movement_onset_f(hand(), ONSETS, 2.0) == 1
    assert movement.movement_onset_f(hand(late=0.2), ONSETS, 2.0) < 0.5
    assert movement.anticipation(hand(), ONSETS) == pytest.approx(0.2, abs=0.05)


def test_what_is_not_seen_does_not_count():
    true, made = hand(), hand()
    made[10:30, 0, :2] = 9.0
    made[10:30, 0, 2] = 0
    np.testing.assert_allclose(movement.path_correlation(made, true)[0], 1)
    made[:, 0, 2] = 0
    assert np.isnan(movement.path_correlation(made, true)[0]) and np.isnan(
        movement.speed_ratio(made[:, :1], true[:, :1])
    )


def test_gain_is_in_what_moves_alone():
    rng = np.random.default_rng(0)
    original = np.repeat(rng.integers(0, 100, (1, 16, 16, 3), dtype=np.uint8), 8, axis=0)
    for frame in range(8):
        original[frame, 4:8, frame : frame + 4] = 250
    still = np.repeat(original[:1], 8, axis=0)
    assert movement.gain_over_still(original, still) == pytest.approx(0)
    half = ((original.astype(int) + still) // 2).astype(np.uint8)
    assert movement.gain_over_still(original, half) == pytest.approx(6.02, abs=0.1)
    noisy = still.copy()
    noisy[:, 12:] = 255  # where nothing moves
    assert movement.gain_over_still(original, noisy) == pytest.approx(0)
    assert np.isnan(movement.gain_over_still(still, still))
