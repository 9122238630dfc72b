"""Landmarks of whole clips, kept: :mod:`mvgen.interop.landmarks` with a cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from data_prep.extract.cache import Cache
from mvgen.interop.landmarks import NONE, LandmarkReader, landmarks_hash

__all__ = ["NONE", "LandmarkExtractor", "landmarks_hash"]


class LandmarkExtractor(LandmarkReader):
    """Landmarks of clips, each found once."""

    def extract(self, path: Path, content: str, cache: Cache) -> np.ndarray:
        """Landmarks of all frames that the picture covers.

        Args:
            path: the source.
            content: hash of its bytes, the cache's key.

        Returns:
            float16 ``[T, points, 3]``, a read-only map of a cached file.

        Raises:
            UserError: there is no picture, or none that can be decoded.
        """
        told = {"weights": landmarks_hash(self.name), "aspect": list(self.frame_size)}
        place = cache.place(content, "landmarks", told, ".npy")
        return cache.array_or(place, lambda: self.of_file(path))
