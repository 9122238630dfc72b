"""From videos to records: what is used, what is refused, what is kept, and that all of it is right."""

import errno
import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from data_prep.__main__ import main
from data_prep.convert.clip import ClipProcessor, Settings, segments_of
from data_prep.convert.command import BASE_CONFIG, convert, load_config
from data_prep.convert.pipeline import pipeline_options, run_pipeline
from data_prep.convert.pool import Workers
from data_prep.extract.cache import Cache
from data_prep.extract.tokens import TokenExtractor
from data_prep.inspect.records import inspect_folder
from data_prep.sources import find_clips
from data_prep.sources.manifest import Clip
from mvgen.data.records import RecordSource
from mvgen.errors import UserError
from mvgen.media import probe, read_picture_and_flow, read_sound, write_video
from tests.mvgen.media.flashes import beeps_in, constant_times, flashes_in, write_flashes

SMALL = (("frame_size", "(16, 16)"), ("flow_size", "(8, 8)"), ("segment_seconds", "2"), ("keep_standardised", "True"))


def small_config(**changes):
    return load_config(str(BASE_CONFIG), [*SMALL, *((name, repr(value)) for name, value in changes.items())])


def write_inputs(folder):
    """Three good clips, one of them long and two of one source, and bad ones of many kinds."""
    folder.mkdir()
    times = constant_times(Fraction(30000, 1001), 5)
    write_flashes(folder / "long.mp4", times)
    write_flashes(folder / "pair_a.mp4", constant_times(25, 2), 48_000)
    write_flashes(folder / "pair_b.mkv", constant_times(50, 1.5), codec="pcm_s16le")
    write_video(folder / "silent film.mp4", np.zeros((50, 16, 16, 3), np.uint8), None, 32_000)
    write_video(folder / "blink.mp4", np.zeros((5, 16, 16, 3), np.uint8), np.zeros(6400, np.float32), 32_000)
    (folder / "text.mp4").write_text("hello")
    (folder / "empty.mov").write_bytes(b"")
    (folder / "cut.mp4").write_bytes((folder / "long.mp4").read_bytes()[:3000])
    (folder / "list.mkv").write_text("#EXTM3U\n#EXTINF:1,\nlong.mp4\n")
    lines = [
        {"path": "long.mp4", "labels": ["keyboard"], "split": "train", "notes": [[0.1, 0.5, 60], [2.2, 9, 62]], "x": 1},
        {"path": "pair_a.mp4", "source_id": "pair", "licence": "CC0"},
        {"path": "pair_b.mkv", "source_id": "pair"},
        {"path": "pair_b.mkv", "source_id": "other"},
        *({"path": name} for name in ("silent film.mp4", "blink.mp4", "text.mp4", "empty.mov", "cut.mp4", "list.mkv")),
        {"path": "missing.mp4"},
    ]
    (folder / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(inputs, records, cache), converted once."""
    place = tmp_path_factory.mktemp("convert")
    write_inputs(place / "in")
    counts = convert(str(place / "in"), str(place / "out"), small_config(), str(place / "cache"), workers=2)
    assert sum(counts.values()) == 5
    return place / "in", place / "out", place / "cache"


def records_of(folder):
    found = {}
    for split in ("train", "test"):
        source = RecordSource(folder, split)
        found |= {source[number]["clip_id"]: (split, source[number]) for number in range(len(source))}
    return found


def test_every_clip_is_accounted_for(made):
    lines = [json.loads(line) for line in (made[1] / "manifest.jsonl").read_text().splitlines()]
    told = [(Path(line["path"]).name, line["status"], line["reason"]) for line in lines]
    assert [name for name, status, _ in told if status == "used"] == ["long.mp4", "pair_a.mp4", "pair_b.mkv"]
    reasons = {name: reason for name, status, reason in told if status == "refused"}
    for name, reason in {
        "pair_b.mkv": "taken by another clip",
        "silent film.mp4": "has no sound",
        "blink.mp4": "cover 0.20 s, under the limit",
        "text.mp4": "is text",
        "empty.mov": "0 bytes",
        "cut.mp4": "not a readable video",
        "list.mkv": "a playlist, which only names other files",
        "missing.mp4": "no such file",
    }.items():
        assert reason in reasons[name] and "\n" not in reasons[name]
    assert lines[0]["x"] == 1 and lines[0]["split"] == "train" and lines[0]["records"] == 3
    assert lines[1]["licence"] == "CC0" and lines[1]["split"] == lines[2]["split"]


def test_records_are_sound(made):
    found, _ = inspect_folder(made[1])
    assert found.bad == []
    assert found.labels == {"keyboard": 3} and found.notes == 2


def test_records_hold_what_the_source_shows_and_sounds(made):
    inputs, out, _ = made
    split, record = records_of(out)["pair_a"]
    frames, flow = read_picture_and_flow(inputs / "pair_a.mp4", (16, 16), (8, 8))
    np.testing.assert_array_equal(record["frames"], frames)
    np.testing.assert_array_equal(record["flow"], flow)
    sound = read_sound(inputs / "pair_a.mp4", 32_000, seconds=Fraction(len(frames), 25))
    np.testing.assert_array_equal(record["tokens"], TokenExtractor("encodec_tiny").extract(sound))
    assert record["source_id"] == "pair" and record["start_seconds"] == 0 and record["notes"].shape == (0, 3)


def test_a_long_clip_becomes_equal_segments(made):
    inputs, out, _ = made
    records = records_of(out)
    frames, _ = read_picture_and_flow(inputs / "long.mp4", (16, 16), None)
    covered = min(len(frames), int(len(read_sound(inputs / "long.mp4", 32_000)) / 1280 + 0.025))
    names = [f"long-{number:04d}" for number in range(3)]
    assert all(records[name][0] == "train" for name in names)
    parts = [records[name][1] for name in names]
    np.testing.assert_array_equal(np.concatenate([part["frames"] for part in parts]), frames[:covered])
    starts = np.cumsum([0, *(len(part["frames"]) for part in parts)]) / 25
    np.testing.assert_allclose([part["start_seconds"] for part in parts], starts[:-1], atol=1e-6)
    assert all(not part["flow"][0].any() for part in parts)
    np.testing.assert_allclose(parts[0]["notes"], [[0.1, 0.5, 60]])
    np.testing.assert_allclose(parts[1]["notes"], [[2.2 - starts[1], starts[2] - starts[1], 62]], atol=1e-6)
    # The tokens of a segment are those of its own sound.
    sound = read_sound(
        inputs / "long.mp4", 32_000, Fraction(round(starts[1] * 25), 25), Fraction(len(parts[1]["frames"]), 25)
    )
    np.testing.assert_array_equal(parts[1]["tokens"], TokenExtractor("encodec_tiny").extract(sound))


def test_standardised_videos_are_on_the_clock(made):
    inputs, out, _ = made
    assert sorted(path.name for path in (out / "clips").iterdir()) == ["long.mp4", "pair_a.mp4", "pair_b.mp4"]
    info = probe(out / "clips" / "long.mp4")
    assert (info.frame_rate, info.sample_rate) == (25, 44_100)
    frames, _ = read_picture_and_flow(out / "clips" / "long.mp4", (16, 16), None)
    np.testing.assert_array_equal(
        flashes_in(frames), flashes_in(read_picture_and_flow(inputs / "long.mp4", (16, 16), None)[0])
    )
    heard = beeps_in(read_sound(out / "clips" / "long.mp4", 44_100), 44_100)
    np.testing.assert_allclose(heard, beeps_in(read_sound(inputs / "long.mp4", 44_100), 44_100), atol=0.002)


def test_a_second_run_redoes_nothing_and_writes_the_same(made):
    inputs, out, cache = made
    before, kept = files_of(out), {path: path.stat().st_mtime_ns for path in cache.rglob("*.*")}
    convert(str(inputs), str(out), small_config(), str(cache), workers=1)
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*.*")} == kept
    after = files_of(out)
    assert {name for name in before if before[name] != after.get(name)} <= {"dataset_info.json"}
    assert set(before) == set(after)


def test_of_kept_clips_no_packet_is_read_again(made, monkeypatch):
    inputs, out, cache = made
    monkeypatch.setattr("data_prep.convert.clip.span", lambda path: pytest.fail("reads every packet again"))
    monkeypatch.setattr("data_prep.extract.frames.read_picture_and_flow", lambda *_: pytest.fail("decodes again"))
    clip = find_clips(inputs)[0]
    assert ClipProcessor(Settings.from_config(small_config()), cache).process(clip)["status"] == "used"
    longest = {"limits.max_seconds": 4.0}  # what is kept is the length, not the verdict
    outcome = ClipProcessor(Settings.from_config(small_config(**longest)), cache).process(clip)
    assert "over the limit of 4 s" in outcome["reason"]


def test_another_flow_leaves_tokens_and_frames_alone(made, tmp_path):
    inputs, out, cache = made
    kept = {path: path.stat().st_mtime_ns for path in cache.rglob("*-tokens.npy")}
    convert(str(inputs), str(tmp_path / "out"), small_config(flow_size=(4, 4)), str(cache), workers=1)
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*-tokens.npy")} == kept
    one, other = records_of(out), records_of(tmp_path / "out")
    assert set(one) == set(other)
    for name in one:
        np.testing.assert_array_equal(one[name][1]["tokens"], other[name][1]["tokens"])
        np.testing.assert_array_equal(one[name][1]["frames"], other[name][1]["frames"])
        assert other[name][1]["flow"].shape[1:] == (4, 4, 2)


def test_nothing_usable_leaves_nothing(tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / "in" / name).write_text("no video")
    with pytest.raises(UserError, match=r"none of the 2 videos can be used: a\.mp4: .*; b\.mp4: "):
        convert(str(tmp_path / "in"), str(tmp_path / "out"), small_config(), str(tmp_path / "cache"), workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--input", "{tmp}/empty"], "holds no video"),
        (["--input", "{tmp}/missing"], "no such file or folder"),
        (["--input", "{tmp}/in", "--config", "{tmp}/missing.py"], "neither a file nor a preset"),
        (["--input", "{tmp}/in", "--config", "{tmp}/bad.py"], "gives no config: NameError"),
        (["--input", "{tmp}/in", "--config.colour=3"], "no field 'colour'"),
        (["--input", "{tmp}/in", "--config.shards=many"], "config.shards=many"),
        (["--input", "{tmp}/in", "--config.flow_method=guess"], "flow_method is 'guess'"),
        (["--input", "{tmp}/in", "--config.segment_seconds=0.01"], "segment_seconds"),
        (["--input", "{tmp}/in", "--codec", "{tmp}/empty"], "holds no model.safetensors"),
        (["--input", "{tmp}/in", "--worker=3"], "unknown option --worker"),
        (["--out", "x"], "--input"),
    ],
)
def test_bad_options_are_one_line(tmp_path, options, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.mp4").write_text("no video")
    (tmp_path / "bad.py").write_text("nonsense")
    given = [option.format(tmp=tmp_path) for option in options]
    with pytest.raises(UserError, match=message.replace("(", r"\(")):
        main(["convert", "--out", str(tmp_path / "out"), *given] if "--out" not in given else ["convert", *given])
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob("out.partial*"))


def test_command_line(tmp_path):
    (tmp_path / "in").mkdir()
    command = [
        sys.executable,
        "-m",
        "data_prep",
        "convert",
        "--input",
        str(tmp_path / "in"),
        "--out",
        str(tmp_path / "o"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


class Bomb:
    """A path that ends the process that opens it, as a decoder does that runs into a bad file."""

    def __fspath__(self):
        os._exit(9)


@pytest.mark.parametrize("together", [1, 3])
def test_a_clip_that_brings_its_process_down_is_refused_alone(made, together):
    inputs, _, cache = made
    good = Clip("good", inputs / "pair_a.mp4", "a")
    workers = Workers(Settings.from_config(small_config()), str(cache), 1 if together > 1 else 2, together)
    spec, *results = workers.run([good, Clip("bomb", Bomb(), "b"), Clip("again", inputs / "pair_a.mp4", "c")])
    assert spec.codebooks == 4
    told = {number: (outcome["status"], outcome["reason"]) for number, outcome in results}
    assert told == {0: ("used", ""), 1: ("refused", "brings down the process that decodes it"), 2: ("used", "")}


def test_a_full_disk_is_no_clips_fault(made, monkeypatch, tmp_path):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Cache, "keep", full)
    clip = Clip("good", made[0] / "pair_a.mp4", "a")
    with pytest.raises(OSError, match="No space"):
        ClipProcessor(Settings.from_config(small_config()), tmp_path).process(clip)


def test_the_pipeline_alone_makes_the_same_records(made, tmp_path):
    """As on a cluster: no pool goes before, the pipeline's own first stage processes the clips."""
    inputs, out, cache = made
    settings = Settings.from_config(small_config())
    clips = find_clips(inputs)[:3]
    items = [(number, clip, None) for number, clip in enumerate(clips)]
    spec = RecordSource(out, "train").spec
    outcomes = run_pipeline(items, tmp_path, settings, str(cache), spec, 10.0, 4, pipeline_options([]), together=2)
    assert {number: outcome["status"] for number, outcome in outcomes.items()} == dict.fromkeys(range(3), "used")
    shards = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert shards == {path.name: path.read_bytes() for path in out.iterdir() if ".tfrecord-" in path.name}


def test_segments():
    assert segments_of(250, 250) == [(0, 250)]
    assert segments_of(252, 250) == [(0, 126), (126, 252)]
    assert segments_of(7, 3) == [(0, 2), (2, 4), (4, 7)]
    for frames in range(1, 60):
        parts = segments_of(frames, 7)
        assert parts[0][0] == 0 and parts[-1][1] == frames
        assert all(one[1] == two[0] for one, two in zip(parts[:-1], parts[1:], strict=True))
        assert max(end - first for first, end in parts) <= 7


CLIPS = Path(__file__).parents[4] / "shared" / "clips"


@pytest.mark.skipif(not CLIPS.is_dir(), reason="the real clips are not here")
def test_real_clips(tmp_path):
    """The shortest real clip and the two cuts of one video, at their odd rates and sizes."""
    (tmp_path / "in").mkdir()
    for name in ("cello_8s", "piano_topview_a_10s", "piano_topview_b_10s"):
        (tmp_path / "in" / f"{name}.mp4").symlink_to(CLIPS / f"{name}.mp4")
    config = small_config(segment_seconds=10.0, keep_standardised=False, **{"limits.links_outside": True})
    convert(str(tmp_path / "in"), str(tmp_path / "out"), config, str(tmp_path / "cache"))
    records = records_of(tmp_path / "out")
    assert {name: len(record["frames"]) for name, (_, record) in records.items()} == {
        "cello_8s": 205, "piano_topview_a_10s": 250, "piano_topview_b_10s": 250,
    }  # fmt: skip
    assert records["piano_topview_a_10s"][0] == records["piano_topview_b_10s"][0]
    assert inspect_folder(tmp_path / "out")[0].bad == []
