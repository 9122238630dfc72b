"""Manifests in, and the notes of a stretch of a clip."""

import json

import numpy as np
import pytest

from data_prep.sources.manifest import Clip, file_name, read_manifest, result_line
from mvgen.errors import UserError


def test_jsonl(tmp_path):
    lines = [
        {
            "path": "films/a b.mp4", "clip_id": "one/two", "source_id": "s", "labels": ["violin", "piano"],
            "split": "test", "licence": "CC0", "notes": [[0.5, 1.0, 60, 90]], "film": {"camera": [1]},
        },
        {"path": "c.mp4", "labels": "drums"},
    ]  # fmt: skip
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    one, two = read_manifest(tmp_path / "m.jsonl")
    assert one == Clip(
        "one_two", tmp_path / "films/a b.mp4", "s", ("violin", "piano"), "CC0", "test", ((0.5, 1.0, 60.0),),
        {"film": {"camera": [1]}},
    )  # fmt: skip
    assert two == Clip("c", tmp_path / "c.mp4", "c", ("drums",))
    assert two.root == tmp_path


def test_csv(tmp_path):
    (tmp_path / "m.csv").write_text(
        'path,source_id,labels,notes,year\nx.mp4,s1,"harp; flute","[[0, 1, 64]]",1999\ny.mp4,,,,\n'
    )
    one, two = read_manifest(tmp_path / "m.csv")
    assert one == Clip(
        "x", tmp_path / "x.mp4", "s1", ("harp", "flute"), "", None, ((0.0, 1.0, 64.0),), {"year": "1999"}
    )
    assert two == Clip("y", tmp_path / "y.mp4", "y")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lists no clip"),
        ('{"path": "a.mp4"}\n{"path": ', "line 2 is not JSON"),
        ("[1]", "line 1 is not a JSON object"),
        ('{"clip_id": "a"}', "line 1 names no path"),
        ('{"path": "a.mp4", "split": "dev"}', "split is 'dev'"),
        ('{"path": "a.mp4", "notes": [[1]]}', "each note must be"),
        ('{"path": "a.mp4", "notes": [[1, NaN, 3]]}', "not finite"),
    ],
)
def test_a_manifest_that_cannot_be_understood(tmp_path, text, message):
    (tmp_path / "m.jsonl").write_text(text)
    with pytest.raises(UserError, match=message):
        read_manifest(tmp_path / "m.jsonl")


def test_notes_between():
    clip = Clip("a", None, "a", notes=((2.5, 9.0, 64.0), (0.5, 1.0, 60.0), (1.9, 2.5, 62.0), (4.0, 5.0, 65.0)))
    notes = clip.notes_between(1.0, 4.0)
    assert notes.dtype == np.float32
    np.testing.assert_allclose(notes, [[0.9, 1.5, 62], [1.5, 3.0, 64]])
    assert clip.notes_between(10.0, 11.0).shape == (0, 3)


def test_file_names_are_names_of_files():
    assert file_name("../a/b") == "_a_b"
    assert file_name("a\nb") == "a_b" and file_name("  ") == "clip"
    long = [file_name("\u97f3" * 100 + end) for end in "ab"]
    assert long[0] != long[1] and max(len(name.encode()) for name in long) <= 200


def test_a_source_of_no_known_letters_has_an_id_that_can_be_written():
    assert Clip("a", None, "b\udcff").source_id == "b\\udcff"


def test_result_line_keeps_the_line_and_tells_the_outcome(tmp_path):
    clip = Clip("a", tmp_path / "a.mp4", "s", ("harp",), "CC0", None, ((0.0, 1.0, 60.0),), {"film": 1, "seconds": 99})
    line = result_line(clip, {"status": "used", "reason": "", "records": 2, "seconds": 12.0, "sha256": "x"}, "train")
    assert (line["status"], line["split"], line["records"], line["seconds"], line["film"]) == (
        "used",
        "train",
        2,
        12.0,
        1,
    )
    assert json.loads(json.dumps(line))["notes"] == [[0.0, 1.0, 60.0]]
