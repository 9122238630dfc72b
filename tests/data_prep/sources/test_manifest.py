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


ROWS = [("films/a.mp4", "test", "harp, flute"), ("films/b, c.mp4", "train", "")]


def table(separator, quote='"', head=("path", "split", "labels"), space="", end="\n"):
    """A table as some program writes it."""
    cells = [head, *ROWS]
    quoted = [[f"{quote}{cell}{quote}" if "," in cell or separator in cell else cell for cell in row] for row in cells]
    return end.join(f"{separator}{space}".join(row) for row in quoted) + end


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("head", [("path", "split", "labels"), (" Path", "SPLIT ", "Labels")])
@pytest.mark.parametrize("space", ["", " "])
def test_tables_of_any_program(tmp_path, separator, end, head, space):
    text = table(separator, head=head, space=space, end=end)
    for coding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"):
        (tmp_path / "m.csv").write_bytes(text.encode(coding))
        one, two = read_manifest(tmp_path / "m.csv")
        assert (one.path, one.split, one.labels) == (tmp_path / "films/a.mp4", "test", ("harp", "flute"))
        assert (two.path, two.split, two.labels) == (tmp_path / "films/b, c.mp4", "train", ())


def test_excels_line_and_single_quotes_and_empty_rows(tmp_path):
    (tmp_path / "m.csv").write_text("sep=;\n\npath;split\n\na.mp4;TEST\n;\n")
    (clip,) = read_manifest(tmp_path / "m.csv")
    assert (clip.clip_id, clip.split) == ("a", "test")
    (tmp_path / "m.tsv").write_text("'path'\t'licence'\n'a\tb.mp4'\t'CC0'\n")
    (clip,) = read_manifest(tmp_path / "m.tsv")
    assert (clip.path.name, clip.licence) == ("a\tb.mp4", "CC0")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,spilt\na.mp4,test\n", r"line 2: the column 'spilt' is not known; is it 'split'\?"),
        ("path,label\na.mp4,harp\n", r"'label' is not known; is it 'labels'\?"),
        ("paths,split\na.mp4,test\n", r"'paths' is not known; is it 'path'\?"),
        ("file,split\na.mp4,test\n", "line 2 names no path; its columns are file, split"),
        ("path,split\na.mp4,test,x\n", "line 2 holds 3 values, the header names 2 columns"),
        ("path,path\na.mp4,b.mp4\n", "names the column 'path' twice"),
        ("path,Path\na.mp4,b.mp4\n", "gives 'path' twice"),
        ("path,split\na.mp4,dev\n", "split is 'dev'"),
        ("path,notes\na.mp4,x\n", "its notes are not JSON"),
        ("", "lists no clip"),
        ("path\n", "lists no clip"),
        ("\n\n", "lists no clip"),
    ],
)
def test_a_table_that_cannot_be_understood(tmp_path, text, message):
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_manifest(tmp_path / "m.csv")


def test_keys_of_json_are_as_free(tmp_path):
    (tmp_path / "m.jsonl").write_text('{" Path ": "a.mp4", "License": "CC0", "seconds": 3}\n')
    (clip,) = read_manifest(tmp_path / "m.jsonl")
    assert (clip.path.name, clip.licence, clip.extra) == ("a.mp4", "CC0", {"seconds": 3})
    (tmp_path / "m.jsonl").write_text('{"path": "a.mp4", "splitt": "test"}\n')
    with pytest.raises(UserError, match=r"line 1: the column 'splitt' is not known; is it 'split'\?"):
        read_manifest(tmp_path / "m.jsonl")
    (tmp_path / "m.jsonl").write_bytes(b'{"path": "a.mp4"}\n{"path": "\xff.mp4"}\n')
    with pytest.raises(UserError, match=r"m\.jsonl line 2 is not UTF-8 text"):
        read_manifest(tmp_path / "m.jsonl")


def test_a_path_in_another_spelling_is_found(tmp_path):
    (tmp_path / "cafe\u0301.mp4").write_bytes(b"x")
    (tmp_path / "m.csv").write_text("path\ncaf\u00e9.mp4\n", encoding="utf-8")
    (clip,) = read_manifest(tmp_path / "m.csv")
    assert clip.path.exists() and clip.clip_id == "caf\u00e9"
