"""Anchors, blended palms, turned squares: against what they must be, by hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mvgen.interop.hand_geometry import (
    HAND_SIDE,
    PALM_SIDE,
    Palm,
    Square,
    anchors,
    next_square,
    overlaps,
    palms,
    tiles,
)


def test_anchors_are_the_cells_of_two_grids() -> None:
    found = anchors()
    assert found.shape == (2016, 2)
    np.testing.assert_allclose(found[[0, 1, 2, 1151, 1152, 2015]] * 24, [
        [0.5, 0.5], [0.5, 0.5], [1.5, 0.5], [23.5, 23.5], [1.0, 1.0], [23.0, 23.0],
    ], rtol=1e-6)  # fmt: skip


def test_answers_about_one_palm_are_blended_by_their_scores() -> None:
    answers, scores = np.zeros((2016, 18), np.float32), np.full(2016, -100.0)
    middles = anchors() * PALM_SIDE
    for number, (x, logit) in ((600, (100.0, 3.0)), (602, (104.0, 1.0)), (10, (40.0, 0.5)), (11, (150.0, -0.5))):
        scores[number] = logit
        answers[number, :2] = np.array([x, 90.0]) - middles[number]
        answers[number, 2:4] = 30
        answers[number, 4:] = np.tile(np.array([x, 80.0]) - middles[number], 7)
    found = palms(answers, scores, 0.5)
    sure = 1 / (1 + np.exp(-np.array([3.0, 1.0])))
    assert [round(palm.score, 4) for palm in found] == [round(sure[0], 4), round(1 / (1 + np.exp(-0.5)), 4)]
    x = np.average([100.0, 104.0], weights=sure)
    np.testing.assert_allclose(found[0].box * PALM_SIDE, [x - 15, 75, x + 15, 105], atol=1e-3)
    np.testing.assert_allclose(found[0].points * PALM_SIDE, np.tile([x, 80.0], (7, 1)), atol=1e-3)
    assert palms(answers, np.full(2016, -100.0), 0.5) == []


def test_overlaps() -> None:
    others = np.array([[0, 0, 2, 2], [1, 1, 3, 3], [5, 5, 6, 6]], float)
    np.testing.assert_allclose(overlaps(np.array([0, 0, 2, 2.0]), others), [1, 1 / 7, 0])


@pytest.mark.parametrize("angle", [0.0, 0.7, -2.0, np.pi])
def test_a_square_turns_with_the_hand(angle: float) -> None:
    """Points of a hand upright at (60, 50), turned: the square's cut shows them upright again, fingers up."""
    wrist, finger = np.array([0.0, 20.0]), np.array([0.0, -10.0])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = np.tile(wrist, (7, 1))
    points[2] = finger
    points = points @ turn.T + [60, 50]
    square = Palm(1.0, np.array([50.0, 40.0, 70.0, 60.0]), points).square()
    assert np.cos(square.angle - angle) == pytest.approx(1) and square.side == pytest.approx(52)
    matrix = square.matrix(HAND_SIDE)
    inside = (points - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    assert inside[2, 0] == pytest.approx(inside[0, 0]) and inside[2, 1] < inside[0, 1]
    # It has moved towards the fingers by half the box's height.
    np.testing.assert_allclose([square.x, square.y], np.array([60, 50]) + turn @ [0, -10], atol=1e-9)


def test_a_cut_shows_what_its_matrix_says() -> None:
    picture = np.zeros((80, 100, 3), np.uint8)
    cv2.circle(picture, (60, 30), 4, (255, 255, 255), -1)
    square = Square(55.0, 35.0, 40.0, 0.6)
    cut = square.cut(picture, 64)[..., 0].astype(float)
    rows, columns = np.indices(cut.shape) + 0.5
    middle = np.array([(cut * columns).sum(), (cut * rows).sum()]) / cut.sum()
    matrix = square.matrix(64)
    np.testing.assert_allclose(matrix[:, :2] @ middle + matrix[:, 2], [60.5, 30.5], atol=0.2)


def test_the_next_square_holds_a_hand_that_moves_on() -> None:
    rng = np.random.default_rng(0)
    hand = rng.uniform(-10, 10, (21, 2)) + [100, 70]
    hand[0], hand[9] = [100, 85], [100, 62]
    square = next_square(hand)
    assert abs(square.x - 100) < 8 and 40 < square.side < 60 and abs(square.angle) < 0.6
    moved = next_square(hand + [12, -5])
    assert (moved.x - square.x, moved.y - square.y) == (pytest.approx(12), pytest.approx(-5))
    assert square.holds(104, 66) and not square.holds(140, 70)


def test_long_pictures_are_looked_at_in_parts() -> None:
    assert [tile.side for tile in tiles(100, 110)] == [110]
    parts = tiles(100, 500)
    assert {tile.side for tile in parts} == {100} and len(parts) == 9
    assert parts[0].x == 50 and parts[-1].x == 450 and max(np.diff([tile.x for tile in parts])) <= 50
    assert [tile.y for tile in tiles(300, 100)] == [50, 100, 150, 200, 250]
