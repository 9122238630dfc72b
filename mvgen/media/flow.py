"""Optical flow between successive frames, small."""

from __future__ import annotations

import cv2
import numpy as np

FLOW_METHODS = ("dis", "farneback")
"""DIS (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", 2016) and Farneback (2003)."""


def _dense_inverse_search() -> cv2.DISOpticalFlow:
    """OpenCV's medium preset with wider strides (4 pixels), 12 descents for 25 and one refinement for five.

    Once averaged over cells of 8 x 8 pixels the flow is as good, in half the time: docs/data.md has the figures.
    """
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow.setPatchStride(4)
    flow.setGradientDescentIterations(12)
    flow.setVariationalRefinementIterations(1)
    return flow


class FlowStream:
    """Flow from each picture to the next, as they come.

    Args:
        size: (h, w) of the flow field; the dense flow is averaged over each cell.
        method: one of :data:`FLOW_METHODS`.
    """

    def __init__(self, size: tuple[int, int], method: str = "dis"):
        if method not in FLOW_METHODS:
            raise ValueError(f"unknown flow method {method!r}; known: {', '.join(FLOW_METHODS)}")
        self._size = size
        self._dis = _dense_inverse_search() if method == "dis" else None
        self._picture: np.ndarray | None = None
        self._grey: np.ndarray | None = None

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """Flow from the picture before to this one.

        Args:
            picture: uint8 ``[H, W, 3]`` RGB.

        Returns:
            float16 ``[h, w, 2]``: (x, y) in pixels of this small field a frame; zeros for the first picture, and for
            one whose greys are those of the one before.
        """
        height, width = self._size
        repeated = picture is self._picture
        grey = self._grey if repeated and self._grey is not None else cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        before, self._grey, self._picture = self._grey, grey, picture
        if before is None or repeated or np.array_equal(before, grey):
            return np.zeros((height, width, 2), np.float16)
        if self._dis is not None:
            dense = self._dis.calc(before, grey, None)  # type: ignore[call-overload]
        else:
            empty = np.zeros((*grey.shape, 2), np.float32)
            dense = cv2.calcOpticalFlowFarneback(before, grey, empty, 0.5, 3, 15, 3, 5, 1.2, 0)
        small = cv2.resize(dense, (width, height), interpolation=cv2.INTER_AREA)
        scale = np.array([width / grey.shape[1], height / grey.shape[0]], np.float32)
        return (small * scale).astype(np.float16)


def optical_flow(frames: np.ndarray, size: tuple[int, int], method: str = "dis") -> np.ndarray:
    """Flow of each frame from the one before it.

    Args:
        frames: uint8 ``[T, H, W, 3]`` RGB. Records measure it on frames of at least 128 pixels a side
            (:func:`mvgen.media.frames_and_flow`); on smaller ones it is less exact.
        size: (h, w) of the flow field.

    Returns:
        float16 ``[T, h, w, 2]``: (x, y) in pixels of that field a frame; frame 0 has zeros.
    """
    stream = FlowStream(size, method)
    flows = [stream(frame) for frame in frames]
    return np.stack(flows) if flows else np.zeros((0, *size, 2), np.float16)
