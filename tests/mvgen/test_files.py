"""Outputs: refused before the work where they could not be written, whole or not there, under any name."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mvgen.errors import UserError, finite_fields, in_range, seed_in_range
from mvgen.files import LONGEST_NAME, as_spelled, check_output, make_folder, whole_file, write_json, write_text
from mvgen.media import WavStream, probe, read_sound, write_video, write_wav
from tests.unprivileged import as_nobody, open_folder

ROOT = Path(__file__).parents[2]
FRAMES = np.zeros((5, 16, 16, 3), np.uint8)
SOUND = np.full(3200, 0.1, np.float32)


def test_where_a_result_cannot_be_written(tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"x")
    (tmp_path / "folder.mp4").mkdir()
    os.mkfifo(tmp_path / "pipe.mp4")
    os.link(tmp_path / "film.mp4", tmp_path / "other.mp4")
    (tmp_path / "link.mp4").symlink_to("film.mp4")
    inputs = (tmp_path / "missing.mp4", "", tmp_path / "film.mp4")
    for name, said in {
        "a.avi": "end its name with .mp4 or .wav",
        "folder.mp4": "is a folder",
        "": "end its name with",
        "pipe.mp4": "is not a plain file",
        "missing/a.mp4": "the folder .*missing does not exist",
        "film.mp4/a.mp4": "the folder .*film.mp4 does not exist",
        "x" * 252 + ".mp4": "its name is longer than 255 bytes",
        "film.mp4": "is also an input",
        "other.mp4": "is also an input",
        "link.mp4": "is also an input",
    }.items():
        with pytest.raises(UserError, match=f"--out .*{said}"):
            check_output("--out", tmp_path / name, (".mp4", ".wav"), inputs)
    check_output("--out", tmp_path / "new.mp4", (".mp4",), inputs)
    check_output("--out", tmp_path / "take:1.mp4")
    with pytest.raises(UserError, match=r"MB are free there, .* are needed"):
        check_output("--out", tmp_path / "a.mp4", size=1 << 60)


@pytest.mark.parametrize(
    "name",
    ["take:1", "-i", "%03d", "a\nb", "x" * 245, "\u00e9" * 122, "\u0065\u0301", os.fsdecode(b"\xff\xfe"), "a'b\"c [d]"],
)
def test_results_of_any_name(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)  # so that nothing stands before the name
    for ending in (".mp4", ".wav"):
        check_output("--out", name + ending, (ending,))
    write_video(f"{name}.mp4", FRAMES, SOUND, 32_000)
    assert probe(f"{name}.mp4").has_sound and len(read_sound(f"{name}.mp4", 32_000)) == 3200
    write_wav(f"{name}.wav", SOUND, 32_000)
    write_json(f"{name}.json", {"name": name})
    write_text(f"{name}.html", f"<p>{name}")
    assert len(os.listdir(tmp_path)) == 4 and os.listdir(tmp_path)[0].startswith(name)


def test_a_longer_name_still_has_a_partial_one(tmp_path):
    with whole_file(tmp_path / ("x" * (LONGEST_NAME - 4) + ".mp4")) as partial:
        assert len(os.fsencode(partial.name)) <= LONGEST_NAME and partial.suffix == ".mp4"
        partial.write_bytes(b"x")


def test_spellings_of_one_name(tmp_path):
    composed, apart = "caf\u00e9.mp4", "cafe\u0301.mp4"
    (tmp_path / apart).write_bytes(b"x")
    assert as_spelled(str(tmp_path / composed)) == str(tmp_path / apart)
    assert as_spelled(str(tmp_path / apart)) == str(tmp_path / apart)
    (tmp_path / composed).write_bytes(b"y")
    assert as_spelled(str(tmp_path / composed)) == str(tmp_path / composed)
    assert as_spelled("/missing/\u00e9") == "/missing/\u00e9"


def test_as_a_user_without_rights():
    with open_folder() as folder:
        closed = folder / "closed"
        closed.mkdir()
        write_wav(closed / "a.wav", SOUND, 32_000)
        write_wav(folder / "secret.wav", SOUND, 32_000)
        write_wav(folder / "mine.wav", SOUND, 32_000)
        os.chmod(folder / "secret.wav", 0o000)
        os.chmod(folder / "mine.wav", 0o444)
        os.chmod(closed, 0o555)
        said = as_nobody(lambda: check_output("--out", closed / "b.wav"))
        assert said.startswith("UserError") and "closed may not be written" in said
        said = as_nobody(lambda: check_output("--out", folder / "mine.wav"))
        assert said.startswith("UserError") and "protected" in said
        said = as_nobody(lambda: read_sound(folder / "secret.wav", 32_000))
        assert said == f"UserError: {folder}/secret.wav may not be read (permission denied)"
        for write in (lambda: write_wav(closed / "b.wav", SOUND, 32_000), lambda: write_text(closed / "b.txt", "x"),
                      lambda: write_video(closed / "b.mp4", FRAMES, None, 32_000)):  # fmt: skip
            said = as_nobody(write)
            assert said.startswith("UserError: cannot write") and said.endswith("Permission denied")
        assert as_nobody(lambda: read_sound(closed / "a.wav", 32_000)) == ""
        assert as_nobody(lambda: write_wav(folder / "new.wav", SOUND, 32_000)) == ""
        os.chmod(closed, 0o000)
        said = as_nobody(lambda: read_sound(closed / "a.wav", 32_000))
        assert said.startswith("UserError") and "no such file" in said
        os.chmod(closed, 0o755)


def test_a_full_disk_is_one_line_and_leaves_what_was_there(tmp_path, monkeypatch):
    write_wav(tmp_path / "a.wav", SOUND, 32_000)
    before = (tmp_path / "a.wav").read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    for write in (lambda: write_wav(tmp_path / "a.wav", SOUND[:99], 32_000),
                  lambda: write_video(tmp_path / "a.mp4", FRAMES, SOUND, 32_000),
                  lambda: write_json(tmp_path / "a.json", {})):  # fmt: skip
        with pytest.raises(UserError, match=r"cannot write .*a\..*: No space left on device"):
            write()
    monkeypatch.undo()
    assert (tmp_path / "a.wav").read_bytes() == before and os.listdir(tmp_path) == ["a.wav"]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(UserError, match="0.0 MB are free there"):
        check_output("--out", tmp_path / "b.wav")


def test_a_stream_that_breaks_off_puts_the_earlier_result_back(tmp_path):
    write_wav(tmp_path / "a.wav", SOUND, 32_000)
    before = (tmp_path / "a.wav").read_bytes()
    with pytest.raises(RuntimeError), WavStream(tmp_path / "a.wav", 32_000, 100) as stream:
        stream.write(SOUND[:10])
        raise RuntimeError
    assert (tmp_path / "a.wav").read_bytes() == before
    with WavStream(tmp_path / "a.wav", 32_000, 10) as stream:
        stream.write(SOUND[:10])
    assert len(read_sound(tmp_path / "a.wav", 32_000)) == 10 and os.listdir(tmp_path) == ["a.wav"]


@pytest.mark.parametrize("locale", ["C", "POSIX", "C.UTF-8"])
def test_any_name_can_be_told_in_any_locale(locale):
    program = "from mvgen.errors import run_command\nimport sys\n"
    program += "def main():\n    print(sys.argv[1])\n    print('caf\\u00e9')\n    return 3\nrun_command(main)"
    told = {"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PATH": os.environ["PATH"]}
    name = b"\xff\xc3\xa9"
    run = subprocess.run(
        [sys.executable.encode(), b"-c", program.encode(), name], capture_output=True, env=told, cwd=ROOT
    )
    assert run.returncode == 3 and run.stderr == b"" and len(run.stdout.splitlines()) == 2


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), -0.1, 5.1])
def test_numbers_out_of_range_name_the_range(value):
    with pytest.raises(UserError, match=r"--guidance .*: it must be a number from 0 to 5"):
        in_range("--guidance", value, 0, 5)
    in_range("--guidance", 5, 0, 5)


def test_seeds_and_fields():
    for seed in (-1, 2**32, 2**63, 10**30):
        with pytest.raises(UserError, match="--seed .*: it must be a whole number from 0 to 4294967295"):
            seed_in_range("--seed", seed)
    seed_in_range("--seed", 2**32 - 1)
    finite_fields({"a": 1.0, "b": {"c": (1.0, "x", None)}})
    for fields in ({"b": {"c": float("nan")}}, {"b": {"c": [0.0, float("inf")]}}):
        with pytest.raises(UserError, match=r"config\.b\.c.* it must be a finite number"):
            finite_fields(fields)


def test_folders_for_results(tmp_path):
    make_folder("--out", tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="--out .*file is a file; name a folder"):
        make_folder("--out", tmp_path / "file")
    for place in (tmp_path / "file" / "c", tmp_path / ("x" * 300)):
        with pytest.raises(UserError, match="--out .*: the folder cannot be made: "):
            make_folder("--out", place)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("data.window_seconds=nan", "error: config.data.window_seconds is nan; it must be a finite number\n"),
        ("seed=9223372036854775808", "error: config.seed 9223372036854775808: it must be a whole number from 0 to "),
    ],
)
def test_numbers_of_a_training_configuration(tmp_path, change, said):
    command = [sys.executable, "-m", "mvgen.main", "--config=base", f"--workdir={tmp_path / 'run'}"]
    run = subprocess.run([*command, f"--config.{change}"], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 2 and run.stdout == "" and run.stderr.startswith(said) and run.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()
