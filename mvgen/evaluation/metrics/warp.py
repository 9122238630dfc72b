"""Flow-warp error: what changes from one frame to the next beyond what motion explains.

Lai et al., "Learning Blind Video Temporal Consistency", ECCV 2018: the next frame is warped back along the flow, and
squared differences are averaged over the pixels that are not hidden, which the flows there and back tell (the test of
Sundaram et al., ECCV 2010). Flow here is OpenCV's DIS.
"""

from __future__ import annotations

import cv2
import numpy as np

SMALLEST = 12
"""Pixels of the longer side below which OpenCV's DIS refuses a picture."""


def warp_error(frames: np.ndarray) -> float:
    """Mean over pairs of frames of the masked squared warping error, colours in 0..1; a frozen video has none.

    NaN for pictures too small for flow (under 12 pixels), or in which no pixel stays in sight.

    Args:
        frames: RGB, uint8 ``[T, H, W, 3]``, ``T >= 2``.
    """
    if len(frames) < 2:
        raise ValueError("the warp error needs at least two frames")
    height, width = frames.shape[1:3]
    if max(height, width) < SMALLEST:
        return float("nan")
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
    errors = []
    before = cv2.cvtColor(frames[0], cv2.COLOR_RGB2GRAY)
    for first, second in zip(frames[:-1], frames[1:], strict=True):
        after = cv2.cvtColor(second, cv2.COLOR_RGB2GRAY)
        if np.array_equal(first, second):
            errors.append(0.0)
            continue
        there, back = flow.calc(before, after, None), flow.calc(after, before, None)  # type: ignore[call-overload]
        before = after
        places = grid + there
        x, y = np.ascontiguousarray(places[..., 0]), np.ascontiguousarray(places[..., 1])
        back_there = cv2.remap(back, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        apart = np.sum((there + back_there) ** 2, axis=-1)
        lengths = np.sum(there**2, axis=-1) + np.sum(back_there**2, axis=-1)
        inside = np.all((places >= 0) & (places <= (width - 1, height - 1)), axis=-1)
        seen = inside & (apart <= 0.01 * lengths + 0.5)
        if seen.any():
            warped = cv2.remap(second, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            errors.append(float(np.mean((warped[seen] / 255.0 - first[seen] / 255.0) ** 2)))
    return float(np.mean(errors)) if errors else float("nan")
