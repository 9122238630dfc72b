"""Semantic embeddings of whole clips, kept: :mod:`mvgen.interop.vision` with a cache, and batches across clips."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.extract.cache import Cache
from mvgen.interop.vision import NONE, SemanticEncoder, encoder_hash

__all__ = ["NONE", "SemanticExtractor", "encoder_hash"]


class SemanticExtractor(SemanticEncoder):
    """Embeddings of clips, each made once."""

    def extract(self, path: Path, content: str, cache: Cache) -> np.ndarray:
        """Embeddings of all frames that the picture covers.

        Args:
            path: the source.
            content: hash of its bytes, the cache's key.

        Returns:
            float16 ``[T, D]``, a read-only map of a cached file.

        Raises:
            UserError: there is no picture, or none that can be decoded.
        """
        return cache.array_or(self._place(content, cache), lambda: self.of_file(path))

    def keep_many(self, files: Iterable[tuple[Path, str]], cache: Cache) -> None:
        """Brings the embeddings of several files into the cache, in batches that run on from file to file.

        A file that cannot be read to its end is left out; :meth:`extract` says why.

        Args:
            files: (path, hash of its bytes) as for :meth:`extract`; each is read when its turn comes.

        Raises:
            OSError: the cache cannot be written because the disk is full or read-only.
        """
        numbers: dict[str, list[int]] = {}
        read: set[str] = set()

        def pictures() -> Iterator[tuple[str, np.ndarray]]:
            for path, content in files:
                if content in numbers or cache.array(self._place(content, cache)) is not None:
                    continue
                try:
                    for picture in self.new_pictures(path, numbers.setdefault(content, [])):
                        yield content, picture
                except Exception:  # whatever a decoder meets, the other files go on
                    continue
                read.add(content)

        # A group ends when the next file's first result has come, thus after its own file has been read.
        for content, group in groupby(self.stream(pictures()), key=lambda result: result[0]):
            embeddings = [embedding for _, embedding in group]
            if content in read:
                cache.keep_array(self._place(content, cache), self.of_frames(embeddings, numbers[content]))

    def _place(self, content: str, cache: Cache) -> Path:
        return cache.place(content, "semantic", self._settings, ".npy")

    @cached_property
    def _settings(self) -> dict[str, Any]:
        height, width = self.frame_size
        return {"weights": encoder_hash(self.encoder), "aspect": [height, width], "processing": self.processing}
