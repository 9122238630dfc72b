"""Which clips a folder or manifest gives, and which of them belong together."""

import json

import pytest

from data_prep.convert.write import split_of
from data_prep.sources import find_clips
from data_prep.sources.folder import source_of
from mvgen.errors import UserError


@pytest.mark.parametrize(
    ("stem", "source"),
    [
        ("piano_topview_a_10s", "piano_topview"),
        ("piano_topview_b_10s", "piano_topview"),
        ("ukulele_duo_60s", "ukulele_duo"),
        ("recital part 2", "recital"),
        ("Suite-clip03", "Suite"),
        ("talk_cut_1_2.5s", "talk"),
        ("video_017", "video_017"),
        ("violin", "violin"),
        ("a", "a"),
        ("10s", "10s"),
    ],
)
def test_cuts_of_one_video_share_their_source(stem, source):
    assert source_of(stem) == source


def test_folder(tmp_path):
    for name in (
        "b/x_a.mp4",
        "b/x_b.MOV",
        "c/x_a.mp4",
        "d.mp4",
        "d.mkv",
        "notes.txt",
        ".hidden.mp4",
        "made/clips/e.mp4",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "made" / "mvgen_records.json").write_text("{}")
    clips = {clip.clip_id: clip for clip in find_clips(tmp_path)}
    assert {name: clip.source_id for name, clip in clips.items()} == {
        "b_x_a": "b/x", "b_x_b": "b/x", "c_x_a": "c/x", "d.mkv": "d", "d.mp4": "d",
    }  # fmt: skip
    assert clips["b_x_b"].path == tmp_path / "b/x_b.MOV"


def test_names_that_become_the_same_id_are_told_apart(tmp_path):
    names = ["x/y.mp4", "x_y.mp4", "x:y.mp4", "x/y/z.mp4", "x_y/z.mp4", "x/z.mp4", "a.mp4", "a.mov"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    ids = {clip.path.relative_to(tmp_path).as_posix(): clip.clip_id for clip in find_clips(tmp_path)}
    assert set(ids) == set(names) and len(set(ids.values())) == len(names)
    assert (ids["x_y.mp4"], ids["x/z.mp4"], ids["a.mp4"]) == ("x_y", "x_z", "a.mp4")
    assert ids["x/y.mp4"].startswith("x_y-") and ids["x:y.mp4"].startswith("x_y-")
    assert all(clip.source_id != "x_y" for clip in find_clips(tmp_path) if clip.path.parent != tmp_path)


def test_a_folder_with_a_manifest_is_what_the_manifest_says(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"")
    (tmp_path / "b.mp4").write_bytes(b"")
    (tmp_path / "manifest.jsonl").write_text(json.dumps({"path": "b.mp4", "clip_id": "bee"}))
    assert [clip.clip_id for clip in find_clips(tmp_path)] == ["bee"]


def test_no_clips(tmp_path):
    with pytest.raises(UserError, match="holds no video"):
        find_clips(tmp_path)
    with pytest.raises(UserError, match="no such file or folder"):
        find_clips(tmp_path / "missing")
    (tmp_path / "a.mp4").write_bytes(b"")
    with pytest.raises(UserError, match="neither a folder nor a manifest"):
        find_clips(tmp_path / "a.mp4")
    (tmp_path / "mvgen_records.json").write_text("{}")
    with pytest.raises(UserError, match="folder of records already"):
        find_clips(tmp_path)


def test_splits_depend_on_the_source_alone():
    names = [f"source {number}" for number in range(4000)]
    share = sum(split_of(name, 10) == "test" for name in names) / len(names)
    assert 0.08 < share < 0.12
    # More for the test split never takes a source out of it.
    assert all(split_of(name, 30) == "test" for name in names if split_of(name, 10) == "test")
    assert split_of("x", 0) == "train" and split_of("x", 100) == "test"


def make_urmp(folder):
    """Two pieces as URMP lays them out, without any media in them."""
    for name, parts in {"01_Jupiter_vn_vc": ("vn", "vc"), "02_Sonata_vn_vn": ("vn", "vn")}.items():
        piece, title = folder / name, "_".join(name.split("_")[:2])
        piece.mkdir(parents=True)
        for number, part in enumerate(parts, 1):
            for ending in (f"AuSep_{number}_{part}_{title}.wav", f"F0s_{number}_{part}_{title}.txt"):
                (piece / ending).write_bytes(b"")
            lines = f"0.500\t{440 * number}\t0.250\n\n{number} 261.3 0.5\n"
            (piece / f"Notes_{number}_{part}_{title}.txt").write_text(lines)
        for other in (f"Vid_{name}.mp4", f"AuMix_{name}.wav", f"Sco_{name}.mid"):
            (piece / other).write_bytes(b"")
    (folder / "Supplementary_Files").mkdir()


def test_urmp(tmp_path):
    make_urmp(tmp_path)
    one, two = find_clips(tmp_path)
    assert (one.clip_id, one.source_id, one.labels) == ("01_Jupiter_vn_vc", "01_Jupiter_vn_vc", ("violin", "cello"))
    assert one.path == tmp_path / "01_Jupiter_vn_vc" / "Vid_01_Jupiter_vn_vc.mp4" and one.sound is None
    assert one.notes == ((0.5, 0.75, 69.0), (0.5, 0.75, 81.0), (1.0, 1.5, 60.0), (2.0, 2.5, 60.0))
    assert two.labels == ("violin",) and two.licence == "CC0-1.0"


def test_urmp_part_by_part(tmp_path):
    make_urmp(tmp_path)
    clips = find_clips(tmp_path, single_parts=True)
    assert [clip.clip_id for clip in clips][:2] == ["01_Jupiter_vn_vc-part1", "01_Jupiter_vn_vc-part2"]
    cello = clips[1]
    assert cello.labels == ("cello",) and cello.notes == ((0.5, 0.75, 81.0), (2.0, 2.5, 60.0))
    assert cello.sound == tmp_path / "01_Jupiter_vn_vc" / "AuSep_2_vc_01_Jupiter.wav"
    assert cello.path == clips[0].path and cello.source_id == clips[0].source_id
    assert len(clips) == 4 and all(clip.sound.is_file() for clip in clips)
    (tmp_path / "01_Jupiter_vn_vc" / "Notes_1_vn_01_Jupiter.txt").write_text("0.5 high 0.25\n")
    with pytest.raises(UserError, match=r"Notes_1_vn_01_Jupiter\.txt line 1: not an onset"):
        find_clips(tmp_path)


def test_fair_play(tmp_path):
    for name in ("videos/000001.mp4", "videos/000002.mp4", "binaural_audios/000001.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    one, two = find_clips(tmp_path)
    assert (one.clip_id, one.sound, one.licence) == ("000001", tmp_path / "binaural_audios" / "000001.wav", "CC-BY-4.0")
    assert one.source_id != two.source_id and not two.sound.exists()
