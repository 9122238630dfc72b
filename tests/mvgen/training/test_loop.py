"""Tests of the training loop: killed and resumed equals never stopped, steps that are not finite change nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from ml_collections import ConfigDict

from configs.base import get_config
from mvgen.errors import UserError
from mvgen.files import locked
from mvgen.training import held_out, loop, sharding, step
from mvgen.training.history import read_history
from mvgen.training.logger import Progress
from mvgen.training.optimizer import make_schedule
from tests.mvgen.synthetic import CONFIGS, SPEC, tiny, write_records
from tests.mvgen.training import stand_in as stand_in_for_mvgen


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of several lengths."""
    return write_records(tmp_path_factory.mktemp("records"), {"train": [12, 20, 30, 15, 40, 5], "test": [12, 25]})


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, records: Path) -> ConfigDict:
    """The loop with a model that compiles at once, and the debug configuration for it."""

    stand_in_for_mvgen.install(monkeypatch.setattr)
    return tiny(records)


def final(workdir: Path, number: int) -> Any:
    """Everything in a checkpoint, as NumPy arrays."""
    return ocp.StandardCheckpointer().restore(workdir / "checkpoints" / str(number) / "state")


def assert_same_end(one: Path, other: Path, number: int) -> None:
    """Bit for bit the same parameters, averages and optimizer state, and the same reports but for the time taken."""
    jax.tree.map(np.testing.assert_array_equal, final(one, number), final(other, number))
    timing = ("seconds", "examples_per_second")
    lines = [[{k: v for k, v in line.items() if k not in timing} for line in read_history(d)] for d in (one, other)]
    for left, right in zip(*lines, strict=True):
        # A window of steps that was cut by a stop is reported from where it was taken up again.
        assert left["step"] == right["step"]
    assert lines[0][-1] == lines[1][-1]


@pytest.mark.parametrize("how", ["SIGTERM", "crash"])
def test_stopped_and_resumed_equals_straight(
    stand_in: ConfigDict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    stand_in.train.steps = 11
    assert loop.train(stand_in, tmp_path / "straight") == 0
    told = Progress.update

    def interrupt(self: Progress, number: int, metrics: Any) -> None:
        told(self, number, metrics)
        if number == 7 and how == "SIGTERM":
            os.kill(os.getpid(), signal.SIGTERM)
        elif number == 7:
            raise RuntimeError("pulled the plug")

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "update", interrupt)
        if how == "SIGTERM":
            assert loop.train(stand_in, tmp_path / "stopped") == loop.STOPPED_BY_SIGNAL == 143
            assert (tmp_path / "stopped" / "checkpoints" / "8").is_dir()
        else:
            with pytest.raises(RuntimeError):
                loop.train(stand_in, tmp_path / "stopped")
    assert loop.train(stand_in, tmp_path / "stopped") == 0
    assert_same_end(tmp_path / "straight", tmp_path / "stopped", 11)
    history = read_history(tmp_path / "stopped")
    assert [line["step"] for line in history if "loss" in line] == [2, 4, 6, 8, 10, 11]
    assert [line["step"] for line in history if "eval/loss" in line] == [3, 6, 9, 11]
    seconds = [line["seconds"] for line in history if "seconds" in line]
    assert seconds == sorted(seconds) and all(line["examples_per_second"] > 0 for line in history if "loss" in line)
    assert list((tmp_path / "stopped" / "tensorboard").iterdir())
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert loop.train(stand_in, tmp_path / "stopped") == 0  # complete: nothing more happens


def test_evaluation_is_always_the_same_and_uses_the_average(stand_in: ConfigDict, tmp_path: Path) -> None:
    loop.train(stand_in, tmp_path)
    scores = held_out.evaluate(stand_in, tmp_path)
    assert scores == held_out.evaluate(stand_in, tmp_path) and scores["step"] == 6
    assert scores["loss"] == pytest.approx(read_history(tmp_path)[-1]["eval/loss"], rel=1e-6)


def test_a_step_that_is_not_finite_changes_nothing_but_the_count(stand_in: ConfigDict) -> None:
    program = step.build(stand_in, SPEC, sharding.make_mesh(devices=jax.devices()[:1]))
    batch = next(loop.batches_of(stand_in, loop.open_windows(stand_in, "train"), 0))
    good = sharding.put_batch(batch, program.batch_sharding)
    bad = sharding.put_batch({**batch, "flow": batch["flow"] * np.float16("nan")}, program.batch_sharding)
    before, _ = program.step(program.init(), good)
    kept = jax.tree.map(np.asarray, before)
    after, metrics = program.step(before, bad)
    jax.tree.map(np.testing.assert_array_equal, (kept.params, kept.ema, kept.opt_state.inner_state),
                 (after.params, after.ema, after.opt_state.inner_state))  # fmt: skip
    assert int(after.step) == 2 and int(metrics["skipped_steps"]) == 1
    after, metrics = program.step(after, good)
    assert int(after.step) == 3 and int(metrics["skipped_steps"]) == 1 and np.isfinite(float(metrics["loss"]))


def test_a_frozen_part_stays_as_it_is_and_costs_no_optimizer_state(
    stand_in: ConfigDict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "learned_parts", lambda config: ("fc2",))
    program = step.build(stand_in, SPEC, sharding.make_mesh(devices=jax.devices()[:1]))
    batch = sharding.put_batch(
        next(loop.batches_of(stand_in, loop.open_windows(stand_in, "train"), 0)), program.batch_sharding
    )
    state = program.init()
    names = {sharding.path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(state.opt_state)}
    assert any("fc2" in name for name in names) and not any("fc1" in name for name in names)
    kept = jax.tree.map(np.asarray, state)
    for _ in range(3):
        state, _ = program.step(state, batch)
    for tree in ("params", "ema"):
        jax.tree.map(np.testing.assert_array_equal, getattr(kept, tree)["fc1"], getattr(state, tree)["fc1"])
        assert np.abs(np.asarray(getattr(state, tree)["fc2"]["kernel"]) - kept.params["fc2"]["kernel"]).max() > 0


def test_the_rate_warms_up_and_falls() -> None:
    config = get_config()
    config.optimizer.warmup_steps, config.train.steps = 10, 60
    rate, peak = make_schedule(config), config.optimizer.learning_rate
    assert rate(0) == 0 and rate(5) == pytest.approx(peak / 2) and rate(10) == pytest.approx(peak)
    assert rate(60) == pytest.approx(peak * config.optimizer.final_fraction) and rate(10) > rate(35) > rate(59)


def test_average_decay_and_rate_follow_the_configuration(stand_in: ConfigDict) -> None:
    stand_in.train.ema = 0.5
    program = step.build(stand_in, SPEC, sharding.make_mesh(devices=jax.devices()[:1]))
    batch = sharding.put_batch(
        next(loop.batches_of(stand_in, loop.open_windows(stand_in, "train"), 0)), program.batch_sharding
    )
    state = program.init()
    expected = jax.tree.map(np.asarray, state.ema)
    rates = []
    for number in range(6):
        state, metrics = program.step(state, batch)
        decay = min(0.5, (1 + number) / (10 + number))
        expected = jax.tree.map(lambda old, new, d=decay: d * old + (1 - d) * np.asarray(new), expected, state.params)
        rates.append(float(metrics["learning_rate"]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), expected, state.ema)
    peak = stand_in.optimizer.learning_rate
    assert rates[:3] == pytest.approx([0, peak / 2, peak]) and rates[2] > rates[3] > rates[5] > 0.05 * peak


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("data.path", "", "--config.data.path=DIR is missing"),
        ("data.path", "/nowhere", "not a folder of records"),
        ("train.steps", 0, "config.train.steps is 0; it must be at least 1"),
        ("loss.video_stretches", 0, "config.loss.video_stretches is 0; it must be at least 1"),
        ("loss.condition_dropout", 1.5, "config.loss.condition_dropout is 1.5; it must be between 0 and 1"),
        ("train.ema", 1.5, "between 0 and 1"),
        ("optimizer.learning_rate", float("nan"), "learning_rate is nan"),
        ("data.window_seconds", 9.0, "longest lasts 1.6 s"),
        ("data.eval_split", "validation", "no split 'validation'; it has train, test"),
        ("mesh.data", 64, "asks for 64 x 1 x 1 x 1 devices"),
    ],
)
def test_bad_values_are_one_clear_line(
    stand_in: ConfigDict, tmp_path: Path, field: str, value: Any, words: str
) -> None:
    stand_in.update_from_flattened_dict({field: value})
    with pytest.raises(UserError, match=words):
        loop.train(stand_in, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_another_model_in_the_same_folder_is_refused(stand_in: ConfigDict, tmp_path: Path) -> None:
    loop.train(stand_in, tmp_path)
    stand_in.model.width = 32
    with pytest.raises(UserError, match="config.model.width = 16, now it is 32"):
        loop.train(stand_in, tmp_path)


def test_two_runs_in_one_folder(stand_in: ConfigDict, tmp_path: Path) -> None:
    """The second says so; a lock file that a killed run left behind stops nobody."""
    (tmp_path / loop.LOCK_FILE).write_text("4321\n")
    with locked(tmp_path / loop.LOCK_FILE, "it", "go"):
        with pytest.raises(UserError, match=rf"another run \(process {os.getpid()}\) is writing --workdir"):
            loop.train(stand_in, tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == [loop.LOCK_FILE]
    loop.train(stand_in, tmp_path)
    assert (tmp_path / "checkpoints").is_dir() and not (tmp_path / loop.LOCK_FILE).exists()


def main(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs ``python -m mvgen.main``."""
    command = [sys.executable, "-m", "mvgen.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=CONFIGS.parent)


@pytest.mark.slow
def test_the_real_model_killed_and_resumed_by_the_command(records: Path, tmp_path: Path) -> None:
    def flags(name: str) -> list[str]:
        fields = {
            "data.path": records, "train.compilation_cache": tmp_path / "cache", "model.denoiser_patch": 8,
            "train.steps": 12,
            "train.checkpoint_every": 4, "train.eval_every": 0,
        }  # fmt: skip
        own = [f"--config={CONFIGS / 'debug.py'}", f"--workdir={tmp_path / name}"]
        return own + [f"--config.{field}={value}" for field, value in fields.items()]

    straight = main(*flags("straight"))
    assert straight.returncode == 0, straight.stderr[-3000:]
    assert "step 12/12  loss" in straight.stderr and "1 skipped as too short" in straight.stderr
    killed = subprocess.Popen(
        [sys.executable, "-m", "mvgen.main", *flags("killed")], cwd=CONFIGS.parent,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while killed.poll() is None and not (tmp_path / "killed" / "checkpoints" / "4").is_dir():
        time.sleep(0.01)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed" / "checkpoints" / "12").exists()
    resumed = main(*flags("killed"))
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    assert "going on after step" in resumed.stderr
    assert_same_end(tmp_path / "straight", tmp_path / "killed", 12)
    assert json.loads((tmp_path / "killed" / "config.json").read_text())["train"]["steps"] == 12


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--config=configs/debug.py", "--config.model.widht=3"], "widht"),
        (["--config=configs/debug.py", "--config.train.steps=many"], "many"),
        (["--config=configs/none.py"], "none.py"),
        (["--config=configs/debug.py", "stray"], "stray"),
        ([], "--config=NAME and --workdir=DIR are needed"),
    ],
)
def test_bad_flags_are_one_clear_line(tmp_path: Path, arguments: list[str], words: str) -> None:
    done = main(*arguments, *([f"--workdir={tmp_path / 'run'}"] if arguments else []))
    assert done.returncode == 2 and not (tmp_path / "run").exists()
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and words in line


def test_help_names_the_flags() -> None:
    done = main("--help")
    assert done.returncode == 0 and "--config" in done.stdout and "--workdir" in done.stdout
