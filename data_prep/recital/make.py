"""Makes a set of clips, as video files with a manifest or straight as records; the same for any number of workers."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from tqdm import tqdm

from data_prep.convert.write import made_by, split_of, write_records
from data_prep.recital.clip import manifest_line, medium_of, recorded, write_clip
from data_prep.recital.compose import compose
from data_prep.recital.compression import compressed
from data_prep.recital.film import LANDMARKS, frames_of, landmarks_of
from data_prep.recital.play import play
from data_prep.recital.score import INSTRUMENTS, Score
from data_prep.sources.manifest import MANIFEST_FILE
from mvgen.clock import CODEC_SAMPLE_RATE, frame_centres, samples_of, whole_frames
from mvgen.data.records import DESCRIPTION_FILE, Record, RecordSpec
from mvgen.errors import UserError
from mvgen.files import write_text

Made = TypeVar("Made")


@dataclass(frozen=True)
class Programme:
    """What is to be performed: clip ``i`` is performance ``i`` of the seed, on the instruments in turn.

    Attributes:
        clips: how many.
        seed: of everything.
        instruments: names, in the order in which they take turns.
        seconds: length of each clip.
        split: "train" or "test" for all clips; None: by ``test_percent``, or left to conversion where that is None too.
        test_percent: share of clips that a hash of their source id sends to the test split.
        change: what is changed that training never sees (:mod:`data_prep.recital.changes`); empty: nothing.
        lamps: whether what sounds lights up.
        footage: whether it is filmed as people film, or by a camera on its stand before a bare floor.
        repertoire: "music21": what is played are excerpts of its corpus; empty: it is composed.
        soundfont: a SoundFont file that plays instead of TimGM6mb; empty: that.
    """

    clips: int
    seed: int = 0
    instruments: tuple[str, ...] = INSTRUMENTS
    seconds: float = 6.0
    split: str | None = None
    test_percent: float | None = None
    change: str = ""
    lamps: bool = False
    footage: bool = False
    repertoire: str = ""
    soundfont: str = ""

    def score(self, index: int) -> Score:
        """Performance number ``index``."""
        instrument = self.instruments[index % len(self.instruments)]
        return compose(self.seed, index, instrument, self.seconds, change=self.change, lamps=self.lamps,
                       footage=self.footage,
            repertoire=self.repertoire,
            soundfont=self.soundfont)  # fmt: skip

    def split_for(self, source_id: str) -> str | None:
        """The split that a clip is forced into, if any."""
        if self.split is not None or self.test_percent is None:
            return self.split
        return split_of(source_id, self.test_percent)


def make_videos(programme: Programme, out: str | os.PathLike[str], workers: int) -> list[dict[str, Any]]:
    """Writes ``CLIP_ID.mp4`` and ``CLIP_ID.mid`` for every clip and, when all are there, ``manifest.jsonl``.

    A Recital that lies in ``out`` already is replaced; other files there are left alone.

    Returns:
        The manifest's lines.

    Raises:
        UserError: the folder cannot be written or holds records.
    """
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / DESCRIPTION_FILE).exists():
            raise UserError(f"{folder} is a folder of records; name another with --out")
        _remove_old(folder)
        make = partial(_video, programme, os.fspath(folder))
        with _workers(workers, programme.clips) as pool:
            lines = list(_each(make, programme.clips, workers, pool))
        write_text(folder / MANIFEST_FILE, "".join(json.dumps(line) + "\n" for line in lines))
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror or error}") from None
    return lines


def _remove_old(folder: Path) -> None:
    """Removes the clips of an earlier Recital, manifest first, so that a manifest never lists what is not there."""
    (folder / MANIFEST_FILE).unlink(missing_ok=True)
    ours = re.compile(rf"({'|'.join(INSTRUMENTS)})-\d{{5,}}\.(mp4|mid)|\.({'|'.join(INSTRUMENTS)})-\d+\.partial-.*")
    for path in folder.iterdir():
        if ours.fullmatch(path.name):
            path.unlink()


def _video(programme: Programme, folder: str, index: int) -> dict[str, Any]:
    line = write_clip(programme.score(index), folder)
    split = programme.split_for(line["source_id"])
    return line if split is None else line | {"split": split}


def make_records(
    programme: Programme,
    out: str | os.PathLike[str],
    workers: int,
    codec: str = "encodec_tiny",
    frame_size: tuple[int, int] = (64, 64),
    flow_size: tuple[int, int] = (16, 16),
) -> dict[str, int]:
    """Writes the clips as a folder of records, as ``data_prep convert`` would from the videos, with no video between.

    The picture is filmed at 25 frames a second on mvgen's clock; the sound is played at the clip's own sampling rate
    and resampled once, so that records made here and records made from the videos are alike.

    Returns:
        Records in each split.

    Raises:
        UserError: the codec cannot be loaded, or the folder cannot be written.
    """
    from data_prep.extract.tokens import weights_hash

    settings = {
        "source": "recital",
        "clips": programme.clips,
        "seed": programme.seed,
        "instruments": list(programme.instruments),
        "seconds": programme.seconds,
        "test_percent": programme.test_percent,
        "split": programme.split,
        "flow_method": "dis",
    }
    if programme.change:
        settings["change"] = programme.change
    if programme.lamps:
        settings["lamps"] = True
    if programme.footage:
        settings["footage"] = True
    if programme.repertoire:
        settings["repertoire"] = programme.repertoire
    if programme.soundfont:
        settings["soundfont"] = os.path.basename(programme.soundfont)
    manifest: list[dict[str, Any]] = []

    def records(pool: ProcessPoolExecutor | None) -> Iterator[tuple[str, Record]]:
        make = partial(_record, programme, codec, frame_size, flow_size)
        for line, record in _each(make, programme.clips, workers, pool):
            split = programme.split_for(line["source_id"]) or "train"
            manifest.append(line | {"status": "used", "reason": "", "path": "", "split": split, "records": 1})
            yield split, record

    try:
        imports = ("torch", "transformers.models.encodec", "mvgen.media")
        with _workers(workers, programme.clips, imports) as pool:
            # A worker tells, so that this process need not load what it does not use.
            codebooks, codebook_size = _ask(pool, _codebooks, codec)
            spec = RecordSpec(codebooks, codebook_size, frame_size, flow_size, codec=codec, landmarks=LANDMARKS)
            made = made_by(codec, weights_hash(codec), settings)
            return write_records(out, records(pool), spec, made, manifest)
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror or error}") from None


def _record(
    programme: Programme, codec: str, frame_size: tuple[int, int], flow_size: tuple[int, int], index: int
) -> tuple[dict[str, Any], Record]:
    return record_of(programme.score(index), codec, frame_size, flow_size)


def record_of(
    score: Score, codec: str, frame_size: tuple[int, int] = (64, 64), flow_size: tuple[int, int] = (16, 16)
) -> tuple[dict[str, Any], Record]:
    """The manifest's line of a performance, and its record (:mod:`mvgen.data.records`)."""
    from mvgen.media import frames_and_flow, working_size
    from mvgen.media.sound import resample

    frames = whole_frames(score.seconds)
    times = recorded(score, frame_centres(frames).astype(np.float64))
    working = working_size(frame_size)
    filmed = frames_of(score, times, working)
    if score.footage:
        filmed = compressed(filmed, working, medium_of(score).crf)
    pixels, flow = frames_and_flow(filmed, frame_size, flow_size)
    rate = medium_of(score).sample_rate
    sound = resample(play(score, rate), rate, CODEC_SAMPLE_RATE)
    samples = samples_of(frames, CODEC_SAMPLE_RATE)
    sound = np.pad(sound[:samples], (0, max(0, samples - len(sound))))
    end = frames / 25
    notes = [(n.onset, min(n.offset, end), n.pitch) for n in score.notes if n.onset < end]
    record: Record = {
        "clip_id": score.clip_id,
        "source_id": score.source_id,
        "labels": score.instrument,
        "start_seconds": np.float32(0),
        "tokens": _token_extractor(codec).extract(sound),
        "frames": pixels,
        "flow": flow,
        "landmarks": landmarks_of(score, times).astype(np.float16),
        "notes": np.array(notes, np.float32).reshape(-1, 3),
    }
    return manifest_line(score, None), record


@cache
def _token_extractor(codec: str) -> Any:
    import torch

    from data_prep.extract.tokens import TokenExtractor

    # The order in which threads add up changes the last bits, and now and then a code.
    torch.set_num_threads(1)
    return TokenExtractor(codec)


def _codebooks(codec: str) -> tuple[int, int]:
    """How many, and their entries."""
    tokens = _token_extractor(codec)
    return tokens.codebooks, tokens.codebook_size


@contextmanager
def _workers(workers: int, clips: int, preload: tuple[str, ...] = ()) -> Iterator[ProcessPoolExecutor | None]:
    """So many processes; None where this one does the work itself."""
    workers = min(workers, clips)
    if workers <= 1:
        cv2.setNumThreads(1)
        yield None
        return
    # Forked from a server that has done the long imports and nothing else.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, *preload])
    pool = ProcessPoolExecutor(workers, context, initializer=_begin_worker)
    try:
        yield pool
    except BrokenProcessPool:
        raise UserError("a worker process was killed, perhaps for want of memory; try fewer with --workers") from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _ask(pool: ProcessPoolExecutor | None, function: Callable[..., Made], *arguments: Any) -> Made:
    return function(*arguments) if pool is None else pool.submit(function, *arguments).result()


def _each(make: Callable[[int], Made], clips: int, workers: int, pool: ProcessPoolExecutor | None) -> Iterator[Made]:
    """``make(0) .. make(clips - 1)`` in order, under a progress bar."""
    made = map(make, range(clips)) if pool is None else _in_order(pool, make, clips, ahead=4 * workers)
    yield from tqdm(made, total=clips, unit="clip", desc="Recital", dynamic_ncols=True)


def _in_order(pool: ProcessPoolExecutor, make: Callable[[int], Made], clips: int, ahead: int) -> Iterator[Made]:
    """Results in order, with only so many clips begun before they are asked for: memory stays flat."""
    waiting = [pool.submit(make, index) for index in range(min(ahead, clips))]
    for index in range(clips):
        result = waiting.pop(0).result()
        if index + ahead < clips:
            waiting.append(pool.submit(make, index + ahead))
        yield result


def _begin_worker() -> None:
    """In each worker: one thread, since there is a worker for each core, and an end when its parent ends."""
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C is for the parent to answer
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
