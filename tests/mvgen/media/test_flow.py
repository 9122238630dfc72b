"""Flow against motion that is known."""

import numpy as np
import pytest

from mvgen.media import optical_flow


def texture(seed=0):
    """A smooth random picture that is known everywhere, so that it can be moved by any amount."""
    import cv2

    noise = np.random.default_rng(seed).random((160, 160, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    return (255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)


@pytest.mark.parametrize(("method", "tolerance"), [("dis", 0.02), ("farneback", 0.05)])
def test_known_shift(method, tolerance):
    """The picture moves 4 pixels right and 2 up a frame at 128; the field of 16 shows an eighth of it."""
    large = texture()
    frames = np.stack([large[16 + 2 * n : 144 + 2 * n, 16 - 4 * n : 144 - 4 * n] for n in range(3)])
    flow = optical_flow(frames, (16, 16), method).astype(np.float32)
    assert flow.shape == (3, 16, 16, 2)
    assert not flow[0].any()
    inner = flow[1:, 3:-3, 3:-3]
    np.testing.assert_allclose(inner[..., 0].mean(), 0.5, atol=tolerance)
    np.testing.assert_allclose(inner[..., 1].mean(), -0.25, atol=tolerance)


def test_scale_of_each_axis():
    large = texture(1)
    frames = np.stack([large[16 + 2 * n : 144 + 2 * n, 16 - 4 * n : 144 - 4 * n] for n in range(2)])
    flow = optical_flow(frames, (8, 32)).astype(np.float32)
    np.testing.assert_allclose(np.median(flow[1], axis=(0, 1)), [1.0, -0.125], atol=0.03)


def test_a_repeated_frame_is_still():
    frame = texture(2)[:128, :128]
    assert not optical_flow(np.stack([frame, frame]), (16, 16)).any()
    assert optical_flow(np.zeros((0, 128, 128, 3), np.uint8), (16, 16)).shape == (0, 16, 16, 2)
    with pytest.raises(ValueError, match="raft"):
        optical_flow(np.stack([frame, frame]), (16, 16), "raft")
