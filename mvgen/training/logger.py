"""What a run tells while it goes: a progress line, TensorBoard, and ``metrics.jsonl``."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from tensorboardX import SummaryWriter
from tensorboardX.proto.summary_pb2 import Summary
from tqdm import tqdm

from mvgen.files import write_text
from mvgen.models.attention_maps import picture
from mvgen.training.history import METRICS_FILE, read_history
from mvgen.training.sample import Sample

SHOWN = ("loss", "align", "token_head", "music", "video")
"""The metrics that the progress line shows, of those there are."""
LATEST = ("learning_rate", "decoder_learning_rate", "skipped_steps", "skipped_in_row")
"""The metrics of which the last value is reported, not the mean."""


class Progress:
    """Reports a run. Create it on process 0 only.

    ``metrics.jsonl`` gets one line each ``log_every`` steps with ``step``, the mean of every metric over the steps
    since the line before, ``examples_per_second`` and ``seconds`` (of the whole run, over all its starts), and one line
    each evaluation with ``step`` and the metrics under ``eval/``. TensorBoard gets the same numbers.

    Args:
        workdir: where ``metrics.jsonl`` and the folder ``tensorboard`` are.
        steps: steps of the whole run.
        first_step: steps done by earlier starts; what was reported of later ones is dropped.
        seconds: what they took.
        batch_size: examples a step.
        log_every: steps between reports.
        stream: where the progress line goes, by default stderr. On a terminal it is one line that rewrites itself.
        clock: seconds since whenever, for tests.
    """

    def __init__(
        self,
        workdir: str | os.PathLike[str],
        steps: int,
        *,
        first_step: int = 0,
        seconds: float = 0.0,
        batch_size: int = 1,
        log_every: int = 10,
        stream: IO[str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        workdir = Path(workdir)
        self.steps, self.batch_size, self.log_every = steps, batch_size, log_every
        self._clock, self._stream = clock, stream or sys.stderr
        self._start = self._window_start = clock()
        self._seconds_before = seconds
        self._paused = self._paused_in_window = 0.0
        self._first_step = self._logged_step = first_step
        self._window: list[Mapping[str, float]] = []
        kept = [line for line in read_history(workdir) if line["step"] <= first_step]
        write_text(workdir / METRICS_FILE, "".join(json.dumps(line) + "\n" for line in kept))
        self._file = open(workdir / METRICS_FILE, "a", buffering=1)  # noqa: SIM115 (closed in close)
        self._board_folder = str(workdir / "tensorboard")
        self._board = SummaryWriter(self._board_folder, purge_step=first_step + 1 if first_step else None)
        self._bar = tqdm(
            total=steps, initial=first_step, desc="train", unit="step", file=self._stream, dynamic_ncols=True,
            disable=not self._stream.isatty(),
        )  # fmt: skip

    @property
    def seconds(self) -> float:
        """Time that the run has taken, over all its starts."""
        return self._seconds_before + self._clock() - self._start

    def update(self, step: int, metrics: Mapping[str, float]) -> None:
        """Takes the metrics of a finished step."""
        self._window.append(metrics)
        self._bar.update(1)
        if step % self.log_every and step != self.steps:
            return
        now = self._clock()
        elapsed = max(now - self._window_start - self._paused_in_window, 1e-9)
        line: dict[str, Any] = {"step": step, **_means(self._window)}
        line["examples_per_second"] = len(self._window) * self.batch_size / elapsed
        line["seconds"] = self.seconds
        working = now - self._start - self._paused
        left = (self.steps - step) * working / max(step - self._first_step, 1)
        self._record(line)
        text = self._text(line)
        self._bar.set_postfix_str(text)
        if self._bar.disable:
            print(f"step {step}/{self.steps}  {text}  {_duration(left)} left", file=self._stream, flush=True)
        self._window.clear()
        self._window_start, self._paused_in_window = now, 0.0

    def evaluation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Takes the metrics of an evaluation."""
        self._record({"step": step, **{f"eval/{name}": value for name, value in metrics.items()}})
        self.say(f"step {step}/{self.steps}  held out: {self._text(metrics)}")

    def attention(self, step: int, maps: Mapping[str, np.ndarray]) -> None:
        """Takes what attention looked at (:func:`mvgen.models.attention_maps.attention_maps`): pictures in
        TensorBoard."""
        for name, weights in maps.items():
            self._board.add_image(f"attention/{name}", picture(weights), step, dataformats="HWC")

    def sample(self, step: int, sample: Sample) -> None:
        """Takes what the model made of a held-out window: sounds and pictures in TensorBoard."""
        for name, shown in sample.pictures().items():
            self._board.add_image(f"sample/{name}", shown, step, dataformats="HWC")
        for name, sound in sample.sounds().items():
            value = Summary.Value(tag=f"sample/{name}", audio=sound)
            self._board.file_writer.add_summary(Summary(value=[value]), step)

    def say(self, text: str) -> None:
        """Prints a line beside the progress line."""
        tqdm.write(text, file=self._stream)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Leaves what happens inside (evaluation, checkpoints) out of the examples a second and the time left."""
        start = self._clock()
        yield
        spent = self._clock() - start
        self._paused += spent
        self._paused_in_window += spent

    def close(self) -> None:
        """Ends the progress line and the files."""
        self._bar.close()
        for file in (self._board, self._file):
            with suppress(OSError):  # a full disk: what is missing in a report must not end the run
                file.close()

    def _record(self, line: Mapping[str, Any]) -> None:
        finite = {name: value if math.isfinite(value) else None for name, value in line.items()}
        try:
            self._file.write(json.dumps(finite) + "\n")
            self._ready_board()
        except OSError as error:
            self.say(f"warning: the numbers of step {line['step']} are not kept: {error.strerror}")
            return
        for name, value in line.items():
            if name != "step" and math.isfinite(value):
                self._board.add_scalar(name if "/" in name else f"train/{name}", value, line["step"])

    def _ready_board(self) -> None:
        """Begins another file for TensorBoard where the thread that writes it has fallen: its queue would fill up, and
        then hold up the training.

        Raises:
            OSError: it cannot be written.
        """
        writer = getattr(self._board.file_writer, "event_writer", None)
        if writer is None or writer._worker.is_alive():
            return
        writer._event_queue.cancel_join_thread()
        self._board = SummaryWriter(self._board_folder)

    def _text(self, metrics: Mapping[str, float]) -> str:
        shown = [f"{name} {metrics[name]:.3f}" for name in SHOWN if name in metrics]
        if "examples_per_second" in metrics:
            shown.append(f"{metrics['examples_per_second']:.1f} examples/s")
        return "  ".join(shown)


def _means(window: list[Mapping[str, float]]) -> dict[str, float]:
    """Mean of every metric over the steps where it is finite; NaN where it never is."""
    means = {}
    for name in window[-1]:
        taken = window[-1:] if name in LATEST else window
        values = [float(metrics[name]) for metrics in taken if math.isfinite(metrics.get(name, math.nan))]
        means[name] = sum(values) / len(values) if values else math.nan
    return means


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{seconds:02d}s" if minutes else f"{seconds}s"
