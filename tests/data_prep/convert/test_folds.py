"""Folds: whole groups are left out, families are spread, and every record is in the test split of one fold."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from data_prep.__main__ import main
from data_prep.convert.folds import Part, dealt, told_of_record
from mvgen.data.groups import Told
from mvgen.data.records import RecordSource
from mvgen.errors import UserError
from tests.mvgen.synthetic import write_records


def test_families_are_spread_over_the_folds() -> None:
    parts = [Part(f"{family}{n}", family, 10.0 + n) for family in ("a", "b") for n in range(6)] + [Part("z", "z", 5.0)]
    found = dealt(parts, 3)
    for family in ("a", "b"):
        assert np.bincount([found[f"{family}{n}"] for n in range(6)]).tolist() == [2, 2, 2]
    seconds = np.bincount([found[part.name] for part in parts], [part.seconds for part in parts])
    assert np.ptp(seconds) <= 15
    assert found == dealt(parts[::-1], 3)
    with pytest.raises(UserError, match="2 groups of clips cannot be dealt into 3 folds"):
        dealt(parts[:2], 3)


def test_segments_are_of_their_clip_and_unnamed_clips_of_their_source() -> None:
    table = {"a_10s": Told("a", ("wind",)), "b-0001": Told("b", ())}
    record = {"source_id": "s", "labels": "x,y", "clip_id": "a_10s-0003"}
    assert told_of_record(record, table) == told_of_record(record | {"clip_id": "a_10s"}, table) == table["a_10s"]
    assert told_of_record(record | {"clip_id": "b-0001"}, table) == table["b-0001"]
    assert told_of_record(record | {"clip_id": "c-0001"}, table) == Told("s", ("x", "y"))


def test_each_record_is_left_out_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_records(tmp_path / "records", {"train": [20, 30, 40], "test": [50]})
    table = tmp_path / "table.csv"
    table.write_text(
        "clip,group,labels\ntrain-0,one,plucked;harp\ntrain-1,one,plucked;harp\ntest-3,x,wind\ngone,gone,\n"
    )
    words = ["folds", "--records", str(folder), "--groups", str(table), "--out", str(tmp_path / "out")]
    assert main([*words, "--folds", "3"]) == 0
    assert "no record is of group gone" in capsys.readouterr().out
    left_out: list[str] = []
    for fold in range(3):
        at = tmp_path / "out" / f"fold-{fold}"
        train, test = (RecordSource(at, split) for split in ("train", "test"))
        assert len(train) + len(test) == 4
        assert not {train[n]["source_id"] for n in range(len(train))} & {test[n]["source_id"] for n in range(len(test))}
        left_out += [test[n]["clip_id"] for n in range(len(test))]
        for number in range(len(test)):
            if test[number]["source_id"] == "one":
                assert test[number]["labels"] == "plucked,harp" and len(test) == 2
        made = json.loads((at / "mvgen_records.json").read_text())["made_by"]
        assert (made["fold"], made["folds"]) == (fold, 3)
    assert sorted(left_out) == ["test-3", "train-0", "train-1", "train-2"]
    with pytest.raises(UserError, match="at least 2"):
        main([*words, "--folds", "1"])
