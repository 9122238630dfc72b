"""Clips side by side on one machine: a process for each core, every result through the cache.

A file that brings a decoder down takes its process with it, not the run: what was in flight is tried again, one clip
to a process, and a clip that falls again is refused.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from data_prep.clip import ClipProcessor, Settings
from data_prep.manifest import Clip
from mvgen.records import RecordSpec

Outcome = dict[str, Any]

_processor: ClipProcessor


def _start(settings: Settings, cache_folder: str) -> None:
    """Runs first in every worker."""
    import cv2
    import torch

    # One thread each: the workers fill the cores already.
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    global _processor
    _processor = ClipProcessor(settings, cache_folder)


def _process(clip: Clip) -> Outcome:
    return _processor.process(clip)


def _spec() -> RecordSpec:
    return _processor.spec


class Workers:
    """A pool of processes that each hold a :class:`ClipProcessor`.

    Args:
        count: processes; 0 for one a core.
    """

    def __init__(self, settings: Settings, cache_folder: str, count: int = 0):
        self._arguments = (settings, cache_folder)
        self._count = count or len(os.sched_getaffinity(0))
        # Forked from a server that has loaded torch and nothing else: the long import is paid once, and no thread or
        # lock of this process is copied.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["data_prep.clip", "cv2", "torch", "transformers.models.encodec"])

    @contextmanager
    def _pool(self, count: int) -> Iterator[ProcessPoolExecutor]:
        pool = ProcessPoolExecutor(count, self._context, initializer=_start, initargs=self._arguments)
        try:
            yield pool
        finally:
            # On an error or ctrl-C what is queued is dropped; what is in flight ends within a clip.
            pool.shutdown(wait=True, cancel_futures=True)

    def run(self, clips: list[Clip]) -> Iterator[RecordSpec | tuple[int, Outcome]]:
        """First the spec of the records, then (number in ``clips``, outcome) for each clip as it is done.

        Raises:
            UserError: the codec cannot be loaded. OSError: the disk is full.
        """
        done: set[int] = set()
        with self._pool(max(1, min(self._count, len(clips)))) as pool:
            yield pool.submit(_spec).result()
            futures: dict[Future[Outcome], int] = {
                pool.submit(_process, clip): number for number, clip in enumerate(clips)
            }
            for future in as_completed(futures):
                try:
                    outcome = future.result()
                except BrokenProcessPool:
                    break
                done.add(futures[future])
                yield futures[future], outcome
        for number in sorted(set(range(len(clips))) - done):
            yield number, self._alone(clips[number])

    def _alone(self, clip: Clip) -> Outcome:
        with self._pool(1) as pool:
            try:
                return pool.submit(_process, clip).result()
            except BrokenProcessPool:
                return {"status": "refused", "reason": "brings down the process that decodes it"}
