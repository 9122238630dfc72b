"""Inspection: sound records pass, every kind of fault is named, the page is whole."""

import dataclasses
import json
import re

import numpy as np
import pytest

from data_prep.__main__ import main
from data_prep.convert.write import write_records
from data_prep.extract.tokens import TokenExtractor
from data_prep.inspect.clips import flow_picture
from data_prep.inspect.records import Sample, inspect_folder, summary
from data_prep.inspect.report import write_report
from data_prep.inspect.sound import listener
from mvgen.data.records import RecordSpec, shard_paths
from mvgen.errors import UserError
from tests.mvgen.data.test_records import SPEC, make_record


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
    # Of each of the four clips: frames, flow, spectrogram and tokens; and the wheel that explains the flow's colours.
    assert text.count("data:image/png;base64,") == 4 * 4 + 1
    assert text.count('class="wave"') == text.count('class="motions"') == 4
    assert text.count("entries in use,") == 2 * SPEC.codebooks
    assert "http" not in text and "Every record is sound" in text
    assert sorted(re.findall(r"<h3>(clip \d)", text)) == [f"clip {number}" for number in range(4)]


def test_a_page_without_the_codec_pixels_or_flow(tmp_path):
    """Records of latents whose codec is not at hand: what can be shown is, and the page says why the rest is not."""
    spec = RecordSpec(4, 512, frame_size=None, flow_size=None, latent_shape=(2, 2, 3), codec=str(tmp_path / "gone"))
    record = sound_record(1, latents=np.random.default_rng(0).normal(size=(50, 2, 2, 3)).astype(np.float16))
    del record["frames"], record["flow"]
    write_records(tmp_path / "out", [("train", record)], spec, {}, [], shards=1)
    found, _ = inspect_folder(tmp_path / "out")
    write_report(tmp_path / "page.html", "<out>", found, spec)
    text = (tmp_path / "page.html").read_text()
    assert text.count("data:image/png;base64,") == 2 and "The sound is not shown: codec" in text
    assert "<out>" not in text and "&lt;out&gt;" in text


def test_what_cannot_be_told_apart_is_told(tmp_path):
    """The same sound under another name and source, in the other split; silence and stills are not taken for it."""
    constant = {"tokens": np.full((100, 4), 7, np.int16), "frames": np.zeros((50, 8, 6, 3), np.uint8)}
    twin = sound_record(2, tokens=sound_record(1)["tokens"])
    records = [("train", sound_record(1)), ("test", twin), ("train", sound_record(3, **constant))]
    folder = write(tmp_path / "out", *records, ("test", sound_record(4, **constant)))
    found, _ = inspect_folder(folder)
    assert len(found.duplicates) == len(found.bad) == 1
    assert "the sound of clip 2" in found.bad[0] and "the same in both splits" in found.bad[0]
    assert sorted(name[:6] for name in found.silent) == ["clip 3", "clip 4"]
    # Within a split it is said, but is no fault.
    found, _ = inspect_folder(write(tmp_path / "one", ("train", sound_record(1)), ("train", twin)))
    assert len(found.duplicates) == 1 and found.bad == []


def test_lag_of_a_clip_is_that_of_its_sound_behind_its_motion(tmp_path):
    """Bursts of noise every 0.8 s, and motion that comes three frames before each."""
    sound = np.zeros(32_000 * 4, np.float32)
    motion = np.zeros(100)
    for time in (0.8, 1.6, 2.4, 3.2):
        first = round(time * 32_000)
        sound[first : first + 3200] = np.random.default_rng(0).normal(0, 0.3, 3200) * np.geomspace(1, 0.01, 3200)
        motion[round(time * 25) - 3] = 1.0
    tokens = TokenExtractor("encodec_tiny").extract(sound)
    listen, reason = listener("encodec_tiny")
    heard = listen(Sample("a", "train", "", tokens, np.zeros((0, 3)), None, None, motion))
    assert reason == "" and len(heard.sound) == len(sound)
    assert abs(heard.lag - 120) <= 40 and "after the motion" in heard.told()
    assert sum(np.abs(heard.onsets - time).min() < 0.06 for time in (0.8, 1.6, 2.4, 3.2)) == 4


def test_colours_of_flow():
    flow = np.array([[[1, 0], [-1, 0], [0, 1], [0, 0]]], np.float32)
    colours = flow_picture(flow, 1.0).astype(int)
    assert colours.shape == (1, 4, 3) and not colours[0, 3].any()
    assert len({tuple(colour) for colour in colours[0]}) == 4 and (colours[0, :3].max(axis=1) == 255).all()


def test_landmarks_are_checked_and_counted(tmp_path, capsys):
    spec = dataclasses.replace(SPEC, landmarks=("wrist", "tip"))
    points = np.full((50, 2, 3), 0.5, np.float16)
    points[:25, 1] = 0
    records = [("train", sound_record(1, landmarks=points))]
    for number, wrong in ((2, [0.5, 0.5, 1.5]), (3, [1.5, 0.5, 0.5]), (4, [np.nan, 0.5, 0.5])):
        broken = points.copy()
        broken[3, 0] = wrong
        records.append(("train", sound_record(number, landmarks=broken)))
    write_records(tmp_path / "out", records, spec, {}, [], shards=1)
    found, _ = inspect_folder(tmp_path / "out")
    assert dict(summary(found, spec))["landmarks"] == "2 points, seen in 75% of frames"
    told = "\n".join(found.bad)
    assert "confidences from 0 to 1.5" in told and "outside the picture" in told and "not finite" in told
    features = json.loads((tmp_path / "out" / "features.json").read_text())["featuresDict"]["features"]
    assert features["landmarks"]["description"] == "wrist, tip"


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
    assert "clip_id 'clip 1" in bad[0] and "lies in both train and test" in bad[-1]
    assert len(bad) == 4 and sum("the same in both splits" in line for line in bad) == 2  # its sound and its picture


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
