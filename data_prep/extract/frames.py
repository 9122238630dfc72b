"""Frames as pixels and their optical flow, both in one pass over the source (:mod:`mvgen.media`), with a cache."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.cache import Cache
from mvgen.media import read_picture_and_flow


@dataclass(frozen=True)
class PictureExtractor:
    """Pixels and flow of whole clips.

    Attributes:
        frame_size, flow_size: (height, width) of each.
        flow_method: one of :data:`mvgen.media.flow.FLOW_METHODS`.
    """

    frame_size: tuple[int, int]
    flow_size: tuple[int, int]
    flow_method: str = "dis"

    def extract(self, path: Path, content: str, cache: Cache) -> tuple[np.ndarray, np.ndarray]:
        """All frames that the picture covers.

        Args:
            path: the source.
            content: hash of its bytes, the cache's key.

        Returns:
            frames uint8 ``[T, H, W, 3]`` and flow float16 ``[T, h, w, 2]``, read-only maps of cached files.

        Raises:
            UserError: there is no picture, or none that can be decoded.
        """
        frames_place = cache.place(content, "frames", {"size": self.frame_size}, ".npy")
        # The flow is measured on frames of a size that depends on the frames' own.
        flow_settings = {"size": self.flow_size, "method": self.flow_method, "frames": self.frame_size}
        flow_place = cache.place(content, "flow", flow_settings, ".npy")
        frames, flow = cache.array(frames_place), cache.array(flow_place)
        if frames is None or flow is None:
            frames, flow = read_picture_and_flow(path, self.frame_size, self.flow_size, self.flow_method)
            assert flow is not None
            cache.keep_array(frames_place, frames)
            cache.keep_array(flow_place, flow)
        return frames, flow
