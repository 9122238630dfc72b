"""The warp error sees flicker, and not motion."""

import cv2
import numpy as np
import pytest

from mvgen.evaluation.metrics.warp import warp_error


def moving(step: int, frames: int = 6) -> np.ndarray:
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(
        np.kron(rng.integers(0, 256, (20, 20, 3)), np.ones((6, 6, 1))).astype(np.uint8), (0, 0), 2
    )
    return np.stack([texture[20:84, 10 + step * k : 74 + step * k] for k in range(frames)])


def test_motion_is_explained_and_flicker_is_not():
    still, gliding, jumping = (warp_error(moving(step)) for step in (0, 1, 2))
    assert still == 0.0
    assert max(gliding, jumping) < 0.001
    noise = np.random.default_rng(1).normal(0, 12, (6, 64, 64, 3))
    flickering = np.clip(moving(1) + noise, 0, 255).astype(np.uint8)
    # Two independent errors of 12 levels each, which no flow explains.
    assert 0.5 < warp_error(flickering) / (2 * (12 / 255) ** 2) < 1.1


def test_by_hand():
    # A flat grey that brightens by a fifth of the range: no texture, no flow, all of it error.
    frames = np.full((3, 16, 16, 3), 51, np.uint8)
    frames[1:] = 102
    assert warp_error(frames) == pytest.approx((0.2**2 + 0) / 2, rel=1e-3)
    assert np.isnan(warp_error(frames[:, :8, :8]))
    with pytest.raises(ValueError, match="two frames"):
        warp_error(frames[:1])
