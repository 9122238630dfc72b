"""Clips side by side on one machine: a process for each core, every result through the cache.

A file that brings a decoder down, or holds it for ever, takes its process with it, not the run: what was in flight is
tried again, one clip to a process, a clip that falls again is refused, and the rest goes on side by side. When this
process ends, however it does, its workers end too.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait as wait_for
from typing import Any

from data_prep.clip import ClipProcessor, Settings
from data_prep.manifest import Clip
from data_prep.standardise import stop_ffmpeg
from mvgen.errors import UserError
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
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for its next clip for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        stop_ffmpeg()
        os._exit(1)


def _process(clip: Clip) -> Outcome:
    """The clip's outcome, with ``wall_seconds`` and ``work_seconds`` (CPU time, that of ffmpeg too) that it took."""
    began, began_work = time.monotonic(), sum(os.times()[:4])
    # Ends the process from outside Python: a decoder that hangs never comes back to it.
    with open(os.devnull, "w") as nowhere:
        faulthandler.dump_traceback_later(_processor.settings.max_processing_seconds, exit=True, file=nowhere)
        try:
            outcome = _processor.process(clip)
            wall, work = time.monotonic() - began, sum(os.times()[:4]) - began_work
            return {**outcome, "wall_seconds": wall, "work_seconds": work}
        finally:
            faulthandler.cancel_dump_traceback_later()


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
        modules = ["data_prep.clip", "cv2", "torch", "transformers.models.encodec.modeling_encodec"]
        self._context.set_forkserver_preload(modules)

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
        waiting = deque(enumerate(clips))
        told = False
        while waiting or not told:
            fallen: list[int] = []
            with self._pool(max(1, min(self._count, len(waiting)))) as pool:
                if not told:
                    try:
                        yield pool.submit(_spec).result()
                    except BrokenProcessPool:
                        raise UserError("a worker process fell while it loaded the codec; is there memory for "
                                        "--workers so many?") from None  # fmt: skip
                    told = True
                flying: dict[Future[Outcome], int] = {}
                while (waiting or flying) and not fallen:
                    # Two for each process, so that none waits; no more, so that few fall with one that falls.
                    while waiting and len(flying) < 2 * self._count:
                        number, clip = waiting.popleft()
                        try:
                            flying[pool.submit(_process, clip)] = number
                        except BrokenProcessPool:
                            fallen.append(number)
                            break
                    for future in wait(flying, return_when=FIRST_COMPLETED).done:
                        number = flying.pop(future)
                        try:
                            outcome = future.result()
                        except BrokenProcessPool:
                            fallen.append(number)
                        else:
                            yield number, outcome
                if fallen:
                    fallen += flying.values()
            for number in sorted(fallen):
                yield number, self._alone(clips[number])

    def _alone(self, clip: Clip) -> Outcome:
        began = time.monotonic()
        limit = self._arguments[0].max_processing_seconds
        with self._pool(1) as pool:
            try:
                return pool.submit(_process, clip).result()
            except BrokenProcessPool:
                if time.monotonic() - began >= limit:
                    reason = f"takes longer than the limit of {limit:g} s to process"
                else:
                    reason = "brings down the process that decodes it"
                return {"status": "refused", "reason": reason}
