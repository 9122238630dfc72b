"""Training examples: windows cut out of records, shuffled, batched and read ahead, each host its own share.

The order of examples is a function of the seed alone: example ``n`` of the endless run is the same record and the same
window whatever the number of hosts, worker processes or threads, and however often the run was stopped. So the data
position of a run is one number, and resuming on another number of hosts goes on exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, TypeAlias

import grain
import numpy as np
from absl import flags

from mvgen import clock
from mvgen.data.camera import Reach, film_flow, film_frames, film_landmarks
from mvgen.data.note_rolls import note_rolls
from mvgen.data.records import Record, RecordSource, RecordSpec
from mvgen.errors import UserError

Batch = dict[str, np.ndarray]
"""Feature name to array with a leading batch axis: ``tokens`` int32 ``[batch, 2 time, codebooks]``, ``frames`` uint8
``[batch, time, height, width, 3]`` (or ``latents`` float16), and where
used ``flow`` float16 ``[batch, time, h, w, 2]``, ``semantic`` float16
``[batch, time, dim]``, and ``notes``, float16, the rolls of :mod:`mvgen.data.note_rolls`."""

Batches: TypeAlias = grain.DatasetIterator
"""An iterator of batches, with ``close``."""


def window_frames(seconds: float) -> int:
    """Frames of a window. Raises ``UserError`` when it is not a whole, positive number of frames."""
    frames = Fraction(seconds).limit_denominator(10**6) * clock.FRAME_RATE if math.isfinite(seconds) else Fraction(0)
    if frames <= 0 or frames.denominator != 1:
        raise UserError(
            f"config.data.window_seconds is {seconds}; it must be a positive multiple of 1/{clock.FRAME_RATE} s, "
            f"for example {max(1, round(frames)) / clock.FRAME_RATE:g}"
        )
    return int(frames)


def used_features(spec: RecordSpec, model: Any) -> tuple[str, ...]:
    """The features that training reads: tokens, frames or latents, and what ``config.model`` uses of the rest.

    Raises:
        UserError: the records hold no frames, and the film part is not to learn their latents.
    """
    latents = getattr(model, "use_latents", False)
    if spec.frame_size is None and not latents:
        raise UserError(
            "the records hold latents and no frames: set config.model.use_latents=True and use_frames=False, or "
            "convert again with frames"
        )
    features = ["tokens", "latents"] if latents else ["tokens", "frames"]
    if latents and model.use_frames and spec.frame_size:
        features.append("frames")
    if model.use_flow and spec.flow_size is not None:
        features.append("flow")
    if model.use_semantic and spec.semantic_dim:
        features.append("semantic")
    if spec.landmarks:  # what movement is planned of, whether or not the video tower sees it
        features.append("landmarks")
    return tuple(features)


class Windows:
    """Windows of one length, cut out of the records that are long enough.

    Args:
        source: random access over records; each record's features are aligned from its first frame.
        frames: length of a window.
        camera: how far from where it stood the camera of each example is drawn; ``None``: it stays.

    Attributes:
        usable: numbers of the records that hold at least one window, int64 ``[n]``.
        skipped: how many do not.

    Raises:
        UserError: no record is long enough.
    """

    def __init__(self, source: RecordSource, frames: int, camera: Reach | None = None):
        if camera and "latents" in (source.features or ()):
            raise UserError("latents cannot be filmed anew: set config.augment.zoom, turn and pan to 0")
        self.source, self.frames, self.camera = source, frames, camera
        lengths = source.frames
        self.usable = np.flatnonzero(lengths >= frames)
        self.skipped = len(lengths) - len(self.usable)
        if not len(self.usable):
            longest = f"the longest lasts {lengths.max() / clock.FRAME_RATE:g} s" if len(lengths) else "there are none"
            raise UserError(
                f"no record of split {source.split!r} in {source.folder} holds a window of "
                f"{frames / clock.FRAME_RATE:g} s ({longest}); set config.data.window_seconds or convert more videos"
            )

    def __len__(self) -> int:
        return len(self.usable)

    def draw(self, record: int, rng: np.random.Generator) -> tuple[float, ...]:
        """Draws a window of a record: the record's number, the window's first frame, and where a camera stands, if it
        is drawn (:data:`mvgen.data.camera.Place`). Reads nothing."""
        start = int(rng.integers(self.source.frames[record] - self.frames + 1))
        return (record, start, *self.camera.draw(rng)) if self.camera else (record, start)

    def read(self, places: tuple[Sequence[float] | np.ndarray, ...]) -> Batch:
        """Reads the windows of a batch, given as columns of what :meth:`draw` gives.

        Each record is read whole and its CRC checked, every time that a window of it is read.

        Raises:
            RecordError: a record cannot be trusted.
        """
        batch: Batch = {}
        rows = list(zip(*(np.asarray(column).tolist() for column in places), strict=True))
        for number, (record, start, *camera) in enumerate(rows):
            whole = self.source.view(int(record))
            start = int(start)
            labels = whole.pop("labels", "")
            for name, array in whole.items():
                scale = clock.tokens_of(1) if name == "tokens" else 1
                window = array[scale * start : scale * (start + self.frames)]
                if name == "notes":
                    window = note_rolls(array, labels, start, self.frames)
                if not number:
                    kept = np.int32 if name == "tokens" else window.dtype
                    batch[name] = np.empty((len(rows), *window.shape), kept)
                if camera and name == "frames":
                    window = film_frames(window, (*camera,))
                elif camera and name == "flow":
                    size = whole["frames"].shape[1:3]
                    window = film_flow(window, (*camera,), size)
                elif camera and name == "landmarks":
                    window = film_landmarks(window, (*camera,), whole["frames"].shape[1:3])
                # Out of the reader's memory straight to where the example stands in its batch: one copy.
                batch[name][number] = window
        return batch

    def cut(self, record: int, rng: np.random.Generator) -> Record:
        """Reads a window that starts at a random frame of a record."""
        return self._one(*self.draw(record, rng))

    def first(self, record: int) -> Record:
        """Reads the first window of a record."""
        return self._one(record, 0)

    def _one(self, *place: float) -> Record:
        return {name: array[0] for name, array in self.read(tuple([value] for value in place)).items()}


def batches(
    windows: Windows,
    batch_size: int,
    seed: int,
    *,
    first_example: int = 0,
    shuffle: bool = True,
    threads: int = 4,
    workers: int = 0,
    process_index: int = 0,
    process_count: int = 1,
) -> Batches:
    """Endless batches, read ahead; ``close`` ends the reading.

    Every record is used once before any is used again, in a new order each time and with a new window each time.
    Batches run over the ends of these rounds, so none is ever short.

    Args:
        windows: where examples come from.
        batch_size: examples of a step, over all hosts; this host gets its equal share.
        seed: of the order and of the windows.
        first_example: how many examples the run has used already, over all hosts.
        shuffle: whether the order is random (windows are in either case).
        threads: how many batches are read at once in each process.
        workers: loader processes; 0 reads in this one.
        process_index: this host.
        process_count: number of hosts.

    Raises:
        UserError: the batch does not divide among the hosts.
    """
    if batch_size <= 0 or batch_size % process_count:
        raise UserError(f"config.data.batch_size {batch_size} does not divide among {process_count} hosts")
    examples = grain.MapDataset.source(windows.usable.tolist()).seed(seed)
    if shuffle:
        examples = examples.shuffle()
    # The window is drawn before anything is sliced: its seed is the example's place in the whole run.
    examples = examples.repeat().random_map(windows.draw)
    # Each host's examples are neighbours, so that all of theirs together lie in a batch as those of one host would.
    mine = examples[first_example:].batch(batch_size // process_count)[process_index::process_count]
    # Only then is anything read, a batch at a time.
    mine = mine.map(windows.read)
    ahead = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(2, threads) if threads else 0)
    ready = mine.to_iter_dataset(ahead)
    if workers:
        if not flags.FLAGS.is_parsed():  # grain's worker processes ask absl for its flags
            flags.FLAGS.mark_as_parsed()
        ready = ready.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers))
    return iter(ready)
