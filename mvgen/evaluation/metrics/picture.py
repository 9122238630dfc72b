"""How a picture compares with its reference, and whether it flickers.

PSNR and SSIM give the numbers of scikit-image's ``peak_signal_noise_ratio`` and ``structural_similarity`` (defaults,
colours averaged, 8-bit range), worked out here for a whole clip at a time, which is some ten times quicker.
"""

from __future__ import annotations

import cv2
import numpy as np

BEST_PSNR = 100.0
"""dB given to frames whose PSNR is higher, as that of identical ones, which is infinite."""
WINDOW = 7
"""Side of the square over which SSIM takes means and variances, pixels."""


def psnr(reference: np.ndarray, frames: np.ndarray) -> float:
    """Mean over frames of the peak signal-to-noise ratio in dB, uint8 ``[T, H, W, 3]`` both."""
    _same_shape(reference, frames)
    errors = [np.mean((a.astype(np.float32) - b) ** 2, dtype=float) for a, b in zip(reference, frames, strict=True)]
    smallest = 255.0**2 / 10.0 ** (BEST_PSNR / 10.0)
    return float(np.mean(10.0 * np.log10(255.0**2 / np.maximum(errors, smallest))))


def ssim(reference: np.ndarray, frames: np.ndarray) -> float:
    """Mean over frames of the structural similarity, uint8 ``[T, H, W, 3]`` both, at least 7 x 7 pixels.

    Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004; uniform windows.
    """
    _same_shape(reference, frames)
    if min(frames.shape[1:3]) < WINDOW:
        raise ValueError(f"SSIM needs frames of at least {WINDOW} x {WINDOW} pixels, got {frames.shape[1:3]}")
    if np.array_equal(reference, frames):
        return 1.0
    return float(
        np.mean([_ssim_frame(a.astype(float), b.astype(float)) for a, b in zip(reference, frames, strict=True)])
    )


def _ssim_frame(a: np.ndarray, b: np.ndarray) -> float:
    """SSIM of two pictures, float64 ``[H, W, 3]`` in 0..255."""

    def mean(picture: np.ndarray) -> np.ndarray:
        return cv2.blur(picture, (WINDOW, WINDOW))

    mean_a, mean_b = mean(a), mean(b)
    unbiased = WINDOW**2 / (WINDOW**2 - 1.0)
    variance_a = unbiased * (mean(a * a) - mean_a**2)
    variance_b = unbiased * (mean(b * b) - mean_b**2)
    covariance = unbiased * (mean(a * b) - mean_a * mean_b)
    c1, c2 = (0.01 * 255.0) ** 2, (0.03 * 255.0) ** 2
    similarity = ((2 * mean_a * mean_b + c1) * (2 * covariance + c2)) / (
        (mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2)
    )
    edge = WINDOW // 2  # windows that reach over the border do not count
    return float(similarity[edge:-edge, edge:-edge].mean())


def flicker(frames: np.ndarray) -> float:
    """VBench's temporal flickering, ``(255 - mean |difference of consecutive frames|) / 255``; 1 is steady.

    Huang et al., "VBench", CVPR 2024. A frozen video scores 1: read it beside the mean flow magnitude only.
    """
    if len(frames) < 2:
        raise ValueError("flicker needs at least two frames")
    change = np.abs(np.diff(frames.astype(np.int16), axis=0))
    return float((255.0 - change.mean()) / 255.0)


def _same_shape(reference: np.ndarray, frames: np.ndarray) -> None:
    if reference.shape != frames.shape:
        raise ValueError(f"pictures differ in shape: {reference.shape} and {frames.shape}")
