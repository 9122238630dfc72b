"""Early stopping: the best state is kept and taken, the run ends, stopped and resumed where it would have."""

from __future__ import annotations

import json
import math
import os
import runpy
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import pytest
from ml_collections import ConfigDict

import mvgen
from mvgen.data.records import RecordSpec
from mvgen.errors import UserError
from mvgen.files import preset
from mvgen.training import checkpoint, loop
from mvgen.training.history import Evaluation, by_heart, evaluations, lowest, read_history
from mvgen.training.logger import Progress
from mvgen.training.step import abstract_model
from tests.mvgen.synthetic import tiny, write_records
from tests.mvgen.training import stand_in as stand_in_for_mvgen

HELD_OUT = {0: 6.0, 2: 5.0, 4: 3.0, 6: 4.0, 8: 4.5, 10: 1.0}
"""By step, the held-out loss that a run is told: lowest at 4, and after that not before it has ended."""


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_records(tmp_path_factory.mktemp("records"), {"train": [12, 20, 30, 15], "test": [12, 25]})


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch, records: Path) -> ConfigDict:
    """A run of a model that compiles at once, evaluated every second step."""
    stand_in_for_mvgen.install(monkeypatch.setattr)
    config = tiny(records)
    config.train.steps, config.train.eval_every, config.train.checkpoint_every = 20, 2, 50
    config.train.keep_checkpoints, config.train.stop_after, config.train.log_every = 1, 2, 1
    return config


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Has runs told ``HELD_OUT`` from a step on."""

    def begin_at(step: int) -> None:
        left = iter([loss for at, loss in HELD_OUT.items() if at >= step])
        monkeypatch.setattr(loop, "held_out_losses", lambda *words: {"loss": next(left)})

    return begin_at


def test_it_ends_and_the_best_is_what_every_command_takes(
    config: ConfigDict, told: Callable[[int], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told(2)
    assert loop.train(config, tmp_path) == 0
    assert [each.step for each in evaluations(read_history(tmp_path))] == [2, 4, 6, 8]
    assert sorted(checkpoint.saved_steps(tmp_path)) == [4, 8]  # one is kept for what is newest, one for what is best
    assert checkpoint.find(tmp_path) == (tmp_path, 4)
    said = capsys.readouterr().err
    assert "held-out loss 3.000 at step 4 (kept, and used from here), 4.500 at step 8" in said and "--mode=eval" in said
    assert loop.train(config, tmp_path) == 0
    assert "is complete: 8 of 20 steps\nheld-out loss 3.000 at step 4" in capsys.readouterr().err
    config.train.stop_after = 0  # without it the newest is taken, as ever
    checkpoint.write_description(tmp_path, config, json.loads((tmp_path / "records.json").read_text()))
    assert checkpoint.find(tmp_path) == (tmp_path, 8)


def test_stopped_and_resumed_it_ends_where_it_would_have(
    config: ConfigDict, told: Callable[[int], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = Progress.update

    def interrupt(self: Progress, number: int, metrics: Any) -> None:
        update(self, number, metrics)
        if number == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    told(2)
    with monkeypatch.context() as patch:
        patch.setattr(Progress, "update", interrupt)
        assert loop.train(config, tmp_path) == loop.STOPPED_BY_SIGNAL
    assert max(checkpoint.saved_steps(tmp_path)) == 5
    told(6)
    assert loop.train(config, tmp_path) == 0
    assert sorted(checkpoint.saved_steps(tmp_path)) == [4, 8] and checkpoint.find(tmp_path)[1] == 4


def test_what_a_run_began_with_can_be_best(
    config: ConfigDict, told: Callable[[int], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    config.init_from = "another"
    monkeypatch.setattr(loop, "starting_params", lambda *words: {})
    monkeypatch.setitem(HELD_OUT, 0, 2.0)
    told(0)
    assert loop.train(config, tmp_path) == 0
    assert [each.step for each in evaluations(read_history(tmp_path))] == [0, 2, 4]
    assert checkpoint.find(tmp_path) == (tmp_path, 0)
    assert "held-out loss 2.000 before the first step, 2.000 at step 0 (what it began with" in capsys.readouterr().err


def test_it_needs_evaluations(config: ConfigDict, tmp_path: Path) -> None:
    config.train.eval_every = 0
    with pytest.raises(UserError, match="stop_after waits for evaluations: set config.train.eval_every"):
        loop.train(config, tmp_path / "run")


def test_learning_by_heart_is_training_loss_that_falls_while_held_out_loss_rises() -> None:
    best = Evaluation(2, 3.0, 4.0)
    said = by_heart([Evaluation(1, 5.0, 5.0), best, Evaluation(3, 3.5, 2.0)])
    assert "since step 2 the loss of training clips fell from 4.000 to 2.000" in said and "3.000 to 3.500" in said
    assert not by_heart([best, Evaluation(3, 3.5, 4.5)])  # both rose: it has lost its way
    assert not by_heart([best, Evaluation(3, 2.5, 2.0)]) and not by_heart([best]) and not by_heart([])


def test_evaluations_of_a_history() -> None:
    history = [
        {"step": 1, "loss": 4.0}, {"step": 2, "loss": 2.0}, {"step": 2, "eval/loss": 3.0},
        {"step": 3, "loss": None}, {"step": 4, "eval/loss": None},
    ]  # fmt: skip
    first, second = evaluations(history)
    assert first == (2, 3.0, 3.0)
    assert second.step == 4 and second.held_out == math.inf and math.isnan(second.training)
    assert lowest([first, second], {2, 4}) == 2 and lowest([first, second], {4}) is None


def test_the_preset_begins_with_the_model_that_comes_with_mvgen(capsys: pytest.CaptureFixture[str]) -> None:
    """Its space and music fit; the film part too where records hold Recital's landmarks, and begins anew elsewhere."""
    config = runpy.run_path(str(preset("finetune")))["get_config"]()
    told = json.loads((Path(mvgen.PRETRAINED) / "records.json").read_text())["spec"]
    wanted = abstract_model(config, RecordSpec.from_json(told))[1]
    found = checkpoint.trained_params(config.init_from, wanted, RecordSpec.from_json(told))
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    spec = RecordSpec.from_json({**told, "landmarks": []})
    wanted = abstract_model(config, spec)[1]
    found = checkpoint.trained_params(config.init_from, wanted, spec, ("movement", "denoiser"))
    assert {"encoder", "decoder"} <= set(found)
    assert "begins anew" in capsys.readouterr().err
