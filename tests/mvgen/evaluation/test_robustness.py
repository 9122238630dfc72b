"""Robustness: what is measured, beside what, and how bad input is answered."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from mvgen import robustness as command
from mvgen.data.records import TFRecordFile, decode_record, encode_record, write_tfrecord
from mvgen.errors import UserError
from mvgen.evaluation import robustness
from mvgen.evaluation.held_out import HeldOut
from mvgen.evaluation.metrics.clips import Clip, Heard
from mvgen.evaluation.report.robustness import TITLES, robustness_lines
from mvgen.evaluation.robustness import Measured, measure_music, measure_space, named_folders
from mvgen.media.onsets import SAMPLE_RATE
from tests.mvgen.synthetic import SPEC, tiny, write_checkpoint, write_records


class Drawn:
    """A space in which each window has its own random walk, and those of ``lost`` windows differ by modality."""

    def __init__(self, count: int, lost: set[int]):
        rng = np.random.default_rng(0)
        self.walks = rng.standard_normal((2, count, 80, 16)) / 4
        self.lost = lost

    def of_video(self, video: dict[str, np.ndarray]) -> np.ndarray:
        return self.walks[0, int(video["frames"][0])]

    def of_tokens(self, tokens: np.ndarray) -> np.ndarray:
        number = int(tokens[0, 0])
        return self.walks[1 if number in self.lost else 0, number]


def held_out(count: int) -> HeldOut:
    numbers = np.arange(count)
    clips = [Clip(f"clip {i}", ("keyboard", "drums")[i % 2]) for i in range(count)]
    return HeldOut({"frames": np.repeat(numbers[:, None], 80, 1)}, np.repeat(numbers, 160).reshape(-1, 160, 1), clips)


def test_retrieval_and_offset_are_told_window_by_window() -> None:
    found = measure_space(Drawn(10, {3, 4}), held_out(10))  # type: ignore[arg-type]
    for name, chance in (("video_to_music_r1", 0.1), ("music_to_video_r1", 0.1), ("offset", 3 / 51)):
        assert set(np.flatnonzero(found[name].values == 0)) <= {3, 4} and found[name].values.mean() >= 0.8
        np.testing.assert_allclose(found[name].chance, chance)
    assert min(found["video_to_music_r1"].values[3:5]) == 0


def test_a_summary_has_interval_gap_and_change() -> None:
    plain = Measured(np.array([1.0, 1.0, 0.0, 1.0]), np.full(4, 0.25), np.full(4, 0.9))
    here = Measured(np.array([1.0, 0.0, 0.0, np.nan]), np.full(4, 0.25))
    labels = ["keyboard", "drums"] * 2
    found = plain.summary(labels, None)
    assert (found["mean"], found["chance"], found["ceiling"], found["windows"]) == (0.75, 0.25, pytest.approx(0.9), 4)
    assert found["low"] < 0.75 < found["high"] <= 1 and found["change"] is None
    assert found["instruments"]["keyboard"]["mean"] == 0.5 and found["instruments"]["drums"]["mean"] == 1.0
    assert found["gap"] == 0.5
    changed = here.summary(labels, plain)
    assert changed["windows"] == 3 and changed["change"]["mean"] == pytest.approx(-1 / 3)  # of three that both have
    assert changed["change"]["low"] == -1 and changed["change"]["high"] == 0 and changed["ceiling"] is None


def clicks(onsets: list[float]) -> Heard:
    sound = np.zeros(3 * SAMPLE_RATE, np.float32)
    for onset in onsets:
        at = round(onset * SAMPLE_RATE)
        sound[at : at + 400] += 0.5 * np.random.default_rng(1).standard_normal(400)
    return Heard(sound)


def test_music_is_held_against_known_notes_and_chance_against_others() -> None:
    times = [[0.5, 1.2], [0.8, 1.9], [0.3, 1.5], [1.0, 2.1]]
    clips = [Clip(str(i), "drums", np.array([(t, t + 0.1, 36) for t in row]), 1) for i, row in enumerate(times)]
    sounds = [clicks(row) for row in times]
    wrong = [clicks(row) for row in times[1:] + times[:1]]
    notes = {id(sound): np.array([(t, t + 0.1, 36 if k else 38) for k, t in enumerate(row)])
             for some, rows in ((sounds, times), (wrong, times[1:] + times[:1]))
             for sound, row in zip(some, rows, strict=True)}  # fmt: skip
    readers = SimpleNamespace(read=lambda number, sound: notes[id(sound)])
    found = measure_music(clips, wrong, sounds, readers)  # type: ignore[arg-type]
    assert found["onset_f"].values.max() == 0 and (found["onset_f"].ceiling == 1).all()
    np.testing.assert_allclose(found["note_f"].ceiling, 0.5)  # half of the notes are read as another drum
    assert 0 < found["onset_f"].chance.mean() < 1 and found["onset_f"].chance.shape == (4,)
    silent = SimpleNamespace(read=lambda number, sound: None)
    assert np.isnan(measure_music(clips, sounds, sounds, silent)["note_f"].values).all()  # type: ignore[arg-type]


def records(folder: Path, lengths: list[int], brighter: int = 0, label: str = "drums") -> Path:
    """Records with known notes, whose pictures are so much brighter."""
    write_records(folder, {"test": lengths}, SPEC)
    shard = folder / "recital-test.tfrecord-00000-of-00001"
    held = [decode_record(data, SPEC) for data in TFRecordFile(shard)]
    for number, record in enumerate(held):
        times = np.arange(0.1 + 0.05 * number, len(record["frames"]) / 25 - 0.2, 0.4)
        record["notes"] = np.stack([times, times + 0.1, np.full(len(times), 36)], 1).astype(np.float32)
        record["frames"] = record["frames"] + np.uint8(brighter)
        record["labels"] = label
    write_tfrecord(shard, [encode_record(record, SPEC) for record in held])
    return folder


class Noise:
    """A codec whose sound is noise that tokens turn on."""

    sampling_rate, codebooks, codebook_size = 16_000, SPEC.codebooks, SPEC.codebook_size

    def decode(self, tokens: np.ndarray) -> np.ndarray:
        loud = np.repeat(np.asarray(tokens)[:, :, 0] % 20 == 0, 320, axis=1)
        return (loud * np.random.default_rng(0).standard_normal(loud.shape[1]) * 0.3).astype(np.float32)


def test_the_command_measures_each_set_beside_the_plain_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def generate_music(model, video, keys, sampling, window):  # type: ignore[no-untyped-def]
        """Stands in for what tests/mvgen/test_generation.py is about: plays what the brightness says."""
        asked.append((window, len({tuple(np.asarray(jax.random.key_data(key))) for key in keys[:2]})))
        tokens = np.repeat(video["frames"][:, :, 0, 0, 0].astype(np.int32), 2, axis=1)
        return np.repeat(tokens[:, :, None] % 64, SPEC.codebooks, axis=2)

    monkeypatch.setattr(robustness, "generate_music", generate_music)
    monkeypatch.setattr(robustness, "load_codec", lambda spec: Noise())
    plain = records(tmp_path / "plain", [70, 70, 64, 20])
    light = records(tmp_path / "light", [70, 70, 64, 20], brighter=60)
    config = tiny(plain)
    config.data.window_seconds = 0.8
    (tmp_path / "run").mkdir()
    checkpoint = write_checkpoint(tmp_path / "run", config, SPEC)
    given = ["--checkpoint", str(checkpoint), "--plain", str(plain), "--out", str(tmp_path / "out")]
    sets = ["--changed", f"light={light}", "--changed", f"heard={plain}"]
    assert command.main([*given, *sets, "--seconds", "2.4", "--windows", "8", "--generated", "2"]) == 0
    assert asked == [(20, 2)] * 2  # windows of 20 frames, a key each; not again for the same pictures
    found = json.loads((tmp_path / "out" / "robustness.json").read_text())
    assert list(found["sets"]) == ["plain", "light", "heard"]
    for name, one in found["sets"].items():
        assert (one["windows"], one["generated"]) == (3, 2)  # the fourth is shorter than a window
        assert one["same_pictures"] == (name == "heard")
        assert set(one["measures"]) == set(TITLES)
        assert one["measures"]["offset"]["windows"] == 3 and one["measures"]["onset_f"]["windows"] == 2
        assert (one["measures"]["onset_f"]["change"] is None) == (name == "plain")
    assert found["sets"]["heard"]["measures"]["onset_f"]["change"]["mean"] == 0
    page = (tmp_path / "out" / "robustness.md").read_text()
    assert page.splitlines() == list(robustness_lines(found)) and page.count("\n| light |") == 4
    assert "*heard*: the pictures are those of the first row" in page
    assert "3 windows of 2.4 s a set; music generated for 2 of them (greedy, guidance 1.5)" in page
    assert "plain: video_to_music_r1" in capsys.readouterr().out

    other = records(tmp_path / "other", [70, 70, 64], label="strings")
    with pytest.raises(UserError, match="holds other clips than the plain set"):
        command.main([*given, "--changed", f"other={other}", "--seconds", "2.4", "--generated", "2"])
    with pytest.raises(UserError, match="--seconds 2: at least 2.04"):  # shifts of a second either way
        command.main([*given, "--seconds", "2"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (["--changed", "camera"], "write NAME=RECORDS"),
        (["--changed", "plain=x"], "another set of that name"),
        (["--windows", "1"], "at least 2"),
        (["--generated", "0"], "at least 2"),
        (["--seconds", "nan"], "--seconds nan"),
        (["--seed", "-1"], "--seed -1"),
        (["--temperature", "-1"], "--temperature"),
        ([], "none"),
    ],
)
def test_bad_arguments_are_answered_and_nothing_is_written(tmp_path: Path, change: list[str], says: str) -> None:
    given = ["--checkpoint", str(tmp_path / "none"), "--plain", str(tmp_path), "--out", str(tmp_path / "out")]
    with pytest.raises(UserError, match=says):
        command.main([*given, *change])
    assert not (tmp_path / "out").exists()


def test_names_of_sets() -> None:
    assert named_folders(["a=x", "b=y=z"]) == {"a": "x", "b": "y=z"}
    with pytest.raises(UserError, match="another set"):
        named_folders(["a=x", "a=y"])
