"""The training loop: data in, steps, reports, evaluations, checkpoints; and the losses of a checkpoint.

A run is a function of its configuration and its records alone. Step ``n`` sees examples ``n * batch`` and following,
and the randomness of key ``n``; so one that was stopped anyhow (SIGTERM, SIGKILL, power) and started again with the
same command ends with the same bits as one that was not.
"""

from __future__ import annotations

import math
import os
import runpy
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from mvgen import clock
from mvgen.data import loader
from mvgen.data.camera import Reach
from mvgen.data.records import RecordSource, RecordSpec
from mvgen.data.records import read_description as read_records
from mvgen.errors import UserError
from mvgen.files import locked, preset
from mvgen.models.attention_maps import Maps
from mvgen.training import sharding
from mvgen.training.checkpoint import (
    CONFIG_FILE,
    Checkpoints,
    check_same_model,
    find,
    is_run,
    load_params,
    saved_steps,
    trained_params,
    write_description,
)
from mvgen.training.compilation import keep_compiled
from mvgen.training.logger import Progress
from mvgen.training.optimizer import learned_parts
from mvgen.training.step import Metrics, Params, Program, TrainState, build

LOCK_FILE = "run.lock"
"""In the working folder while a run is at work there; the first host holds it."""
STOPPED_BY_SIGNAL = 128 + signal.SIGTERM
"""Exit status of a run that SIGTERM stopped; its checkpoint is written."""


def train(config: ConfigDict, workdir: str | Path) -> int:
    """Trains to ``config.train.steps``, going on from the newest checkpoint in ``workdir`` if there is one.

    Returns:
        Exit status: 0 when the run is complete, ``STOPPED_BY_SIGNAL`` when SIGTERM ended it early.

    Raises:
        UserError: something in the configuration, the records or the working folder that the user can mend.
    """
    workdir = Path(workdir)
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

    with ExitStack() as stack:
        try:
            workdir.mkdir(parents=True, exist_ok=True)
            if leader:
                # Two runs in one folder would overwrite each other's checkpoints and reports.
                stack.enter_context(locked(workdir / LOCK_FILE, f"--workdir {workdir}", "name another --workdir"))
                write_description(workdir, config, description)
        except OSError as error:
            raise UserError(f"cannot write to the --workdir {workdir}: {error.strerror}") from None
        checkpoints = Checkpoints(workdir, config.train.keep_checkpoints)
        stack.callback(checkpoints.close)
        first = checkpoints.latest() or 0
        if first >= config.train.steps:
            print(f"{workdir} is complete: {first} of {config.train.steps} steps", file=sys.stderr)
            return 0
        if leader:
            _announce(program, windows, held_out, first, config)
        stopped = stack.enter_context(_sigterm())
        # Compiling takes long: the step's program beside that of the first state, the others when those are there, one
        # after another beside the first steps. All at once they took three times the memory, and the first step waited
        # for the last.
        pool = ThreadPoolExecutor(1)
        stack.callback(pool.shutdown, cancel_futures=True)
        compiling = pool.submit(compile_step, config, program, windows)
        state, position = start(program, checkpoints, len(windows), weights)
        weights = None  # host memory
        advance = compiling.result()
        judge = pool.submit(compile_evaluation, config, program, held_out) if held_out else None
        attend = pool.submit(compile_attention, config, program, held_out) if held_out else None
        examples = batches_of(config, windows, position["next_example"])
        stack.callback(examples.close)
        progress = None
        if leader:
            progress = Progress(
                workdir,
                config.train.steps,
                first_step=first,
                seconds=position["seconds"],
                batch_size=config.data.batch_size,
                log_every=config.train.log_every,
            )
            stack.callback(progress.close)
        # Every transfer in the loop is one that we wrote: one made by accident would cost each step dearly.
        stack.enter_context(jax.transfer_guard("disallow"))

        pending: tuple[int, sharding.Arrays] | None = None
        for step in range(first + 1, config.train.steps + 1):
            state, metrics = advance(state, sharding.put_batch(next(examples), program.batch_sharding))
            # The numbers of the step before are fetched while this one runs, so that the device never waits for us.
            _report(progress, pending)
            pending = (step, metrics)
            position["next_example"] += config.data.batch_size
            last = _should_stop(stopped, step) or step == config.train.steps
            due = judge is not None and (step % config.train.eval_every == 0 or step == config.train.steps)
            if not (last or due or step % config.train.checkpoint_every == 0):
                continue
            _report(progress, pending)
            pending = None
            with progress.pause() if progress else nullcontext():
                if due and judge is not None and held_out is not None:
                    scores = held_out_losses(config, program, judge.result(), state.ema, held_out)
                    assert attend is not None
                    maps = held_out_attention(config, program, attend.result(), state.ema, held_out)
                    if progress:
                        progress.evaluation(step, scores)
                        progress.attention(step, maps)
                if last or step % config.train.checkpoint_every == 0:
                    position["seconds"] = progress.seconds if progress else 0.0
                    checkpoints.save(step, state, position)
            if last:
                break
        if step < config.train.steps and progress:
            progress.say(f"stopped by SIGTERM after step {step}; the same command goes on from there")
    return 0 if step == config.train.steps else STOPPED_BY_SIGNAL


def starting_params(config: ConfigDict, program: Program, spec: RecordSpec) -> Params | None:
    """What ``config.init_from`` gives a new run, in host memory: another run's parameters, or a MusicGen's decoder.

    Raises:
        UserError: it does not fit the model or the records.
    """
    if config.init_from and is_run(config.init_from):
        return trained_params(config.init_from, program.abstract.params, spec)
    return program.read_start()


def evaluate(config: ConfigDict, workdir: str | Path) -> dict[str, float]:
    """Losses of the newest checkpoint in ``workdir`` (averaged parameters) on held-out records.

    All is as the run was configured; of ``config`` only ``data.path`` (where given), ``data.eval_split`` and
    ``train.eval_batches`` are taken.

    Returns:
        Name to value, and ``step``.

    Raises:
        UserError: no checkpoint there, or the records are not such as it was trained on.
    """
    _, step = find(workdir)
    _, params, run, trained_on = load_params(workdir)
    run.data.path = config.data.path or run.data.path
    run.data.eval_split, run.train.eval_batches = config.data.eval_split, config.train.eval_batches
    check_config(run)
    spec = RecordSpec.from_json(read_records(run.data.path)["spec"])
    if spec != RecordSpec.from_json(trained_on["spec"]):
        raise UserError(f"{run.data.path} holds {spec}, and {workdir} was trained on {trained_on['spec']}")
    program = prepare(run, spec)
    windows = open_windows(run, run.data.eval_split)
    params = jax.tree.map(lambda x, like: jax.device_put(x, like.sharding), params, program.abstract.ema)
    return {"step": step, **held_out_losses(run, program, program.evaluate, params, windows)}


@cache
def bounds() -> dict[str, tuple[float, float]]:
    """Smallest and largest value of every number of a configuration, as ``configs/base.py`` says them."""
    return runpy.run_path(os.fspath(preset("base")))["BOUNDS"]


def check_config(config: ConfigDict) -> None:
    """Raises ``UserError`` for a value that no run can have. What the model is built from is checked by the model."""
    if not config.data.path:
        raise UserError("--config.data.path=DIR is missing: the folder of records to learn from")
    for name, (least, most) in bounds().items():
        section, _, field = name.rpartition(".")
        value = config[section].get(field, least) if section else config[field]  # older runs lack newer fields
        if not least <= value <= most or not math.isfinite(value):
            asked = f"at least {least}" if most == math.inf else f"between {least} and {most}"
            raise UserError(f"config.{name} is {value}; it must be {asked}")
    learned_parts(config)


def prepare(config: ConfigDict, spec: RecordSpec) -> Program:
    """The programs of a configuration on the mesh that it asks for."""
    keep_compiled(config.train.compilation_cache)
    mesh = sharding.make_mesh(**config.mesh.to_dict())
    sharding.check_batch(config.data.batch_size, mesh)
    return build(config, spec, mesh)


def open_windows(config: ConfigDict, split: str, camera: Reach | None = None) -> loader.Windows:
    """The windows of a split, as ``config.data`` and ``config.model`` ask for them; with a ``camera`` filmed anew."""
    spec = RecordSpec.from_json(read_records(config.data.path)["spec"])
    source = RecordSource(config.data.path, split, loader.used_features(spec, config.model))
    return loader.Windows(source, loader.window_frames(config.data.window_seconds), camera)


def batches_of(config: ConfigDict, windows: loader.Windows, first_example: int, shuffle: bool = True) -> loader.Batches:
    """This host's batches, from an example of the run on."""
    return loader.batches(
        windows,
        config.data.batch_size,
        config.seed,
        first_example=first_example,
        shuffle=shuffle,
        threads=config.data.threads,
        workers=config.data.workers if shuffle else 0,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )


def abstract_batch(config: ConfigDict, windows: loader.Windows, program: Program) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes, types and shardings of a batch, from one window."""
    window = windows.cut(int(windows.usable[0]), np.random.default_rng(0))
    size = config.data.batch_size
    return {
        name: jax.ShapeDtypeStruct((size, *array.shape), array.dtype, sharding=program.batch_sharding)
        for name, array in window.items()
    }


def compile_step(config: ConfigDict, program: Program, windows: loader.Windows) -> Any:
    """The compiled training step."""
    return program.step.lower(program.abstract, abstract_batch(config, windows, program)).compile()


def compile_evaluation(config: ConfigDict, program: Program, windows: loader.Windows) -> Any:
    """The compiled evaluation of held-out batches."""
    number = jax.ShapeDtypeStruct((), np.int32, sharding=NamedSharding(program.mesh, PartitionSpec()))
    return program.evaluate.lower(program.abstract.ema, abstract_batch(config, windows, program), number).compile()


def compile_attention(config: ConfigDict, program: Program, windows: loader.Windows) -> Any:
    """The compiled program of attention maps."""
    return program.attend.lower(program.abstract.ema, abstract_batch(config, windows, program)).compile()


def held_out_attention(
    config: ConfigDict, program: Program, attend: Callable[..., Maps], params: Params, windows: loader.Windows
) -> dict[str, np.ndarray]:
    """What attention looks at in a window of the first held-out record: always the same one."""
    window = windows.cut(int(windows.usable[0]), np.random.default_rng(0))
    size = config.data.batch_size // jax.process_count()
    batch = {name: np.repeat(array[None], size, axis=0) for name, array in window.items()}
    return jax.device_get(attend(params, sharding.put_batch(batch, program.batch_sharding)))


def start(
    program: Program, checkpoints: Checkpoints, records: int, weights: Params | None = None
) -> tuple[TrainState, dict[str, Any]]:
    """State and position of the newest checkpoint, or of a new run (``weights``: what ``config.init_from`` gave).

    The position is JSON: ``next_example`` of the endless run, ``seconds`` that the run has taken, and the number of
    ``records``, whose order would change with it.
    """
    step = checkpoints.latest()
    if step is None:
        return program.init(weights), {"next_example": 0, "seconds": 0.0, "records": records}
    state, position = checkpoints.restore(step, program.abstract)
    if position["records"] != records:
        print(f"warning: there were {position['records']} records, now there are {records}; their order is another",
              file=sys.stderr)  # fmt: skip
    return state, {**position, "records": records}


def held_out_losses(
    config: ConfigDict, program: Program, judge: Callable[..., Metrics], params: Params, windows: loader.Windows
) -> dict[str, float]:
    """Mean of every metric over ``config.train.eval_batches`` batches: always the same windows and the same noise.

    ``judge`` is ``program.evaluate``, or the same compiled beforehand.
    """
    examples = batches_of(config, windows, first_example=0, shuffle=False)
    everywhere = NamedSharding(program.mesh, PartitionSpec())
    scores = []
    for number in range(config.train.eval_batches):
        batch = sharding.put_batch(next(examples), program.batch_sharding)
        scores.append(judge(params, batch, jax.device_put(np.int32(number), everywhere)))
    examples.close()
    fetched = jax.device_get(scores)
    return {name: float(np.mean([score[name] for score in fetched])) for name in fetched[0]}


def _report(progress: Progress | None, pending: tuple[int, sharding.Arrays] | None) -> None:
    """Fetches the numbers of a step that has been sent off and tells them."""
    if pending is not None:
        step, metrics = pending[0], jax.device_get(pending[1])
        if progress:
            progress.update(step, {name: float(value) for name, value in metrics.items()})


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


def _should_stop(stopped: threading.Event, step: int) -> bool:
    """Whether to stop after this step; where there are several hosts, all of them agree on the step."""
    if jax.process_count() > 1:
        return multihost_utils.reached_preemption_sync_point(step)
    return stopped.is_set()
