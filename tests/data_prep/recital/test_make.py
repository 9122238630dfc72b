"""The whole set: manifest, splits, any number of workers, records that training reads, and answers to bad input."""

import argparse
import json

import numpy as np
import pytest

from data_prep.convert.write import split_of
from data_prep.recital import command
from data_prep.recital.make import Programme, make_records, make_videos, record_of
from mvgen.data.records import RecordSource
from mvgen.errors import UserError


def run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(argument) for argument in arguments]))


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recital")
    assert run("--out", folder, "--clips", 4, "--seconds", 2, "--workers", 1, "--seed", 3) == 0
    return folder


def test_manifest_lists_every_clip(videos):
    lines = [json.loads(line) for line in (videos / "manifest.jsonl").read_text().splitlines()]
    assert [line["clip_id"] for line in lines] == ["keyboard-00000", "strings-00001", "drums-00002", "guitar-00003"]
    for line in lines:
        assert (videos / line["path"]).is_file()
        assert line["source_id"] == line["clip_id"] and line["labels"] == [line["instrument"]] and line["licence"]
        assert "split" not in line
        assert all(len(note) == 4 for note in line["notes"]) and line["voices"] in (1, 2)
        assert all(len(place) == 5 for place in line["film"]["places"])
        assert all(len(knot) == 9 for knot in line["film"]["camera"])
        hand = line["landmarks"]["right_hand"]
        assert len(hand) == round(25 * line["seconds"]) and all(0 <= min(xy) <= max(xy) <= 1 for xy in hand if xy)
    assert len(list(videos.iterdir())) == 9


def test_two_workers_make_the_same_bytes(videos, tmp_path):
    run("--out", tmp_path, "--clips", 4, "--seconds", 2, "--workers", 2, "--seed", 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in videos.iterdir())
    for path in videos.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def test_a_second_run_replaces_the_first_and_leaves_other_files(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    make_videos(Programme(3, 0, seconds=1.0), tmp_path, 1)
    make_videos(Programme(1, 0, ("drums",), seconds=1.0, split="test"), tmp_path, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "drums-00000.mid", "drums-00000.mp4", "manifest.jsonl", "notes.txt",
    ]  # fmt: skip
    (line,) = (tmp_path / "manifest.jsonl").read_text().splitlines()
    assert json.loads(line)["split"] == "test"


def test_splits_depend_on_the_source_alone():
    programme = Programme(10, test_percent=30)
    for source in ("keyboard-00000", "drums-00002"):
        assert programme.split_for(source) == split_of(source, 30)
    assert Programme(10).split_for("a") is None
    assert Programme(10, split="test", test_percent=0).split_for("a") == "test"


def test_records_are_what_training_reads(tmp_path):
    out = tmp_path / "records"
    assert run("--out", out, "--clips", 6, "--seconds", 2, "--workers", 1, "--records", "--test-percent", 40) == 0
    found = {}
    for split in ("train", "test"):
        source = RecordSource(out, split)
        for record in (source[i] for i in range(len(source))):
            assert split == split_of(record["source_id"], 40)
            assert record["frames"].shape == (50, 64, 64, 3) and record["flow"].shape == (50, 16, 16, 2)
            assert record["tokens"].shape == (100, source.spec.codebooks)
            assert record["landmarks"].shape == (50, len(source.spec.landmarks), 3)
            assert record["landmarks"][..., 2].any(axis=0).sum() >= 4, "hands, and what they hold"
            assert 0 <= record["tokens"].min() and record["tokens"].max() < source.spec.codebook_size
            found[record["clip_id"]] = record
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert [line["clip_id"] for line in lines] == sorted(found, key=lambda name: name[-5:])
    for line in lines:
        notes = found[line["clip_id"]]["notes"]
        np.testing.assert_allclose(notes, np.array(line["notes"])[:, :3], atol=1e-4)
        assert line["status"] == "used" and line["split"] in ("train", "test")
    again, record = record_of(Programme(6, seconds=2.0).score(4), "encodec_tiny")
    for name, value in record.items():
        np.testing.assert_array_equal(found[again["clip_id"]][name], value)


def test_records_open_as_a_tfds_folder(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")
    out = tmp_path / "records"
    counts = make_records(Programme(3, seconds=1.0, split="train"), out, 1)
    assert counts == {"train": 3, "test": 0}
    info = tfds.builder_from_directory(out).info
    assert info.splits["train"].num_examples == 3
    assert set(info.features) >= {"clip_id", "tokens", "frames", "flow", "notes"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--instruments", "kazoo"), "no instrument 'kazoo'"),
        (("--instruments", ","), "names none"),
        (("--clips", 0), "--clips must be at least 1"),
        (("--clips", -3), "--clips must be at least 1"),
        (("--seconds", 0), "--seconds"),
        (("--seconds", "nan"), "--seconds"),
        (("--seed", -1), "--seed"),
        (("--test-percent", 101), "--test-percent"),
        (("--workers", 0), "--workers"),
        (("--records", "--codec", "/no/such/codec"), "codec"),
    ],
)
def test_bad_arguments_are_answered_and_nothing_is_written(tmp_path, arguments, says):
    out = tmp_path / "out"
    with pytest.raises(UserError, match=says):
        run("--out", out, "--clips", 1, *arguments)
    assert not out.exists()


def test_a_folder_that_cannot_be_written_is_answered(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        run("--out", tmp_path / "file", "--clips", 1, "--workers", 1)
    with pytest.raises(UserError, match="cannot be made|not a folder"):
        run("--out", tmp_path / "file" / "deeper", "--clips", 1, "--workers", 1, "--records")
