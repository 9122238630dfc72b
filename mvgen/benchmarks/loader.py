"""How fast training examples come, beside what training takes and beside reading the bare files.

Two readings of the same shards. *From the disk*: the kernel is asked to forget the files, then they are read once, in
blocks and nothing else (raw), and once record by record in a shuffled order with every CRC checked and every feature
parsed (one round of :meth:`mvgen.data.records.RecordSource.view`). *Examples*: the loader of training itself
(:func:`mvgen.data.loader.batches`: shuffle, CRC, windows, batches, read ahead), for as long as asked, out of the page
cache, as in every round of training after the first where memory holds the records.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np

from mvgen.clock import tokens_of, whole_frames
from mvgen.data import loader
from mvgen.data.records import DATASET_NAME, DESCRIPTION_FILE, RecordSource, RecordSpec, encode_record, write_tfrecord

SPEC = RecordSpec(codebooks=4, codebook_size=512, frame_size=(64, 64), flow_size=(16, 16))
"""What `data_prep convert` makes by default."""
FEATURES = ("tokens", "frames", "flow")
"""What the base configuration reads of it."""
CONSUMED = 20.0
"""Examples a second that ``configs/base.py`` trains with on two cores: 8 to 17 in the README's run, rounded up."""
BLOCK = 1 << 20


def write_folder(folder: Path, records: int, seconds: float, shards: int = 4) -> None:
    """A folder of records of noise, as many bytes as real ones (nothing in them is compressed)."""
    rng = np.random.default_rng(0)
    frames = whole_frames(seconds)
    assert SPEC.frame_size and SPEC.flow_size
    flow_shape = (frames, *SPEC.flow_size, 2)
    pixels = rng.integers(0, 256, (frames, *SPEC.frame_size, 3), np.uint8)

    def record(number: int) -> bytes:
        return encode_record(
            {
                "clip_id": str(number),
                "source_id": str(number),
                "labels": "",
                "start_seconds": np.float32(0),
                "tokens": rng.integers(0, SPEC.codebook_size, (tokens_of(frames), SPEC.codebooks)).astype(np.int16),
                "flow": rng.normal(size=flow_shape).astype(np.float16),
                "frames": np.roll(pixels, number, axis=0),
                "notes": np.zeros((0, 3), np.float32),
            },
            SPEC,
        )

    for shard in range(shards):
        name = f"{DATASET_NAME}-train.tfrecord-{shard:05d}-of-{shards:05d}"
        write_tfrecord(folder / name, (record(number) for number in range(shard, records, shards)))
    described = {"spec": SPEC.to_json(), "made_by": {}, "splits": {"train": records}}
    (folder / DESCRIPTION_FILE).write_text(json.dumps(described))


def forget(paths: list[str]) -> None:
    """Asks the kernel to drop files from its page cache, where it knows how."""
    for path in paths:
        with open(path, "rb") as file:
            if hasattr(os, "posix_fadvise"):
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_raw(paths: list[str]) -> int:
    """Reads files from beginning to end in blocks of 1 MiB and does nothing with them; returns the bytes."""
    block = bytearray(BLOCK)
    total = 0
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            while count := file.readinto(block):
                total += count
    return total


def measure(folder: str, split: str, window: float, batch: int, threads: int, seconds: float) -> dict[str, float]:
    """Every figure of the command.

    Returns:
        ``raw``, ``checked``: bytes a second from the disk, bare and through :class:`RecordSource`; ``share`` of the
        two; ``raw_cached``: bare, out of the page cache; ``examples``: a second by the clock on the wall,
        ``examples_work`` for a second of CPU time; ``record_bytes``: mean size of a record.
    """
    source = RecordSource(folder, split, FEATURES)
    paths = [file.path for file in source.files]
    order = np.random.default_rng(0).permutation(len(source))
    best: dict[str, float] = {}
    size = 0
    for _ in range(3):  # the best of three: other processes can only slow it down
        forget(paths)
        began = time.perf_counter()
        size = read_raw(paths)
        raw = time.perf_counter() - began
        began = time.perf_counter()
        read_raw(paths)
        cached = time.perf_counter() - began
        forget(paths)
        began = time.perf_counter()
        for number in order:
            source.view(number)
        checked = time.perf_counter() - began
        for name, took in (("raw", raw), ("raw_cached", cached), ("checked", checked)):
            best[name] = max(best.get(name, 0.0), size / took)
    windows = loader.Windows(source, loader.window_frames(window))
    stream = loader.batches(windows, batch, seed=0, threads=threads)
    for _ in range(2 * threads + 2):  # what was read ahead meanwhile would count as speed
        next(stream)
    examples, began, work = 0, time.perf_counter(), time.process_time()
    while (took := time.perf_counter() - began) < seconds:
        next(stream)
        examples += batch
    spent = time.process_time() - work
    stream.close()
    return {**best, "share": best["checked"] / best["raw"], "examples": examples / took,
            "examples_work": examples / spent, "record_bytes": size / len(source)}  # fmt: skip


def lines(found: dict[str, float]) -> str:
    """What was measured, in words; ``found`` holds also ``consumed``, ``times`` and ``times_work``."""
    return (
        f"from the disk: {found['raw'] / 1e6:.0f} MB/s bare, {found['checked'] / 1e6:.0f} MB/s with every CRC checked, "
        f"shuffled: {found['share']:.0%} of it\n"
        f"out of the page cache: {found['raw_cached'] / 1e6:.0f} MB/s bare; training's loader gives "
        f"{found['examples']:.0f} examples a second ({found['examples_work']:.0f} for a second of CPU time), "
        f"{found['examples'] * found['record_bytes'] / 1e6:.0f} MB/s of records read and checked\n"
        f"{found['times']:.1f} times the {found['consumed']:g} examples a second that training takes; "
        f"{found['times_work']:.1f} times for a core of its own"
    )
