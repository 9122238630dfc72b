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

from data_prep.convert.clip import ClipProcessor, Settings
from data_prep.convert.standardise import stop_ffmpeg
from data_prep.convert.together import GROUP, process_together
from data_prep.sources.manifest import Clip
from mvgen.data.records import RecordSpec
from mvgen.errors import UserError

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


def _process(clips: list[Clip]) -> list[Outcome]:
    """The clips' outcomes, each with its share of the time that they took together: ``wall_seconds`` and
    ``work_seconds`` (CPU time, that of ffmpeg too)."""
    began, began_work = time.monotonic(), sum(os.times()[:4])
    with open(os.devnull, "w") as nowhere:

        def watch() -> None:
            # Ends the process from outside Python: a decoder that hangs never comes back to it.
            faulthandler.dump_traceback_later(_processor.settings.max_processing_seconds, exit=True, file=nowhere)

        watch()
        try:
            if len(clips) == 1:
                outcomes = [_processor.process(clips[0])]
            else:
                outcomes = process_together(_processor, clips, watch)
        finally:
            faulthandler.cancel_dump_traceback_later()
    wall, work = time.monotonic() - began, sum(os.times()[:4]) - began_work
    share = {"wall_seconds": wall / len(clips), "work_seconds": work / len(clips)}
    return [{**outcome, **share} for outcome in outcomes]


def _ready() -> tuple[RecordSpec, bool]:
    """The spec of the records, which loads the networks, and whether they are on a GPU."""
    import torch

    return _processor.spec, torch.cuda.is_available()


class Workers:
    """A pool of processes that each hold a :class:`ClipProcessor`.

    Args:
        count: processes; 0 for one a core.
        together: clips that a process takes together (:mod:`data_prep.convert.together`); 0 for one, or many on a GPU.
    """

    def __init__(self, settings: Settings, cache_folder: str, count: int = 0, together: int = 0):
        self._together = together
        self._arguments = (settings, cache_folder)
        self._count = count or len(os.sched_getaffinity(0))
        # Forked from a server that has loaded torch and nothing else: the long import is paid once, and no thread or
        # lock of this process is copied.
        self._context = multiprocessing.get_context("forkserver")
        modules = ["data_prep.convert.clip", "cv2", "torch", "transformers.models.encodec.modeling_encodec"]
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
        waiting = deque(range(len(clips)))
        told, together = False, self._together
        while waiting or not told:
            fallen: list[int] = []
            with self._pool(max(1, min(self._count, len(waiting)))) as pool:
                if not told:
                    try:
                        spec, on_gpu = pool.submit(_ready).result()
                    except BrokenProcessPool:
                        raise UserError("a worker process fell while it loaded the codec; is there memory for "
                                        "--workers so many?") from None  # fmt: skip
                    together = together or (GROUP if on_gpu else 1)
                    told = True
                    yield spec
                flying: dict[Future[list[Outcome]], list[int]] = {}
                while (waiting or flying) and not fallen:
                    # Two for each process, so that none waits; no more, so that few fall with one that falls.
                    while waiting and len(flying) < 2 * self._count:
                        # Towards the end smaller groups, so that all processes have some.
                        size = min(together, -(-len(waiting) // self._count))
                        numbers = [waiting.popleft() for _ in range(size)]
                        try:
                            flying[pool.submit(_process, [clips[number] for number in numbers])] = numbers
                        except BrokenProcessPool:
                            fallen += numbers
                            break
                    for future in wait(flying, return_when=FIRST_COMPLETED).done:
                        numbers = flying.pop(future)
                        try:
                            outcomes = future.result()
                        except BrokenProcessPool:
                            fallen += numbers
                        else:
                            yield from zip(numbers, outcomes, strict=True)
                if fallen:
                    fallen += (number for numbers in flying.values() for number in numbers)
            for number in sorted(fallen):
                yield number, self._alone(clips[number])

    def _alone(self, clip: Clip) -> Outcome:
        began = time.monotonic()
        limit = self._arguments[0].max_processing_seconds
        with self._pool(1) as pool:
            try:
                return pool.submit(_process, [clip]).result()[0]
            except BrokenProcessPool:
                if time.monotonic() - began >= limit:
                    reason = f"takes longer than the limit of {limit:g} s to process"
                else:
                    reason = "brings down the process that decodes it"
                return {"status": "refused", "reason": reason}
