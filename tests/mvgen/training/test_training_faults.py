"""Whatever dies, nothing is lost: signals, kills, damaged checkpoints and records, full disks, gradients of no use, and
a process of several that falls."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from ml_collections import ConfigDict

from mvgen.data.records import RecordSource
from mvgen.errors import UserError
from mvgen.training import distributed, goodput, loop
from mvgen.training.history import read_history
from mvgen.training.optimizer import USUAL_AFTER, without_spikes
from tests.mvgen.synthetic import tiny, write_records
from tests.mvgen.training import stand_in

PATIENCE = 120.0
"""Seconds that anything may take on a machine where others are at work."""


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_records(tmp_path_factory.mktemp("records"), {"train": [12, 20, 30, 15, 40, 18], "test": [12, 25]})


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, records: Path) -> ConfigDict:
    """The configuration of a run of the stand-in in this process: 12 steps, checkpoints at 4, 8 and 12."""
    stand_in.install(monkeypatch.setattr)
    config = tiny(records)
    config.train.steps, config.train.checkpoint_every, config.train.eval_every = 12, 4, 0
    return config


def until(true: Callable[[], Any], process: BaseProcess | None = None) -> None:
    """Waits for something; fails where it takes too long or the process has ended."""
    begun = time.monotonic()
    while not true():
        assert time.monotonic() - begun < PATIENCE, "it takes too long"
        assert process is None or process.is_alive(), f"the process has ended ({process.exitcode})"
        time.sleep(0.005)


def ended(process: BaseProcess) -> int | None:
    process.join(PATIENCE)
    return process.exitcode


def steps_in(workdir: Path) -> list[int]:
    folder = workdir / "checkpoints"
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit()) if folder.is_dir() else []


def end_of(workdir: Path, step: int) -> tuple[Any, Any]:
    """Everything in a checkpoint: parameters, average, optimizer; and the position in the data."""
    folder = workdir / "checkpoints" / str(step)
    position = json.loads((folder / "data" / "metadata").read_text())
    handler = ocp.PyTreeCheckpointHandler()
    # As NumPy arrays: this process need not have the devices that they were saved from.
    like = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), handler.metadata(folder / "state").tree)
    return handler.restore(folder / "state", args=ocp.args.PyTreeRestore(restore_args=like)), position["next_example"]


def assert_same_end(one: Path, other: Path, step: int) -> None:
    """Bit for bit."""
    (state, position), (other_state, other_position) = end_of(one, step), end_of(other, step)
    jax.tree.map(np.testing.assert_array_equal, state, other_state)
    assert position == other_position == 4 * step


# --- signals


def test_sigterm_saves_and_the_next_start_goes_on(records: Path, tmp_path: Path) -> None:
    fields = {"train.steps": 10**6, "train.checkpoint_every": 10**6, "train.eval_every": 0}
    process = stand_in.begin(records, tmp_path / "run", fields)
    until(lambda: (tmp_path / "run" / "metrics.jsonl").exists() and len(read_history(tmp_path / "run")) > 3, process)
    process.terminate()
    begun = time.monotonic()
    assert ended(process) == loop.STOPPED_BY_SIGNAL and time.monotonic() - begun < 30
    (step,) = steps_in(tmp_path / "run")
    told = (tmp_path / "run.err").read_text()
    assert f"stopped by SIGTERM after step {step}; the same command goes on" in told and "goodput " in told
    process = stand_in.begin(records, tmp_path / "run", fields)
    until(lambda: read_history(tmp_path / "run")[-1]["step"] > step, process)
    assert f"going on after step {step}" in (tmp_path / "run.err").read_text()
    process.kill()
    process.join()
    found = goodput.summary(tmp_path / "run")
    assert found["starts"] == 2 and 0 < found["goodput"] < 1 and found["train"] > 0 and found["compile"] > 0


def killed_often(records: Path, folder: Path, kills: int, steps: int) -> None:
    """A run that is killed so often, at random moments, ends as one that is not."""
    fields = {"train.steps": steps, "train.checkpoint_every": 3, "train.eval_every": 0, "train.log_every": 50}
    assert ended(stand_in.begin(records, folder / "straight", fields)) == 0
    chance = random.Random(kills)
    killed = 0
    while killed < kills:
        before = max(steps_in(folder / "killed"), default=0)
        process = stand_in.begin(records, folder / "killed", fields)
        until(lambda before=before: max(steps_in(folder / "killed"), default=0) > before, process)
        time.sleep(chance.uniform(0, 0.3))
        process.kill()
        if ended(process) == 0:
            break  # it was faster
        assert process.exitcode == -signal.SIGKILL
        killed += 1
    assert killed == kills, f"only {killed} kills: take more steps"
    assert ended(stand_in.begin(records, folder / "killed", fields)) == 0
    assert "damaged" not in (folder / "killed.err").read_text()
    assert_same_end(folder / "straight", folder / "killed", steps)
    assert goodput.summary(folder / "killed")["starts"] == kills + 1


def test_killed_at_random_moments_ends_the_same(records: Path, tmp_path: Path) -> None:
    killed_often(records, tmp_path, kills=2, steps=120)


@pytest.mark.slow
def test_killed_twenty_times_ends_the_same(records: Path, tmp_path: Path) -> None:
    killed_often(records, tmp_path, kills=20, steps=2500)


# --- checkpoints


def break_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """The next run in this process falls before that step."""
    take = loop._Run.take_step

    def falling(self: Any, stopped: Any) -> Any:
        if self.step == step - 1:
            raise RuntimeError("pulled the plug")
        return take(self, stopped)

    monkeypatch.setattr(loop._Run, "take_step", falling)


@pytest.fixture
def halfway(here: ConfigDict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[ConfigDict, Path]:
    """A run that fell at step 10 and has checkpoints of 4 and 8."""
    with monkeypatch.context() as patch:
        break_at(patch, 10)
        with pytest.raises(RuntimeError, match="pulled the plug"):
            loop.train(here, tmp_path / "run")
    assert steps_in(tmp_path / "run") == [4, 8]
    return here, tmp_path / "run"


def damage(folder: Path, how: str) -> None:
    """Spoils a checkpoint."""
    if how == "half":
        shutil.rmtree(folder / "state" / "d")
        return
    for path in sorted((folder / "state").rglob("d/*")):
        data = bytearray(path.read_bytes())
        if how == "cut":
            data = data[: len(data) // 2]
        else:  # one bit of every kilobyte: among them bits that the storage library does not check
            for place in range(40, len(data), 1000):
                data[place] ^= 1
        path.write_bytes(data)


@pytest.mark.parametrize("how", ["half", "cut", "bits"])
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_used(
    halfway: tuple[ConfigDict, Path], tmp_path: Path, how: str, capfd: pytest.CaptureFixture[str]
) -> None:
    config, workdir = halfway
    damage(workdir / "checkpoints" / "8", how)
    assert loop.train(config, workdir) == 0
    told = capfd.readouterr().err
    assert f"it is set aside as {workdir / 'damaged' / '8'}, step 4 is taken" in told
    assert (workdir / "damaged" / "8").is_dir() and steps_in(workdir) == [8, 12]
    assert loop.train(config, tmp_path / "straight") == 0
    assert_same_end(tmp_path / "straight", workdir, 12)


def test_without_an_earlier_one_nothing_is_moved(halfway: tuple[ConfigDict, Path]) -> None:
    config, workdir = halfway
    shutil.rmtree(workdir / "checkpoints" / "4")
    damage(workdir / "checkpoints" / "8", "cut")
    with pytest.raises(UserError, match="there is no earlier one; begin anew in another --workdir"):
        loop.train(config, workdir)
    assert steps_in(workdir) == [8]


def test_a_full_disk_is_waited_for(records: Path, tmp_path: Path) -> None:
    """Files may not grow for a while: the run goes on, says so, and saves when they may."""
    fields = {"train.steps": 10**6, "train.checkpoint_every": 20, "train.eval_every": 0, "train.log_every": 10}
    workdir, heard = tmp_path / "run", []
    os.mkfifo(tmp_path / "run.err")  # no file, so that it can be heard while files may not grow

    def listen() -> None:
        with open(tmp_path / "run.err") as pipe:
            heard.extend(iter(pipe.readline, ""))

    Thread(target=listen, daemon=True).start()
    process = stand_in.begin(records, workdir, fields)
    until(lambda: steps_in(workdir), process)
    assert process.pid is not None
    free = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (600, free[1]))
    until(lambda: sum("was not written" in line for line in heard) > 1, process)
    assert any("trying again" in line or "tried again" in line for line in heard)
    full = max(steps_in(workdir))
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, free)
    until(lambda: max(steps_in(workdir)) > full + 40, process)
    process.terminate()
    assert ended(process) == loop.STOPPED_BY_SIGNAL


# --- records


def spoil(records: Path, numbers: list[int], folder: Path) -> Path:
    """A copy of the records in which the data of some of the train split's is damaged."""
    copy = Path(shutil.copytree(records, folder))
    (file,) = RecordSource(copy, "train").files
    data = bytearray(Path(file.path).read_bytes())
    for number in numbers:
        data[int(file._offsets[number]) + 30] ^= 4
    Path(file.path).write_bytes(data)
    return copy


def test_a_damaged_record_is_passed_over_named_and_counted(
    here: ConfigDict, records: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    here.data.path = str(spoil(records, [1, 4], tmp_path / "spoilt"))
    assert loop.train(here, tmp_path / "run") == 0
    told = capfd.readouterr().err
    for number in (1, 4):
        assert f"record {number}: the CRC of its data does not match: passed over" in told
    assert told.count("passed over") == 2 and "(2 so far)" in told
    assert loop.train(here, tmp_path / "again") == 0
    assert_same_end(tmp_path / "run", tmp_path / "again", 12)
    here.data.bad_records = 1
    with pytest.raises(UserError, match="2 records are damaged and config.data.bad_records allows 1"):
        loop.train(here, tmp_path / "limited")


# --- gradients


def test_spikes_and_nan_are_left_out_and_poison_nothing() -> None:
    guard = without_spikes(optax.scale_by_adam(), factor=5.0)
    params = jnp.ones(3)
    update = jax.jit(guard.update)
    state = guard.init(params)
    for _ in range(USUAL_AFTER):
        _, state = update(params, state, params)
    kept = jax.tree.map(np.asarray, state)
    for bad in (jnp.nan, jnp.inf, 1e30, 6.0):
        moved, state = update(jnp.full(3, bad), state, params)
        assert (np.asarray(moved) == 0).all() and not state.last_finite
        jax.tree.map(np.testing.assert_array_equal, kept.inner_state, state.inner_state)
    assert int(state.notfinite_count) == int(state.total_notfinite) == 4
    assert np.isfinite(state.usual_norm) and float(state.usual_norm) < 1.3 * float(kept.usual_norm)
    moved, state = update(params, state, params)
    assert state.last_finite and int(state.notfinite_count) == 0 and (np.asarray(moved) != 0).all()
    left_out = 0
    for _ in range(100):  # gradients that stay six times as long are soon what is usual
        _, state = update(6 * params, state, params)
        left_out += not state.last_finite
    assert 0 < left_out < 10


def test_after_too_many_in_a_row_the_run_goes_back_and_on(
    here: ConfigDict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Steps 5 and 6 are told to have been left out: back to 4, on with the examples that come then."""
    here.train.rollback_after = 2
    tell, lied = loop._Run.tell, []

    def told(self: Any) -> Any:
        pending = self.pending
        found = dict(tell(self))
        if pending and pending[0] == 6 and not lied:
            lied.append(found)
            found["skipped_in_row"] = 2.0
        return found

    monkeypatch.setattr(loop._Run, "tell", told)
    assert loop.train(here, tmp_path / "run") == 0
    assert "2 steps in a row were left out up to step 7: back to step 4, and on with other examples" in (
        capfd.readouterr().err
    )
    assert end_of(tmp_path / "run", 12)[1] == 4 * (12 + 3)  # steps 5 to 7 were taken twice, with other examples
    assert [line["step"] for line in read_history(tmp_path / "run")] == [2, 4, 6, 8, 10, 12]


def test_gradients_that_never_are_finite_end_the_run(here: ConfigDict, tmp_path: Path) -> None:
    here.train.rollback_after = 2
    here.data.path = str(write_records(tmp_path / "records", {"train": [12, 20, 30], "test": [12]}, flow=float("nan")))
    with pytest.raises(UserError, match="not finite or far too large, again after 3 returns to step 0"):
        loop.train(here, tmp_path / "run")


# --- several processes


def test_two_processes_train_what_one_does_stop_together_and_go_on_as_one(records: Path, tmp_path: Path) -> None:
    """Two processes of two devices, sharded parameters; SIGTERM to one of them; then a single process goes on."""
    fields = {"train.steps": 40, "train.checkpoint_every": 10**6, "train.eval_every": 40, "mesh.fsdp": 2}
    assert ended(stand_in.begin(records, tmp_path / "one", {**fields, "mesh.fsdp": 1})) == 0
    two = stand_in.begin_two(records, tmp_path / "two", fields)
    assert [ended(process) for process in two] == [0, 0]
    (state, position), (other, other_position) = end_of(tmp_path / "one", 40), end_of(tmp_path / "two", 40)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), state, other)
    assert position == other_position == 160
    evaluated = [history_of(tmp_path / name)[-1]["eval/loss"] for name in ("one", "two")]
    assert evaluated[0] == pytest.approx(evaluated[1], rel=1e-5)

    endless = {**fields, "train.steps": 10**6}
    two = stand_in.begin_two(records, tmp_path / "stopped", endless)
    until(lambda: len(history_of(tmp_path / "stopped")) > 2, two[0])
    os.kill(two[1].pid or 0, signal.SIGTERM)  # to the second alone: both must stop after the same step
    assert [ended(process) for process in two] == [loop.STOPPED_BY_SIGNAL] * 2
    (step,) = steps_in(tmp_path / "stopped")
    assert end_of(tmp_path / "stopped", step)[1] == 4 * step
    alone = {**fields, "mesh.fsdp": 1, "train.steps": step + 5}
    assert ended(stand_in.begin(records, tmp_path / "stopped", alone)) == 0
    assert end_of(tmp_path / "stopped", step + 5)[1] == 4 * (step + 5)


def history_of(workdir: Path) -> list[dict[str, Any]]:
    return read_history(workdir) if (workdir / "metrics.jsonl").exists() else []


@pytest.mark.parametrize("dies", [0, 1])
def test_one_of_two_processes_dying_ends_the_other_with_a_reason(records: Path, tmp_path: Path, dies: int) -> None:
    fields = {"train.steps": 10**6, "train.checkpoint_every": 10, "train.eval_every": 0}
    two = stand_in.begin_two(records, tmp_path / "run", fields)
    until(lambda: steps_in(tmp_path / "run"), two[0])
    two[dies].kill()
    begun = time.monotonic()
    status = ended(two[1 - dies])
    assert status not in (None, 0) and time.monotonic() - begun < 2 * distributed.HEARTBEAT_SECONDS
    said = (tmp_path / f"run.err{'' if dies else 1}").read_text()
    if status == distributed.LOST_A_PEER:
        assert "another process has died, or cannot be reached" in said
    else:  # jax's own client was faster
        assert "coordination" in said.lower() or "distributed service" in said.lower()
