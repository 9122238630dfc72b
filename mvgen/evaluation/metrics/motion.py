"""How much the picture moves (mean optical flow between frames, OpenCV's Farneback), and how much it changes."""

from __future__ import annotations

import cv2
import numpy as np


def mean_flow(before: np.ndarray, after: np.ndarray) -> float:
    """Mean length of the flow between two grey frames, uint8 ``[H, W]``, in pixels."""
    flow = cv2.calcOpticalFlowFarneback(
        before, after, None, pyr_scale=0.5, levels=3, winsize=15, iterations=3, poly_n=5, poly_sigma=1.2, flags=0
    )  # type: ignore[call-overload]  # OpenCV takes None for a fresh array; its types do not say so.
    return float(np.mean(np.hypot(flow[..., 0], flow[..., 1])))


def flow_magnitude(frames: np.ndarray) -> np.ndarray:
    """Mean length of the flow between frames ``i - 1`` and ``i``, in pixels of the frames given.

    Args:
        frames: RGB, uint8 ``[T, H, W, 3]``, ``T >= 2``.

    Returns:
        float64 ``[T]``; value ``i`` is the motion across the moment ``i / rate``; value 0 repeats value 1.
    """
    if len(frames) < 2:
        raise ValueError("flow needs at least two frames")
    greys = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    means = [mean_flow(before, after) for before, after in zip(greys[:-1], greys[1:], strict=True)]
    return np.array([means[0], *means])


def picture_change(frames: np.ndarray) -> np.ndarray:
    """Mean absolute difference of frames ``i - 1`` and ``i`` in grey levels, float64 ``[T]``; value 0 repeats value 1.

    What lights up or is uncovered changes the picture without moving; flow sees little of it.
    """
    if len(frames) < 2:
        raise ValueError("change needs at least two frames")
    means = [float(np.mean(cv2.absdiff(after, before))) for before, after in zip(frames[:-1], frames[1:], strict=True)]
    return np.array([means[0], *means])
