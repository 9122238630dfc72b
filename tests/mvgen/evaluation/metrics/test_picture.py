"""Picture scores against scikit-image and by hand."""

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from mvgen.evaluation.metrics.picture import BEST_PSNR, flicker, psnr, ssim


def two_clips() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    clean = rng.integers(0, 256, (3, 24, 20, 3)).astype(np.uint8)
    noisy = np.clip(clean + rng.normal(0, 25, clean.shape), 0, 255).astype(np.uint8)
    return clean, noisy


def test_agree_with_scikit_image():
    clean, noisy = two_clips()
    pairs = list(zip(clean, noisy, strict=True))
    assert psnr(clean, noisy) == pytest.approx(np.mean([peak_signal_noise_ratio(a, b) for a, b in pairs]), abs=1e-4)
    assert ssim(clean, noisy) == pytest.approx(
        np.mean([structural_similarity(a, b, channel_axis=-1) for a, b in pairs]), abs=1e-6
    )


def test_identical_pictures_reach_the_top():
    clean, _ = two_clips()
    assert psnr(clean, clean) == pytest.approx(BEST_PSNR)
    assert ssim(clean, clean) == 1.0


def test_refuses_what_cannot_be_compared():
    clean, _ = two_clips()
    with pytest.raises(ValueError, match="shape"):
        psnr(clean, clean[:, :-1])
    with pytest.raises(ValueError, match="7 x 7"):
        ssim(clean[:, :6], clean[:, :6])


def test_flicker_by_hand():
    frames = np.zeros((3, 2, 2, 3), np.uint8)
    assert flicker(frames) == 1.0
    frames[1] = 51  # up and down again by a fifth of the range
    assert flicker(frames) == pytest.approx(0.8)
