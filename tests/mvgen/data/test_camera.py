"""Clips filmed anew: flow is that of the new pictures, and every part of a window moves alike."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mvgen.data.camera import Reach, affine, film_flow, film_frames, film_landmarks
from mvgen.data.loader import Windows, batches
from mvgen.data.records import RecordSource
from mvgen.media.flow import optical_flow
from tests.mvgen.synthetic import SPEC, write_records


def clip(frames: int = 6, side: int = 96) -> np.ndarray:
    """Smooth texture that moves 2 pixels right and 1 up each frame, ``[frames, side, side, 3]``."""
    noise = np.random.default_rng(0).uniform(0, 255, (side + 40, side + 40)).astype(np.float32)
    texture = cv2.GaussianBlur(noise, (0, 0), 3)
    texture = (texture - texture.min()) / np.ptp(texture) * 255
    cuts = [texture[10 + i : 10 + i + side, 20 - 2 * i : 20 - 2 * i + side] for i in range(frames)]
    return np.repeat(np.stack(cuts)[..., None], 3, axis=3).astype(np.uint8)


def test_a_camera_that_stays_changes_nothing() -> None:
    frames, flow = clip(), np.random.default_rng(1).normal(size=(6, 24, 24, 2)).astype(np.float16)
    place = Reach(0.0, 0.0, 0.0).draw(np.random.default_rng(0))
    assert place == (1.0, 0.0, 0.0, 0.0) and not Reach(0.0, 0.0, 0.0) and Reach(0.1, 0.0, 0.0)
    np.testing.assert_array_equal(film_frames(frames, place), frames)
    np.testing.assert_array_equal(film_flow(flow, place, (96, 96)), flow)


@pytest.mark.parametrize("place", [(1.0, 30.0, 0.0, 0.0), (1.3, 0.0, 0.05, -0.03), (0.8, -20.0, 0.0, 0.02)])
@pytest.mark.parametrize("size", [(24, 24), (24, 16)])  # the flow's pixels need not be square
def test_the_flow_filmed_anew_is_the_flow_of_the_frames_filmed_anew(
    place: tuple[float, float, float, float], size: tuple[int, int]
) -> None:
    frames = clip()
    moved = film_flow(optical_flow(frames, size), place, (96, 96)).astype(np.float32)
    measured = optical_flow(film_frames(frames, place), size).astype(np.float32)
    inner = np.s_[1:, 8:-8, 6:-6]  # edges repeat, and are nobody's motion
    assert np.abs(moved[inner] - measured[inner]).mean() < 0.06 * np.abs(measured[inner]).max()
    assert np.abs(moved[inner]).mean() > 0.2


@given(st.floats(0.5, 2), st.floats(-90, 90), st.floats(-0.2, 0.2), st.floats(-0.2, 0.2))
@settings(max_examples=30, deadline=None)
def test_the_middle_pans_and_distances_zoom(zoom: float, turn: float, right: float, down: float) -> None:
    matrix = affine((zoom, turn, right, down), (40, 60))
    middle = matrix @ np.array([29.5, 19.5, 1.0])
    np.testing.assert_allclose(middle, [29.5 + 40 * right, 19.5 + 40 * down], atol=1e-9)
    assert np.linalg.norm(matrix[:, :2] @ np.array([3.0, 4.0])) == pytest.approx(5 * zoom)


@pytest.mark.parametrize("place", [(1.0, 30.0, 0.0, 0.0), (1.3, 0.0, 0.05, -0.03), (0.8, -20.0, 0.0, 0.02)])
def test_landmarks_filmed_anew_lie_on_what_they_lay_on(place: tuple[float, float, float, float]) -> None:
    frames = np.zeros((1, 60, 80, 3), np.uint8)
    cv2.circle(frames[0], (30, 40), 3, (255, 255, 255), -1)
    points = np.array([[[30.5 / 80, 40.5 / 60, 0.6], [0.01, 0.01, 1.0], [0.5, 0.5, 0.0]]], np.float16)
    picture = film_frames(frames, place)[0, ..., 0].astype(float)
    rows, columns = np.indices(picture.shape) + 0.5
    moved = film_landmarks(points, place, (60, 80))
    expected = np.array([(picture * columns).sum() / 80, (picture * rows).sum() / 60]) / picture.sum()
    np.testing.assert_allclose(moved[0, 0, :2], expected, atol=3e-3)
    assert moved[0, 0, 2] == np.float16(0.6) and not moved[0, 2].any()
    if place[0] > 1:
        assert not moved[0, 1].any()  # out of the picture


def test_examples_are_filmed_anew_and_the_same_ones_after_a_restart(tmp_path: Path) -> None:
    source = RecordSource(
        write_records(tmp_path / "r", {"train": [30, 30, 30]}, SPEC), "train", ("tokens", "frames", "flow")
    )
    plain, moved = Windows(source, 10), Windows(source, 10, Reach(0.3, 10.0, 0.05))
    first = [next(stream) for stream in [batches(moved, 2, seed=1)] for _ in range(3)]
    again = next(batches(moved, 2, seed=1, first_example=4))
    for name, values in again.items():
        np.testing.assert_array_equal(values, first[2][name])
    same = next(batches(plain, 2, seed=1, first_example=4))
    np.testing.assert_array_equal(same["tokens"], again["tokens"])  # the same windows of the same records
    assert any(not np.array_equal(one["flow"], other["flow"]) for one, other in zip([again], [same], strict=True))
