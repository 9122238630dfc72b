"""bench train and goodput: figures that hang together, from a step that compiles at once and a log made by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mvgen import bench
from mvgen.benchmarks import train
from mvgen.errors import UserError
from mvgen.training import goodput
from tests.mvgen.synthetic import tiny, write_records
from tests.mvgen.training import stand_in


def test_the_figures_of_a_step_hang_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in.install(monkeypatch.setattr)
    monkeypatch.setattr(train, "SIDE", 64)
    found = train.measure(tiny(write_records(tmp_path, {"train": [12, 20, 30], "test": [12]})), steps=4)
    assert found["step_seconds_best"] <= found["step_seconds"] and found["devices"] == 1
    assert found["examples_per_second"] == pytest.approx(4 / found["step_seconds"])
    # Two matrices of 3 x 8 and 8 x 1 over 4 examples; backward those of the weights, and of the second one's input.
    assert found["model_flops"] == 2 * (2 * 4 * (3 * 8 + 8)) + 2 * 4 * 8
    assert found["mfu"] == pytest.approx(found["model_flops"] / found["step_seconds"] / found["matrix_rate"])
    assert 0 <= found["input_wait"] < 1 and 0 < found["host_seconds"] and found["peak_bytes"] > 1e7
    assert "a step takes" in train.lines(found)


def test_bad_input_is_one_clear_line(tmp_path: Path) -> None:
    for words, told in (
        (["train", "--steps", "0"], "--steps 0: it is at least 1"),
        (["train", "--set", "model.widht=3"], "--set model.widht=3: it is FIELD=VALUE"),
        (["train", "--set", "model.width=wide"], "a field of the configuration"),
        (["goodput", "--workdir", str(tmp_path)], "has no goodput.jsonl"),
    ):
        with pytest.raises(UserError, match=told):
            bench.command(words)


def test_goodput_counts_what_was_lost_and_the_time_between_starts(tmp_path: Path) -> None:
    log = [
        {"time": 100.0, "step": 0, "event": "start", "init": 5.0},
        {"time": 130.0, "step": 10, "compile": 20.0, "data": 1.0, "train": 9.0},
        {"time": 140.0, "step": 20, "train": 8.0, "save": 2.0},
        {"time": 200.0, "step": 10, "event": "start", "init": 10.0},
        {"time": 215.0, "step": 20, "train": 10.0, "evaluate": 5.0},
        {"time": 215.0, "step": 20, "event": "end"},
    ]
    (tmp_path / goodput.FILE).write_text("".join(json.dumps(line) + "\n" for line in log) + '{"cut sho')
    found = goodput.summary(tmp_path)
    assert found["starts"] == 2 and found["down"] == pytest.approx(50.0)
    assert found["init"] == 15.0 and found["compile"] == 20.0
    # Steps 11 to 20 of the first start were lost, and done again.
    assert (
        found["train"] == 27.0 and found["lost"] == 8.0 and found["total"] == pytest.approx(15 + 20 + 1 + 27 + 7 + 50)
    )
    assert found["goodput"] == pytest.approx(19 / found["total"])
    assert "down 50.0 s" in goodput.told(found)
    assert goodput.summary(tmp_path / "nowhere") == {}
