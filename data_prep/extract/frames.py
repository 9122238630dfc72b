"""Frames as pixels and their optical flow, both in one pass over the source (:mod:`mvgen.media`), with a cache."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.extract.cache import Cache
from data_prep.extract.flow import RaftFlow, flow_hash, is_raft
from mvgen.media import read_picture_and_flow, working_size
from mvgen.media.picture import shrink, stream_picture


@dataclass(frozen=True)
class PictureExtractor:
    """Pixels and flow of whole clips.

    Attributes:
        frame_size, flow_size: (height, width) of each.
        flow_method: one of :data:`mvgen.media.flow.FLOW_METHODS`, or RAFT (:mod:`data_prep.extract.flow`).
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
        flow_settings: dict[str, Any] = {"size": self.flow_size, "method": self.flow_method, "frames": self.frame_size}
        if is_raft(self.flow_method):
            flow_settings["method"] = flow_hash(self.flow_method)
        flow_place = cache.place(content, "flow", flow_settings, ".npy")
        frames, flow = cache.array(frames_place), cache.array(flow_place)
        if frames is None or flow is None:
            if is_raft(self.flow_method):
                frames, flow = self._by_raft(path)
            else:
                frames, flow = read_picture_and_flow(path, self.frame_size, self.flow_size, self.flow_method)
            assert flow is not None
            cache.keep_array(frames_place, frames)
            cache.keep_array(flow_place, flow)
        return frames, flow

    def _by_raft(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        small: list[np.ndarray] = []

        def pictures() -> Iterator[np.ndarray]:
            before = None
            for picture in stream_picture(path, working_size(self.frame_size)):
                small.append(small[-1] if picture is before else shrink(picture, self.frame_size))
                before = picture
                yield picture

        flows = list(self._raft.stream(pictures()))
        if not small:
            return np.zeros((0, *self.frame_size, 3), np.uint8), np.zeros((0, *self.flow_size, 2), np.float16)
        return np.stack(small), np.stack(flows)

    @cached_property
    def _raft(self) -> RaftFlow:
        return RaftFlow(self.flow_size, self.flow_method)
