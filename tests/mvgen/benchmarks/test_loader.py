"""The bench of the loader: what it counts is what was read, and it reads files as they are."""

import json
import os

import pytest

from mvgen import bench
from mvgen.benchmarks import loader
from mvgen.data.records import RecordSource, TFRecordFile
from mvgen.errors import UserError


def test_figures_are_those_of_the_folder(tmp_path, capsys):
    folder, out = tmp_path / "records", tmp_path / "out.json"
    folder.mkdir()
    loader.write_folder(folder, records=5, seconds=1.0, shards=2)
    assert len(RecordSource(folder, "train")) == 5
    words = ["data", "--records", str(folder), "--window", "0.4", "--seconds", "0.2", "--consumed", "10"]
    assert bench.command([*words, "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    size = sum(path.stat().st_size for path in folder.glob("*.tfrecord*"))
    assert found["record_bytes"] == pytest.approx(size / 5)
    assert found["share"] == pytest.approx(found["checked"] / found["raw"])
    assert found["times"] == pytest.approx(found["examples"] / 10) and found["examples"] > 0
    assert found["times_work"] == pytest.approx(found["examples_work"] / 10)
    assert f"{found['examples']:.0f} examples a second" in capsys.readouterr().out
    paths = [str(path) for path in folder.glob("*.tfrecord*")]
    loader.forget(paths)
    assert loader.read_raw(paths) == size


def test_damage_is_met_while_measuring(tmp_path):
    """The loader that is measured is one that checks: a flipped bit ends the measurement."""
    loader.write_folder(tmp_path, records=2, seconds=1.0, shards=1)
    (path,) = tmp_path.glob("*.tfrecord*")
    place = int(TFRecordFile(path)._offsets[1]) + 1000
    with open(path, "r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))
    with pytest.raises(ValueError, match="record 1: the CRC of its data does not match"):
        loader.measure(str(tmp_path), "train", 0.4, 1, 1, 0.1)


def test_bad_input_is_one_line():
    with pytest.raises(UserError, match="more than 0"):
        bench.command(["data", "--seconds", "0"])
    with pytest.raises(UserError, match="does not exist"):
        bench.command(["data", "--json", os.path.join("nowhere", "x.json")])
