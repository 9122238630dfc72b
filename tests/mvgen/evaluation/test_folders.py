"""The evaluation of two folders of videos: on videos made here, whose notes and pictures are known."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mvgen.errors import UserError
from mvgen.evaluate import main
from mvgen.evaluation import folders
from mvgen.evaluation.folders import PARTS, evaluate_folders, read_manifest
from mvgen.evaluation.metrics.table import METRICS
from mvgen.evaluation.metrics.validation import shortfalls
from mvgen.evaluation.report.terminal import report_lines
from mvgen.files import write_json
from mvgen.media import write_video
from mvgen.media.midi import write_midi
from tests.mvgen.evaluation.metrics.sounds import RATE, play
from tests.mvgen.evaluation.metrics.stage import FILM, notes_of, show

NAMES = tuple(f"clip {k}" for k in range(4))


def make_clip(path: Path, notes: np.ndarray, sound_notes: np.ndarray | None = None) -> None:
    heard = notes if sound_notes is None else sound_notes
    # Each tone rings almost until the next: one cut short would be heard as an onset of its own.
    sound = play([(onset, onset + 0.3, int(pitch)) for onset, _, pitch in heard], 4.0)
    write_video(path, show(notes), sound, RATE)


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> tuple[Path, Path]:
    """Originals with a manifest, and generated videos: two right in everything, two with another clip's sound."""
    reference, generated = tmp_path_factory.mktemp("reference"), tmp_path_factory.mktemp("generated")
    lines = []
    for k, name in enumerate(NAMES):
        make_clip(reference / f"{name}.mp4", notes_of(k))
        make_clip(generated / f"{name}.mp4", notes_of(k), notes_of(k if k < 2 else k + 20))
        write_midi(generated / f"{name}.mid", [(*note, False) for note in notes_of(k)])
        lines.append(
            {"clip_id": name, "path": f"{name}.mp4", "instrument": "stage", "voices": 1, "film": FILM,
             "notes": [[*note, 90] for note in notes_of(k).tolist()]}
        )  # fmt: skip
    (reference / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    make_clip(generated / "stray.mp4", notes_of(9))
    return reference, generated


def test_scores_tell_right_from_wrong(clips):
    scores = evaluate_folders(*clips, progress=False)
    by_name = {entry["name"]: entry["scores"] for entry in scores["per_clip"]}
    for name in NAMES[:2]:
        assert by_name[name]["onset_f"] > 0.9
        assert by_name[name]["pitch_right"] > 0.9
        assert by_name[name]["note_f"] > 0.85
        assert by_name[name]["onset_f_sound"] == 1.0
    for name in NAMES[2:]:
        assert by_name[name]["pitch_right"] < 0.6
        assert by_name[name]["note_f"] < 0.5
    overall = scores["summary"]["overall"]
    assert overall["places_right"]["mean"] == 1.0 > 0.5 > overall["places_right"]["chance"]
    assert overall["pitch_right"]["original"] > 0.9
    assert overall["note_f_midi_offsets"]["mean"] == 1.0 > 0.5 > overall["note_f_midi"]["chance"]
    assert overall["ssim"]["mean"] == pytest.approx(1.0)
    assert overall["onset_f"]["low"] <= overall["onset_f"]["mean"] <= overall["onset_f"]["high"]
    assert scores["only_in_generated"] == ["stray"] and scores["clips"] == 4
    assert set(overall) <= set(METRICS)


def test_command_line_writes_json_and_a_table(clips, tmp_path, monkeypatch, capsys):
    reference, generated = clips
    out, page = tmp_path / "scores.json", tmp_path / "scores.html"
    arguments = ["evaluate", "--reference", str(reference), "--generated", str(generated), "--out", str(out)]
    monkeypatch.setattr("sys.argv", [*arguments, "--report", str(page)])
    assert main() == 0
    shown = capsys.readouterr().out
    scores = json.loads(out.read_text())
    assert f"{scores['summary']['overall']['onset_f']['mean']:.2f}" in shown
    for word in ("chance", "original", "64x64", "25 frames/s", "4.00 s", "stray"):
        assert word in shown
    assert "LORIS" in shown and "Frechet audio distance: not run" in shown
    assert NAMES[3] in page.read_text() and page.read_text().count('class="strip"') > 15
    assert sorted(tmp_path.iterdir()) == [page, out]


def test_only_the_parts_asked_for_are_scored(clips):
    everything = evaluate_folders(*clips, progress=False)["summary"]["overall"]
    scored = {}
    for part in PARTS:
        scored[part] = evaluate_folders(*clips, progress=False, parts=(part,))["summary"]["overall"]
    names = [name for part in PARTS for name in scored[part]]
    assert sorted(names) == sorted(everything) and all(scored.values())
    assert {name: value for part in scored.values() for name, value in part.items()} == everything


def test_same_seed_same_scores(clips):
    cache = {}
    first = evaluate_folders(*clips, seed=3, cache=cache, progress=False)
    assert len(cache) == 2 * len(NAMES)
    assert evaluate_folders(*clips, seed=3, cache=cache, progress=False) == first


def test_without_a_manifest_the_reference_sound_is_the_measure(clips, tmp_path):
    reference, generated = clips
    for name in NAMES[:3]:
        (tmp_path / f"{name}.mp4").write_bytes((reference / f"{name}.mp4").read_bytes())
    overall = evaluate_folders(tmp_path, generated, progress=False)["summary"]["overall"]
    assert "onset_f" not in overall and "places_right" not in overall
    assert overall["note_f_sound"]["original"] == 1.0
    assert overall["onset_f_sound"]["clips"] == 3


def test_a_damaged_file_is_named_and_the_rest_scored(clips, tmp_path):
    reference, generated = clips
    for name in NAMES[1:]:
        (tmp_path / f"{name}.mp4").write_bytes((generated / f"{name}.mp4").read_bytes())
    (tmp_path / f"{NAMES[0]}.mp4").write_text("no video")
    write_video(tmp_path / f"{NAMES[1]}.mp4", show(notes_of(1)), None, RATE)  # silent, though others have sound
    scores = evaluate_folders(reference, tmp_path, progress=False)
    assert scores["clips"] == 2
    assert {entry["name"] for entry in scores["refused"]} == set(NAMES[:2])
    assert "has no sound" in " ".join(entry["reason"] for entry in scores["refused"])
    assert any("refused" in line for line in report_lines(scores))


WITHOUT = """
import runpy, sys
sys.modules["mir_eval"] = None
runpy.run_module("mvgen.evaluate", run_name=sys.argv[1])
"""


@pytest.mark.parametrize("name", ["__main__", "mvgen.evaluate"])
def test_without_the_extra_one_line_says_what_to_install(name):
    run = subprocess.run([sys.executable, "-c", WITHOUT, name], capture_output=True, text=True)
    last = run.stderr.splitlines()[-1]
    assert "mir_eval is not installed" in last and "pip install 'mvgen[eval]'" in last
    assert run.returncode and (len(run.stderr.splitlines()) == 1) == (name == "__main__")


def test_bad_input_is_one_clear_line(clips, tmp_path):
    reference, generated = clips
    with pytest.raises(UserError, match="not a folder"):
        evaluate_folders(reference / "nowhere", generated)
    with pytest.raises(UserError, match="no video"):
        evaluate_folders(reference, tmp_path)
    (tmp_path / "other.mp4").write_text("no video")
    with pytest.raises(UserError, match="no file name"):
        evaluate_folders(reference, tmp_path)
    (tmp_path / "other.mp4").rename(tmp_path / f"{NAMES[0]}.mp4")
    with pytest.raises(UserError, match="not one pair"):
        evaluate_folders(reference, tmp_path, progress=False)
    (tmp_path / f"{NAMES[0]}.mov").write_text("twice")
    with pytest.raises(UserError, match="keep one"):
        evaluate_folders(reference, tmp_path)


@pytest.mark.parametrize("line", ["{", "[1]", '{"path": 3}', '{"clip_id": "a", "notes": [[1, 2]]}',
                                  '{"clip_id": "a", "notes": [[0, 1, 1e9]]}', '{"clip_id": "a", "notes": [[0, 1, -5]]}',
                                  '{"clip_id": "a", "notes": [], "film": {"places": [[1, 2]]}}'])  # fmt: skip
def test_a_damaged_manifest_names_its_line(tmp_path, line):
    path = tmp_path / "manifest.jsonl"
    path.write_text('{"clip_id": "good"}\n\n' + line + "\n")
    with pytest.raises(UserError, match="line 3"):
        read_manifest(path)
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(UserError, match="cannot be read"):
        read_manifest(path)


@pytest.mark.parametrize(
    "words, said",
    [
        (("--report", "no folder/page.html"), "--report"),
        (("--out", "."), "--out"),
        (("--parts", "smell"), "smell"),
        (("--seed", "-1"), "--seed -1"),
        (("--weights", "imagebind=x"), "own code"),
        (("--weights", "fad=nowhere"), "no such folder"),
    ],
)
def test_a_bad_command_line_is_answered_before_any_work(clips, monkeypatch, words, said):
    reference, generated = clips
    monkeypatch.setattr("sys.argv", ["evaluate", "--reference", str(reference), "--generated", str(generated), *words])
    with pytest.raises(UserError, match=said):
        main()


def test_what_is_too_long_is_refused(clips, monkeypatch):
    monkeypatch.setattr(folders, "MOST_SECONDS", 3.0)
    with pytest.raises(UserError, match="lasts 4 s; at most 3 s"):
        evaluate_folders(*clips, progress=False)


def test_validation_of_originals(clips, tmp_path, monkeypatch, capsys):
    reference, generated = clips
    out = tmp_path / "readers.json"
    monkeypatch.setattr("sys.argv", ["evaluate", "--validate", str(reference), "--out", str(out)])
    assert main() == 0
    assert "every reader reaches 0.95" in capsys.readouterr().out
    found = json.loads(out.read_text())["summary"]["overall"]
    assert found["note_f"]["mean"] > 0.95 > 0.5 > found["note_f"]["chance"]
    assert found["places_right"]["mean"] > 0.95 > 0.5 > found["places_right"]["chance"]
    assert shortfalls({"overall": {"note_f": {"mean": 0.5}}}) == ["Note F, known notes of overall is 0.500, below 0.95"]
    monkeypatch.setattr("sys.argv", ["evaluate", "--validate", str(generated)])
    with pytest.raises(UserError, match="knows the notes"):
        main()
    monkeypatch.setattr("sys.argv", ["evaluate", "--validate", str(reference), "--reference", str(reference)])
    with pytest.raises(UserError, match="beside it"):
        main()
    monkeypatch.setattr("sys.argv", ["evaluate", "--reference", str(reference)])
    with pytest.raises(UserError, match="--generated"):
        main()


def test_json_is_strict_and_whole(tmp_path):
    path = tmp_path / "scores.json"
    write_json(path, {"a": np.float32(0.5), "b": [float("nan"), np.int64(3)], "c": np.array([1.0, np.inf])})
    assert json.loads(path.read_text()) == {"a": 0.5, "b": [None, 3], "c": [1.0, None]}
    with pytest.raises(UserError, match="cannot write"):
        write_json(tmp_path / "no folder" / "scores.json", {})


def test_names_in_any_spelling_and_coding(clips, tmp_path):
    """One name composed and apart is one name; one that is no UTF-8 is told as escapes, in the report too."""
    reference, generated = tmp_path / "reference", tmp_path / "generated"
    reference.mkdir(), generated.mkdir()
    pairs = [("caf\u00e9", "cafe\u0301"), (os.fsdecode(b"\xff"), os.fsdecode(b"\xff"))]
    for source, (original, product) in zip(NAMES, pairs, strict=False):
        (reference / f"{original}.mp4").write_bytes((clips[0] / f"{source}.mp4").read_bytes())
        (generated / f"{product}.mp4").write_bytes((clips[1] / f"{source}.mp4").read_bytes())
    command = [sys.executable, "-m", "mvgen.evaluate", "--reference", str(reference), "--generated", str(generated)]
    command += ["--parts", "picture", "--out", str(tmp_path / "a.json"), "--report", str(tmp_path / "a.html")]
    told = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    run = subprocess.run(command, capture_output=True, text=True, env=told, cwd=Path(__file__).parents[3])
    assert run.returncode == 0, run.stderr
    scores = json.loads((tmp_path / "a.json").read_text())
    assert scores["clips"] == 2 and scores["only_in_reference"] == scores["only_in_generated"] == []
    assert (tmp_path / "a.html").stat().st_size > 1000


def test_outputs_are_checked_before_the_work(clips, tmp_path, monkeypatch):
    film = next(clips[1].glob("*.mp4"))
    for option, place, said in (("--out", film, "is also an input"), ("--report", tmp_path, "is a folder")):
        words = ["--reference", str(clips[0]), "--generated", str(clips[1]), option, str(place)]
        monkeypatch.setattr(sys, "argv", ["evaluate", *words])
        with pytest.raises(UserError, match=said):
            main()
