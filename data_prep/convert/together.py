"""Several clips through the networks together: what fills a GPU that one clip leaves idle.

What the codec and the semantic encoder make of all clips of a group is brought into the cache first, in batches that do
not stop at a clip's end; then each clip is processed by itself and finds it there. So nothing is decided here: a clip
that cannot be read is left out of the batches, and refused, with its reason, where every clip is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.convert.clip import ClipProcessor
from data_prep.extract.cache import disk_error
from data_prep.sources.manifest import Clip

GROUP = 16
"""Clips that a process takes together where there is a GPU, unless the config says how many."""


def process_together(
    processor: ClipProcessor, clips: list[Clip], starting: Callable[[], None] = lambda: None
) -> list[dict[str, Any]]:
    """:meth:`ClipProcessor.process` of every clip, with batches across them.

    Args:
        starting: called whenever work on another clip begins.

    Raises:
        OSError: the cache cannot be written because the disk is full or read-only.
    """
    try:
        _keep_tokens(processor, clips, starting)
        if processor.semantic:
            processor.semantic.keep_many(_files(processor, clips, starting), processor.cache)
    except RuntimeError:
        pass  # a network without memory for so many: what is missing is made clip by clip
    outcomes = []
    for clip in clips:
        starting()
        outcomes.append(processor.process(clip))
    return outcomes


def _keep_tokens(processor: ClipProcessor, clips: list[Clip], starting: Callable[[], None]) -> None:
    cache = processor.cache
    counts: dict[str, int] = {}

    def stretches() -> Iterator[tuple[tuple[str, int], np.ndarray]]:
        for clip in clips:
            starting()
            try:
                clip, content = processor.admit(clip)
                if content in counts or cache.array(processor.token_place(content)) is not None:
                    continue
                frames, _ = processor.picture.extract(clip.path, content, cache)
                pieces = processor.stretches(clip.path, len(frames))
            except Exception as error:
                if disk_error(error) is not None:
                    raise
                continue
            counts[content] = len(pieces)
            for number, piece in enumerate(pieces):
                yield (content, number), piece

    found: dict[str, dict[int, np.ndarray]] = {}
    for (content, number), codes in processor.tokens.extract_many(stretches()):
        parts = found.setdefault(content, {})
        parts[number] = codes
        if len(parts) == counts[content]:
            tokens = np.concatenate([parts[each] for each in range(len(parts))])
            cache.keep_array(processor.token_place(content), tokens)
            del found[content]


def _files(processor: ClipProcessor, clips: list[Clip], starting: Callable[[], None]) -> Iterator[tuple[Path, str]]:
    """The clips whose tokens could be made: the others will be refused, and need no embeddings."""
    for clip in clips:
        starting()
        try:
            clip, content = processor.admit(clip)
        except Exception as error:
            if disk_error(error) is not None:
                raise
            continue
        if processor.cache.array(processor.token_place(content)) is not None:
            yield clip.path, content
