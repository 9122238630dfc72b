"""The folder of records that is left on disk, and TFDS opening it."""

import numpy as np
import pytest

from data_prep.convert.write import made_by, replacing_folder, split_of, write_records
from mvgen.data.records import RecordSource, RecordSpec, TFRecordFile, shard_paths
from mvgen.errors import UserError
from tests.mvgen.data.test_records import SPEC, assert_same, make_record


@pytest.fixture
def folder(tmp_path):
    """Seven records in train and two in test."""
    records = ((("train", "test")[number % 4 == 3], make_record(number)) for number in range(9))
    write_records(tmp_path / "out", records, SPEC, made_by("x", "hash", {"a": 1}), [{"clip_id": "one"}], shards=3)
    return tmp_path / "out"


def test_what_is_written_is_read(folder):
    found = {}
    for split in ("train", "test"):
        source = RecordSource(folder, split)
        found |= {source[number]["clip_id"]: (split, source[number]) for number in range(len(source))}
    assert len(found) == 9
    for number in range(9):
        record = make_record(number)
        split, read = found[record["clip_id"]]
        assert split == ("train", "test")[number % 4 == 3]
        assert_same(read, record)
    assert sorted(path.name for path in folder.iterdir() if "tfrecord" in path.name) == [
        "recital-test.tfrecord-00000-of-00002", "recital-test.tfrecord-00001-of-00002",
        *(f"recital-train.tfrecord-0000{n}-of-00003" for n in range(3)),
    ]  # fmt: skip
    made = RecordSource(folder, "train").description["made_by"]
    assert (made["codec"], made["codec_sha256"], made["settings"]) == ("x", "hash", {"a": 1})
    assert (folder / "manifest.jsonl").read_text() == '{"clip_id": "one"}\n'


def test_tfds_reads_the_same_values(folder):
    """``tfds.builder_from_directory`` opens the folder; its features parse every record to what was written."""
    tfds = pytest.importorskip("tensorflow_datasets")
    info = tfds.builder_from_directory(folder).info
    assert {name: split.num_examples for name, split in info.splits.items()} == {"train": 7, "test": 2}
    written = {make_record(number)["clip_id"]: make_record(number) for number in range(9)}
    read = 0
    for split in info.splits.values():
        assert [str(path) for path in split.filepaths] == [str(path) for path in shard_paths(folder, split.name)]
        assert split.shard_lengths == [len(TFRecordFile(path)) for path in split.filepaths]
        for path in split.filepaths:
            for data in TFRecordFile(path):
                theirs = dict(info.features.deserialize_example_np(data))
                for name in ("clip_id", "source_id", "labels"):
                    theirs[name] = theirs[name].decode()
                assert_same(theirs, written[theirs["clip_id"]])
                read += 1
    assert read == 9


def test_tfds_describes_every_kind_of_feature(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")
    spec = RecordSpec(2, 64, (4, 4), (2, 2), semantic_dim=3, latent_shape=(2, 2, 4))
    write_records(tmp_path / "out", [("test", make_record(1, spec=spec))], spec, {}, [])
    info = tfds.builder_from_directory(tmp_path / "out").info
    assert set(info.splits) == {"test"}
    assert {name: (info.features[name].shape, np.dtype(info.features[name].np_dtype)) for name in spec.features()} == (
        spec.features()
    )


def test_a_failed_run_changes_nothing(folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def broken():
        yield "train", make_record(1)
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        write_records(folder, broken(), SPEC, {}, [])
    with pytest.raises(UserError, match="not one record"):
        write_records(folder, [], SPEC, {}, [])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert list(folder.parent.iterdir()) == [folder]


def test_a_new_run_replaces_the_old(folder):
    write_records(folder, [("train", make_record(5))], SPEC, {}, [])
    assert len(RecordSource(folder, "train")) == 1 and len(RecordSource(folder, "test")) == 0
    assert list(folder.parent.iterdir()) == [folder]


def test_other_peoples_folders_are_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="not a folder of records"), replacing_folder(tmp_path):
        pass
    with pytest.raises(UserError, match="not a folder of records"), replacing_folder(tmp_path / "thesis.txt"):
        pass
    with pytest.raises(UserError, match="cannot be made"), replacing_folder(tmp_path / "thesis.txt" / "x"):
        pass
    with replacing_folder(tmp_path / "new" / "deep") as place:
        (place / "a").write_text("b")
    assert (tmp_path / "new" / "deep" / "a").read_text() == "b"


def test_splits_are_the_same_everywhere():
    """Pinned: a change here would move sources between the splits of every collection there is."""
    tested = [n for n in range(8) if split_of(f"source {n}", 50) == "test"]
    assert tested == [3, 4, 7]
