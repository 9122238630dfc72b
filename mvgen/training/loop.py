"""The training loop: data in, steps, reports, evaluations, checkpoints.

A run is a function of its configuration and its records alone. Step ``n`` sees examples ``n * batch`` and following,
and the randomness of key ``n``; so one that was stopped anyhow (SIGTERM, SIGKILL, power) and started again with the
same command ends with the same bits as one that was not.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from mvgen import clock
from mvgen.data import loader
from mvgen.data.camera import Reach
from mvgen.data.records import RecordError, RecordSpec
from mvgen.data.records import read_description as read_records
from mvgen.errors import UserError
from mvgen.files import locked
from mvgen.training import distributed, goodput, sharding
from mvgen.training.checkpoint import (
    CONFIG_FILE,
    STORAGE_ERRORS,
    Checkpoints,
    check_same_model,
    is_run,
    saved_steps,
    trained_params,
    write_description,
)
from mvgen.training.early_stopping import EarlyStopping
from mvgen.training.held_out import held_out_attention, held_out_losses, held_out_sample
from mvgen.training.logger import Progress
from mvgen.training.optimizer import frozen_parts, learned_parts
from mvgen.training.preparation import (
    batches_of,
    check_config,
    compile_attention,
    compile_evaluation,
    compile_step,
    open_windows,
    prepare,
)
from mvgen.training.sample import Sampler
from mvgen.training.step import Params, Program, TrainState

LOCK_FILE = "run.lock"
"""In the working folder while a run is at work there; the first host holds it."""
STOPPED_BY_SIGNAL = 128 + signal.SIGTERM
"""Exit status of a run that SIGTERM stopped; its checkpoint is written."""
MOST_ROLLBACKS = 3
"""Returns to one and the same checkpoint, after which the run gives up."""
NOT_SAVED, STOP = 1, 2
"""What processes tell each other with each step: a checkpoint was not written, or stop now. The larger one holds."""
WISH = "wish"
"""The name of it among the step's metrics."""


def train(config: ConfigDict, workdir: str | Path, sampler: Sampler | None = None) -> int:
    """Trains to ``config.train.steps``, going on from the newest checkpoint in ``workdir`` if there is one.

    Where this is one process of several and something goes wrong, it does not return: it ends at once
    (:func:`mvgen.training.distributed.leave`).

    Args:
        config: the whole configuration.
        workdir: the working folder.
        sampler: plays and films a held-out window at each evaluation, where ``config.train.samples`` asks for it; not
            where there are several processes, of which none holds all parameters.

    Returns:
        Exit status: 0 when the run is complete, ``STOPPED_BY_SIGNAL`` when SIGTERM ended it early.

    Raises:
        UserError: something in the configuration, the records or the working folder that the user can mend.
    """
    workdir = Path(workdir)
    with ExitStack() as stack:
        try:
            return _train(config, workdir, sampler, stack)
        except Exception as error:
            if jax.process_count() > 1:  # before the rest is closed, which would wait for processes that may be gone
                distributed.leave(error)
            raise


def _train(config: ConfigDict, workdir: Path, sampler: Sampler | None, stack: ExitStack) -> int:
    """Sets up a run and takes its steps; ``stack`` closes what it opens."""
    check_config(config)
    description = read_records(config.data.path)
    spec = RecordSpec.from_json(description["spec"])
    program = prepare(config, spec)
    camera = Reach(config.augment.zoom, config.augment.turn, config.augment.pan)
    windows = open_windows(config, config.data.train_split, camera)
    held_out = open_windows(config, config.data.eval_split) if config.train.eval_every else None
    leader = jax.process_index() == 0
    if (workdir / CONFIG_FILE).is_file():
        check_same_model(workdir, config, description)
    # Before anything is written: weights that do not fit are an error of the command line.
    weights = None if saved_steps(workdir) else starting_params(config, program, spec)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        if leader:
            # Two runs in one folder would overwrite each other's checkpoints and reports.
            stack.enter_context(locked(workdir / LOCK_FILE, f"--workdir {workdir}", "name another --workdir"))
            write_description(workdir, config, description)
    except OSError as error:
        raise UserError(f"cannot write to the --workdir {workdir}: {error.strerror}") from None
    spent = goodput.Goodput(workdir if leader else None)
    newest = max(saved_steps(workdir), default=0)
    early = EarlyStopping(config.train.get("stop_after", 0), workdir, newest)
    checkpoints = Checkpoints(workdir, config.train.keep_checkpoints, early.best)
    stack.callback(checkpoints.close)
    newest = checkpoints.latest() or 0
    if newest >= config.train.steps or early.is_over():
        print(f"{workdir} is complete: {newest} of {config.train.steps} steps", file=sys.stderr)
        if leader and early.patience:
            print(early.summary(), file=sys.stderr)
        return 0
    if leader:
        _announce(program, windows, held_out, newest, config)
    # Compiling takes long: the step's program beside that of the first state, the others when those are there, one
    # after another beside the first steps. All at once they took three times the memory, and the first step waited for
    # the last.
    pool = ThreadPoolExecutor(1)
    stack.callback(pool.shutdown, cancel_futures=True)
    compiling = pool.submit(compile_step, config, program, windows)
    state, position = start(program, checkpoints, len(windows), weights)
    early.forget_after(int(state.step))  # a damaged checkpoint was set aside
    weights = None  # host memory
    spent.spent("init")
    spent.write(int(state.step), "start")
    run = _Run(config, workdir if leader else None, program, checkpoints, early, spent, state, position)
    stack.callback(run.close)
    run.sampler = sampler if config.train.get("samples") and jax.process_count() == 1 else None
    run.advance = compiling.result()
    spent.spent("compile")
    if held_out is not None:
        judge = pool.submit(compile_evaluation, config, program, held_out)
        run.held_out = (held_out, judge, pool.submit(compile_attention, config, program, held_out))
    share = sharding.share_of(program.batch_sharding, config.data.batch_size)
    run.examples = batches_of(config, windows, position["next_example"], share=share)
    run.report_from(run.step)
    # Until here SIGTERM ends the process at once: nothing is lost that was not on the disk.
    stopped = stack.enter_context(_sigterm())
    # Every transfer in the loop is one that we wrote: one made by accident would cost each step dearly.
    with jax.transfer_guard("disallow"):
        status = run.to_the_end(stopped)
    if leader and not status and early.patience:
        print(early.summary(), file=sys.stderr)
    return status


class _Run:
    """The steps of one start of a run: what they change, and what they tell."""

    advance: Callable[..., tuple[TrainState, sharding.Arrays]]
    """The compiled step."""
    examples: loader.Batches
    held_out: tuple[loader.Windows, Future[Any], Future[Any]] | None = None
    """Held-out windows and the programs for them, where there are to be evaluations."""
    sampler: Sampler | None = None
    """What plays and films one of them at each evaluation."""

    def __init__(
        self,
        config: ConfigDict,
        workdir: Path | None,
        program: Program,
        checkpoints: Checkpoints,
        early: EarlyStopping,
        spent: goodput.Goodput,
        state: TrainState,
        position: dict[str, Any],
    ):
        """``workdir``: where to report; ``None`` on all processes but the first."""
        self.config, self.workdir, self.program = config, workdir, program
        self.checkpoints, self.spent, self.state, self.position = checkpoints, spent, state, position
        self.early = early
        self.losses: list[float] = []  # of the training steps since the last evaluation
        self.step = int(state.step)
        self.pending: tuple[int, sharding.Arrays] | None = None
        self.retry_at = 0  # the step after which a checkpoint that could not be written is tried again; 0: none
        self.rollbacks: list[int] = []  # the steps that this start went back to
        self.progress: Progress | None = None
        self.wishes = distributed.Agreement(program.mesh) if jax.process_count() > 1 else None

    def to_the_end(self, stopped: threading.Event) -> int:
        """Takes all steps that are left, or those until SIGTERM or early stopping; returns the exit status."""
        train = self.config.train
        last = False
        if self.step == 0 and self.early.patience and self.config.init_from:
            with self.progress.pause() if self.progress else nullcontext():
                self.evaluate()
                self.save(last)
        while not last:
            told = self.take_step(stopped)
            if self.wishes:
                agreed = told.get(WISH, 0)
            else:
                agreed = STOP if stopped.is_set() else NOT_SAVED if self.not_saved() else 0
            if agreed == NOT_SAVED:
                self.retry_at = self.step + train.log_every
            last = agreed == STOP or self.step == train.steps
            due = self.held_out is not None and (self.step % train.eval_every == 0 or self.step == train.steps)
            save = last or self.step == self.retry_at or self.step % train.checkpoint_every == 0
            if due or save:
                told = self.tell()
                if told.get(WISH) == NOT_SAVED:
                    self.retry_at = self.step + train.log_every
            left_out = int(told.get("skipped_in_row", 0))
            if left_out >= train.get("rollback_after", left_out + 1) and agreed != STOP:
                self.roll_back(left_out)
                last = False
                continue
            with self.progress.pause() if self.progress else nullcontext():
                if due:
                    save = self.evaluate() or save
                    last = last or self.early.is_over()
                # What was left out may have been spoilt before: a state amid such steps is none to go back to.
                if last or save and not left_out:
                    self.save(last)
        if self.step == train.steps or agreed != STOP:
            return 0
        if self.progress:
            self.progress.say(f"stopped by SIGTERM after step {self.step}; the same command goes on from there")
        return STOPPED_BY_SIGNAL

    def take_step(self, stopped: threading.Event) -> Mapping[str, float]:
        """Sends off a step, and returns the metrics of the one before it."""
        self.step += 1
        with self.spent.on("data"):
            try:
                batch = sharding.put_batch(next(self.examples), self.program.batch_sharding)
            except RecordError as error:
                raise UserError(str(error)) from None
        self.state, metrics = self.advance(self.state, batch)
        if self.wishes:
            wish = STOP if stopped.is_set() else NOT_SAVED if self.not_saved() else 0
            metrics = {**metrics, WISH: self.wishes.ask(wish)}
        # The numbers of the step before are fetched while this one runs, so that the device never waits for us.
        told = self.tell()
        self.pending = (self.step, metrics)
        self.position["next_example"] += self.config.data.batch_size
        return told

    def tell(self) -> Mapping[str, float]:
        """Fetches the numbers of a step that has been sent off and reports them; empty where there is none."""
        if self.pending is None:
            return {}
        step, metrics = self.pending[0], jax.device_get(self.pending[1])
        self.pending = None
        told = {name: float(value) for name, value in metrics.items()}
        if self.early.patience:
            self.losses.append(told["loss"])
        if self.progress:
            self.progress.update(step, {name: value for name, value in told.items() if name != WISH})
            if step % self.config.train.log_every == 0:
                self.spent.spent("train")
                self.spent.write(step)
        return told

    def evaluate(self) -> bool:
        """Losses of the average on held-out records, and what attention looks at there.

        Returns:
            Whether early stopping keeps this state: none before had so low a loss.
        """
        assert self.held_out is not None
        windows, judge, attend = self.held_out
        with self.spent.on("evaluate"):
            scores = held_out_losses(self.config, self.program, judge.result(), self.state.ema, windows)
            maps = held_out_attention(self.config, self.program, attend.result(), self.state.ema, windows)
        better = self.early.take(self.step, scores["loss"], float(np.mean(self.losses)) if self.losses else np.nan)
        self.losses.clear()
        if self.progress:
            self.progress.evaluation(self.step, scores)
            if warning := self.early.warning():
                self.progress.say(f"warning: {warning}")
            self.progress.attention(self.step, maps)
            if self.sampler:
                with self.spent.on("evaluate"):
                    sample = held_out_sample(self.config, self.program, self.sampler, self.state.ema, windows)
                self.progress.sample(self.step, sample)
        return better

    def save(self, last: bool) -> None:
        """Saves a checkpoint; where that fails, says so, and has it tried again soon.

        Raises:
            UserError: it is the last, so that no later one can make good for it.
        """
        self.position["seconds"] = self.progress.seconds if self.progress else 0.0
        self.retry_at = 0
        with self.spent.on("save"):
            try:
                self.checkpoints.save(self.step, self.state, self.position)
                trouble = self.checkpoints.trouble(wait=last)
            except STORAGE_ERRORS as error:
                if self.wishes:  # the others wait for us in the midst of it
                    raise
                trouble = _first_line(error)
        if not trouble:
            return
        if last:
            kept = self.checkpoints.latest()
            raise UserError(
                f"the checkpoint of step {self.step} cannot be written ({trouble}); the same command goes on from "
                f"{'the beginning' if kept is None else f'step {kept}'} once there is room"
            )
        self.retry_at = self.step + self.config.train.log_every
        _warn(f"the checkpoint of step {self.step} was not written ({trouble}); trying again at step {self.retry_at}")

    def not_saved(self) -> bool:
        """Whether the newest checkpoint could not be written, asked without waiting for it; says so once."""
        trouble = self.checkpoints.trouble()
        if trouble:
            _warn(f"a checkpoint was not written ({trouble}); training goes on, and it is tried again soon")
        return bool(trouble)

    def roll_back(self, left_out: int) -> None:
        """Goes back to the newest checkpoint, and on from there with the examples that come next now.

        Raises:
            UserError: that has been done ``MOST_ROLLBACKS`` times from there, and did not help.
        """
        self.checkpoints.trouble(wait=True)
        with self.spent.on("init"), jax.transfer_guard("allow"):
            before = self.step
            self.pending = None
            self.state, _ = start(self.program, self.checkpoints, self.position["records"])
            guard = self.state.opt_state._replace(
                notfinite_count=jax.device_put(np.int32(0), self.state.opt_state.notfinite_count.sharding)
            )
            self.state = TrainState(self.state.step, self.state.params, self.state.ema, guard)
            self.step = int(self.state.step)
        self.early.forget_after(self.step)
        self.losses.clear()
        self.rollbacks.append(self.step)
        if self.rollbacks.count(self.step) > MOST_ROLLBACKS:
            raise UserError(
                f"{left_out} steps in a row had gradients that are not finite or far too large, again after "
                f"{MOST_ROLLBACKS} returns to step {self.step}: lower config.optimizer.learning_rate, or look at the "
                "records with `python -m data_prep inspect`"
            )
        _warn(f"{left_out} steps in a row were left out up to step {before}: back to step {self.step}, and on with "
              "other examples")  # fmt: skip
        self.spent.write(self.step, "rollback")
        self.report_from(self.step)

    def report_from(self, step: int) -> None:
        """Begins to report anew; what was reported of later steps is dropped."""
        if self.workdir is None:
            return
        seconds = self.progress.seconds if self.progress else self.position["seconds"]
        if self.progress:
            self.progress.close()
        config = self.config
        self.progress = Progress(
            self.workdir,
            config.train.steps,
            first_step=step,
            seconds=seconds,
            batch_size=config.data.batch_size,
            log_every=config.train.log_every,
        )

    def close(self) -> None:
        """Ends the reading and the reports."""
        if hasattr(self, "examples"):
            self.examples.close()
        if self.progress:
            self.progress.close()
        if self.workdir is not None:
            self.spent.spent("train")
            self.spent.write(self.step, "end")
            if found := goodput.summary(self.workdir):
                print(goodput.told(found), file=sys.stderr, flush=True)


def starting_params(config: ConfigDict, program: Program, spec: RecordSpec) -> Params | None:
    """What ``config.init_from`` gives a new run, in host memory: another run's parameters, or a MusicGen's decoder.

    A part that no loss reaches, and the note head, may be of another shape than it is there, or not there, and then
    begins anew; where some parts are frozen, so may all others.

    Raises:
        UserError: it does not fit the model or the records.
    """
    if config.init_from and is_run(config.init_from):
        frozen = frozen_parts(config)
        idle = set(program.abstract.params) - set(learned_parts(config))
        may = (*idle, "notes")  # no other part hangs on the note head
        anew = [part for part in program.abstract.params if part not in frozen and (frozen or part in may)]
        return trained_params(config.init_from, program.abstract.params, spec, anew)
    return program.read_start()


def start(
    program: Program, checkpoints: Checkpoints, records: int, weights: Params | None = None
) -> tuple[TrainState, dict[str, Any]]:
    """State and position of the newest checkpoint, or of a new run (``weights``: what ``config.init_from`` gave).

    The position is JSON: ``next_example`` of the endless run, ``seconds`` that the run has taken, and the number of
    ``records``, whose order would change with it.
    """
    found = checkpoints.restore_newest(program.abstract)
    if found is None:
        return program.init(weights), {"next_example": 0, "seconds": 0.0, "records": records}
    state, position = found
    if position["records"] != records:
        print(f"warning: there were {position['records']} records, now there are {records}; their order is another",
              file=sys.stderr)  # fmt: skip
    return state, {**position, "records": records}


def _announce(
    program: Program, windows: loader.Windows, held_out: loader.Windows | None, first: int, config: ConfigDict
) -> None:
    """Says on stderr what is about to be trained on what."""
    parameters = sum(x.size for x in jax.tree.leaves(program.abstract.params))
    mesh = " x ".join(f"{size} {axis}" for axis, size in program.mesh.shape.items())
    lines = [f"{parameters / 1e6:.2f} M parameters on {mesh} ({jax.devices()[0].device_kind}), {config.model.dtype}"]
    for found in (windows, held_out):
        if found is not None:
            skipped = f", {found.skipped} skipped as too short" if found.skipped else ""
            seconds = found.frames / clock.FRAME_RATE
            lines.append(f"{found.source.split}: {len(found)} records, windows of {seconds:g} s{skipped}")
    lines.append(f"going on after step {first}; compiling" if first else "compiling")
    print("\n".join(lines), file=sys.stderr, flush=True)


@contextmanager
def _sigterm() -> Iterator[threading.Event]:
    """An event that SIGTERM sets (only the main thread may listen; elsewhere it is never set)."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGTERM, before)


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr, flush=True)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
