"""Inspection: sound records pass, every kind of fault is named, the page is whole."""

import numpy as np
import pytest

from data_prep.__main__ import main
from data_prep.inspect import inspect_folder
from data_prep.write import write_records
from mvgen.errors import UserError
from mvgen.records import shard_paths
from tests.mvgen.test_records import SPEC, make_record


def sound_record(number=0, **changes):
    record = make_record(number, frames=50)
    record["notes"] = np.array([[0.1, 0.4, 60], [1.0, 2.0, 72]], np.float32)
    return {**record, **changes}


def write(folder, *records):
    write_records(folder, records, SPEC, {}, [], shards=1)
    return folder


def test_sound_records_pass(tmp_path, capsys):
    folder = write(tmp_path / "out", *(("train", sound_record(n)) for n in range(3)), ("test", sound_record(3)))
    page = tmp_path / "page.html"
    assert main(["inspect", "--records", str(folder), "--report", str(page)]) == 0
    told = capsys.readouterr().out
    assert "3 (6.0 s, 3 sources)" in told and "all records are sound" in told and "keyboard 4" in told
    text = page.read_text()
    assert text.count("data:image/png;base64,") == 4 and text.count("<svg") == SPEC.codebooks
    assert "http" not in text and "Every record is sound" in text


def test_numbers_are_right(tmp_path):
    even = np.repeat(np.arange(100, dtype=np.int16)[:, None], 4, axis=1)
    found, _ = inspect_folder(write(tmp_path / "out", ("train", sound_record(tokens=even))))
    np.testing.assert_allclose(found.perplexity(), 100, rtol=1e-6)
    assert found.counts.sum() == 400 and found.flow_histogram.sum() == 50 * 12


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": np.full((100, 4), 512, np.int16)}, "outside the codebook of 512"),
        ({"tokens": np.full((100, 4), -1, np.int16)}, "outside the codebook"),
        ({"flow": np.full((50, 4, 3, 2), np.nan, np.float16)}, "flow holds numbers that are not finite"),
        ({"start_seconds": np.float32(-1)}, "starts at -1"),
        ({"notes": np.array([[1, 9, 60]], np.float32)}, "outside its 2.00 s"),
        ({"notes": np.array([[1, 0.5, 60]], np.float32)}, "ends before it begins"),
        ({"notes": np.array([[1, 1.5, 200]], np.float32)}, "pitch"),
        ({"source_id": ""}, "empty"),
    ],
)
def test_faults_in_a_record_are_named(tmp_path, change, message, capsys):
    folder = write(tmp_path / "out", ("train", sound_record(1)), ("train", sound_record(2, **change)))
    assert main(["inspect", "--records", str(folder)]) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("bad: ")]
    assert len(errors) == 1
    assert message in errors[0] and "record 1 (clip 2" in errors[0]


def test_faults_between_records_are_named(tmp_path):
    folder = write(tmp_path / "out", ("train", sound_record(1)), ("test", sound_record(1)))
    bad = inspect_folder(folder)[0].bad
    assert len(bad) == 2 and "clip_id 'clip 1" in bad[0] and "lies in both train and test" in bad[1]


def test_a_corrupt_byte_is_named_and_the_rest_still_read(tmp_path, capsys):
    folder = write(tmp_path / "out", *(("train", sound_record(n)) for n in range(3)))
    (shard,) = shard_paths(folder, "train")
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    page = tmp_path / "page.html"
    assert main(["inspect", "--records", str(folder), "--report", str(page)]) == 1
    told = capsys.readouterr()
    assert f"bad: {shard}: record 1: the CRC of its data does not match" in told.err
    assert "2 (4.0 s" in told.out and "record 1: the CRC" in page.read_text()
    shard.write_bytes(data[:-1])
    assert "record 2: the file ends inside" in inspect_folder(folder)[0].bad[0]
    shard.unlink()
    assert "not 3 as described" in inspect_folder(folder)[0].bad[-1]


def test_what_is_no_folder_of_records(tmp_path):
    with pytest.raises(UserError, match="not a folder of records"):
        main(["inspect", "--records", str(tmp_path)])
    with pytest.raises(UserError, match="cannot be written"):
        folder = write(tmp_path / "out", ("train", sound_record()))
        main(["inspect", "--records", str(folder), "--report", str(tmp_path / "missing" / "a.html")])
