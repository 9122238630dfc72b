"""Records: round trip, what is refused, damage that is named, random access."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from mvgen.data.index import write_description
from mvgen.data.loader import Windows
from mvgen.data.records import (
    RecordError,
    RecordSource,
    RecordSpec,
    TFRecordFile,
    decode_record,
    encode_record,
    read_description,
    write_tfrecord,
)
from mvgen.errors import UserError
from tests.mvgen.synthetic import write_records as write_synthetic

SPEC = RecordSpec(codebooks=4, codebook_size=512, frame_size=(8, 6), flow_size=(4, 3))


def make_record(number=0, frames=5, spec=SPEC):
    rng = np.random.default_rng(number)
    record = {
        "clip_id": f"clip {number} \u97f3",
        "source_id": f"source {number}",
        "labels": "keyboard,drums",
        "start_seconds": np.float32(number / 3),
        "tokens": rng.integers(0, spec.codebook_size, (2 * frames, spec.codebooks)).astype(np.int16),
        "notes": rng.random((number, 3)).astype(np.float32),
        "frames": rng.integers(0, 256, (frames, *spec.frame_size, 3)).astype(np.uint8),
        "flow": rng.normal(size=(frames, *spec.flow_size, 2)).astype(np.float16),
    }
    if spec.semantic_dim:
        record["semantic"] = rng.normal(size=(frames, spec.semantic_dim)).astype(np.float16)
    if spec.landmarks:
        record["landmarks"] = rng.random((frames, len(spec.landmarks), 3)).astype(np.float16)
    if spec.latent_shape:
        record["latents"] = rng.normal(size=(frames, *spec.latent_shape)).astype(np.float16)
    return record


def assert_same(one, other):
    assert set(one) == set(other)
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)
        if not isinstance(value, str):
            assert np.asarray(value).dtype == np.asarray(other[name]).dtype


def make_folder(folder, counts=(7, 2), shards=3):
    """Records 0 .. in "train", then those in "test", each split in so many shards, in order."""
    folder.mkdir(exist_ok=True)
    number = 0
    for split, count in zip(("train", "test"), counts, strict=True):
        numbers = np.array_split(np.arange(number, number + count), shards)
        number += count
        for shard, part in enumerate(numbers):
            path = folder / f"recital-{split}.tfrecord-{shard:05d}-of-{shards:05d}"
            write_tfrecord(path, [encode_record(make_record(int(n)), SPEC) for n in part])
    splits = dict(zip(("train", "test"), counts, strict=True))
    (folder / "mvgen_records.json").write_text(json.dumps({"spec": SPEC.to_json(), "made_by": {}, "splits": splits}))


@pytest.mark.parametrize(
    "spec",
    [
        SPEC,
        RecordSpec(2, 2048, (4, 4), (2, 2), semantic_dim=7),
        RecordSpec(8, 64, (4, 4), (2, 2), 0, (2, 3, 4), "x"),
        RecordSpec(4, 512, (4, 4), (2, 2), landmarks=("wrist", "bow_tip")),
    ],
)
def test_round_trip(spec):
    for number in (0, 3):
        record = make_record(number, spec=spec)
        data = encode_record(record, spec)
        assert data == encode_record(dict(reversed(record.items())), spec)
        assert_same(decode_record(data, spec), record)
    assert RecordSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_a_folder_from_before_there_were_landmarks_has_none():
    told = SPEC.to_json()
    del told["landmarks"]
    assert RecordSpec.from_json(told) == SPEC and "landmarks" not in SPEC.features()


def test_landmarks_must_be_those_that_are_named():
    spec = RecordSpec(4, 512, (8, 6), (4, 3), landmarks=("wrist", "bow_tip"))
    record = make_record(spec=spec)
    for wrong, message in (((5, 3, 3), "shape"), ((4, 2, 3), "same time")):
        with pytest.raises(ValueError, match=message):
            encode_record(record | {"landmarks": np.zeros(wrong, np.float16)}, spec)
    with pytest.raises(ValueError, match="missing .'landmarks'"):
        encode_record(make_record(), spec)


def test_chosen_features_only():
    record = make_record(2)
    found = decode_record(encode_record(record, SPEC), SPEC, {"tokens", "clip_id"})
    assert_same(found, {name: record[name] for name in ("tokens", "clip_id")})
    with pytest.raises(ValueError, match="semantic"):
        decode_record(encode_record(record, SPEC), SPEC, {"semantic"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": None}, "missing .'tokens'"),
        ({"colour": np.zeros(3)}, "unknown .'colour'"),
        ({"tokens": np.zeros((10, 4), np.int32)}, "int32"),
        ({"tokens": np.zeros((10, 3), np.int16)}, "shape"),
        ({"tokens": np.zeros((9, 4), np.int16)}, "same time"),
        ({"flow": np.zeros((4, 4, 3, 2), np.float16)}, "same time"),
        ({"frames": np.zeros((5, 8, 8, 3), np.uint8)}, "shape"),
        ({"clip_id": 5}, "text"),
    ],
)
def test_what_does_not_fit_is_not_written(change, message):
    record = {name: value for name, value in {**make_record(), **change}.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        encode_record(record, SPEC)


def test_what_does_not_fit_is_not_read():
    data = encode_record(make_record(), SPEC)
    with pytest.raises(ValueError, match="bytes"):
        decode_record(data, RecordSpec(3, 512, (8, 6), (4, 3)))
    with pytest.raises(ValueError, match="missing"):
        decode_record(data, RecordSpec(4, 512, (8, 6), (4, 3), semantic_dim=2))
    with pytest.raises(ValueError, match="Example"):
        decode_record(b"\xff" * 40, SPEC)


def test_an_example_is_tensorflows(tmp_path):
    """TFDS carries TensorFlow's own descriptor of Example: it must read our bytes, and we its."""
    pytest.importorskip("tensorflow_datasets")
    from tensorflow_datasets.proto import tf_example_pb2

    record = make_record(3)
    theirs = tf_example_pb2.Example.FromString(encode_record(record, SPEC))
    assert theirs.features.feature["tokens"].bytes_list.value == [record["tokens"].tobytes()]
    theirs.features.feature["other"].int64_list.value.append(7)
    theirs.features.feature["another"].float_list.value.append(7.5)
    assert_same(decode_record(theirs.SerializeToString(), SPEC), record)


def test_random_access_and_pickling(tmp_path):
    path = tmp_path / "a.tfrecord"
    assert write_tfrecord(path, (bytes([n]) * n for n in range(20))) == 20
    file = TFRecordFile(path)
    assert [file[n] for n in (13, 0, 19, 5)] == [bytes([n]) * n for n in (13, 0, 19, 5)]
    again = pickle.loads(pickle.dumps(file))
    assert list(again) == [bytes([n]) * n for n in range(20)]
    with pytest.raises(IndexError):
        file[20]
    assert [path] == list(tmp_path.iterdir())


def test_every_damaged_byte_is_noticed(tmp_path):
    """Whichever byte is changed, in lengths, data or CRCs: an error that names the record, never silence."""
    path = tmp_path / "a.tfrecord"
    write_tfrecord(path, [b"first record", b"second"])
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(RecordError) as caught:
            list(TFRecordFile(path))
        assert caught.value.number == (0 if place < 16 + len(b"first record") else 1)
        assert str(path) in str(caught.value)


def test_a_file_that_ends_early_is_noticed(tmp_path):
    path = tmp_path / "a.tfrecord"
    write_tfrecord(path, [b"first record", b"second"])
    whole = path.read_bytes()
    first = 16 + len(b"first record")
    for length in [n for n in range(1, len(whole)) if n != first]:
        path.write_bytes(whole[:length])
        with pytest.raises(RecordError, match="ends inside"):
            TFRecordFile(path)


def test_source_over_shards(tmp_path):
    make_folder(tmp_path / "records")
    source = RecordSource(tmp_path / "records", "train")
    assert len(source) == 7 and source.spec == SPEC
    for number in (6, 0, 3, 2):
        assert_same(source[number], make_record(number))
    test = pickle.loads(pickle.dumps(RecordSource(tmp_path / "records", "test", ["notes", "clip_id"])))
    assert [test[n]["clip_id"] for n in range(len(test))] == ["clip 7 \u97f3", "clip 8 \u97f3"]
    assert set(test[0]) == {"notes", "clip_id"}
    with pytest.raises(IndexError):
        source[7]
    with pytest.raises(UserError, match="no split 'other'; it has train, test"):
        RecordSource(tmp_path / "records", "other")


def test_an_empty_split_is_empty(tmp_path):
    make_folder(tmp_path / "records", (3, 0), shards=1)
    (tmp_path / "records" / "recital-test.tfrecord-00000-of-00001").unlink()
    assert len(RecordSource(tmp_path / "records", "test")) == 0


def test_damage_in_a_folder_is_named(tmp_path):
    folder = tmp_path / "records"
    make_folder(folder)
    shard = folder / "recital-train.tfrecord-00001-of-00003"
    data = bytearray(shard.read_bytes())
    data[100] ^= 1
    shard.write_bytes(data)
    source = RecordSource(folder, "train")
    with pytest.raises(RecordError, match="00001-of-00003: record 0: the CRC of its data"):
        source[3]
    assert_same(source[4], make_record(4))
    shard.write_bytes(data[:-3])
    with pytest.raises(UserError, match="ends inside"):
        RecordSource(folder, "train")
    shard.unlink()
    with pytest.raises(UserError, match="2 of 3 shards"):
        RecordSource(folder, "train")


def test_what_is_no_folder_of_records(tmp_path):
    with pytest.raises(UserError, match="no mvgen_records.json"):
        read_description(tmp_path)
    with pytest.raises(UserError, match="no mvgen_records.json"):
        read_description(tmp_path / "missing")
    for text in ("nonsense", "{}", '{"spec": {"codebooks": 4}, "splits": {}}', '{"spec": [], "splits": []}'):
        (tmp_path / "mvgen_records.json").write_text(text)
        with pytest.raises(UserError, match=r"mvgen_records\.json"):
            read_description(tmp_path)


def test_lengths_are_kept_beside_the_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder without an index is read once, told, and then no more; shards of another size are read anew."""
    folder = write_synthetic(tmp_path / "r", {"train": [5, 9, 2], "test": [4]})
    described = read_description(folder)
    del described["index"]
    write_description(folder, described)
    assert RecordSource(folder, "train").frames.tolist() == [5, 9, 2]
    assert "reading all its records once" in capsys.readouterr().err
    kept = read_description(folder)
    assert kept["index"]["train"]["recital-train.tfrecord-00000-of-00001"]["frames"] == [5, 9, 2]
    again = RecordSource(folder, "train")
    assert again.frames.tolist() == [5, 9, 2] and capsys.readouterr().err == ""
    np.testing.assert_array_equal(again[1]["tokens"], RecordSource(folder, "train", ("tokens",))[1]["tokens"])
    assert RecordSource(folder, "test").frames.tolist() == [4]  # the other split's index stays
    assert set(read_description(folder)["index"]) == {"train", "test"}
    write_synthetic(tmp_path / "other", {"train": [7, 9, 2], "test": [4]})
    shard = "recital-train.tfrecord-00000-of-00001"
    (folder / shard).write_bytes((tmp_path / "other" / shard).read_bytes())
    capsys.readouterr()
    assert RecordSource(folder, "train").frames.tolist() == [7, 9, 2]
    assert "no index that fits" in capsys.readouterr().err


def test_a_million_records_are_opened_without_reading_them(tmp_path: Path) -> None:
    """A made-up index over sparse shards: opening would fail, or take long, if anything of them were read."""
    count, shards = 1_000_000, 8
    sizes = np.full(count // shards, 200_000).tolist()
    index = {f"recital-train.tfrecord-{n:05d}-of-{shards:05d}": {"bytes": sizes, "frames": [150] * len(sizes)}
             for n in range(shards)}  # fmt: skip
    for name in index:
        with open(tmp_path / name, "wb") as file:
            file.truncate(len(sizes) * (200_000 + 16))
    write_description(tmp_path, {"spec": RecordSpec(4, 512).to_json(), "made_by": {}, "splits": {"train": count},
                                 "index": {"train": index}})  # fmt: skip
    windows = Windows(RecordSource(tmp_path, "train", ("tokens", "frames")), 60)
    assert len(windows) == count and windows.skipped == 0


def test_a_model_that_sees_no_landmarks_does_not_ask_for_them():
    old, new = RecordSpec(4, 512), RecordSpec(4, 512, landmarks=("left_hand",))
    assert new.serves(old, landmarks=False) and old.serves(new, landmarks=False) and new.serves(new, landmarks=True)
    assert not old.serves(new, landmarks=True)
    assert not RecordSpec(4, 512, frame_size=(32, 32)).serves(old, landmarks=False)
