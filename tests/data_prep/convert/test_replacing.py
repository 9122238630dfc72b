"""One run at a time into one folder, and what killed runs leave behind."""

import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest

from data_prep.convert.replacing import replacing_folder
from data_prep.extract.cache import Cache
from mvgen.errors import UserError
from tests.unprivileged import as_nobody, open_folder

HOLD = """
import sys, time
from data_prep.convert.replacing import replacing_folder
with replacing_folder(sys.argv[1]) as folder:
    (folder / "half").write_text("made")
    print("holding", flush=True)
    time.sleep(60)
"""


def make(place, text):
    with replacing_folder(place) as folder:
        (folder / "mvgen_records.json").write_text(text)


def names(place):
    return sorted(path.name for path in place.iterdir())


def test_the_second_of_two_runs_says_so(tmp_path):
    with replacing_folder(tmp_path / "out") as folder:
        (folder / "mvgen_records.json").write_text("first")
        message = rf"another run \(process {os.getpid()}\) is writing .*out; wait"
        with pytest.raises(UserError, match=message), replacing_folder(tmp_path / "out"):
            pass
        make(tmp_path / "elsewhere", "at the same time")
    assert (tmp_path / "out" / "mvgen_records.json").read_text() == "first"
    make(tmp_path / "out", "second")
    assert names(tmp_path) == ["elsewhere", "out"]


def test_a_killed_run_stops_nobody_and_leaves_nothing(tmp_path):
    make(tmp_path / "out", "old")
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "out"], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout.readline() == "holding\n"
        with pytest.raises(UserError, match=rf"process {run.pid}\)"):
            make(tmp_path / "out", "too early")
        run.send_signal(signal.SIGKILL)
    assert names(tmp_path) == ["out", "out.lock", f"out.partial-{run.pid}"]
    assert (tmp_path / "out" / "mvgen_records.json").read_text() == "old"
    (tmp_path / "out.partial-of mine").mkdir()
    make(tmp_path / "out", "new")
    assert names(tmp_path) == ["out", "out.partial-of mine"]
    assert (tmp_path / "out" / "mvgen_records.json").read_text() == "new"


def test_killed_between_the_two_renamings(tmp_path):
    """The old records have gone aside and the new ones have not yet come: the old ones are put back."""
    make(tmp_path / "out", "old")
    (tmp_path / "out").rename(tmp_path / "out.old-123")
    (tmp_path / "out.partial-123").mkdir()
    with pytest.raises(RuntimeError), replacing_folder(tmp_path / "out"):
        raise RuntimeError
    assert names(tmp_path) == ["out"] and (tmp_path / "out" / "mvgen_records.json").read_text() == "old"


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk" / "records")
    make(tmp_path / "out", "one")
    make(tmp_path / "out", "two")
    assert (tmp_path / "out").is_symlink() and names(tmp_path / "disk") == ["records"]
    assert (tmp_path / "disk" / "records" / "mvgen_records.json").read_text() == "two"


def test_an_error_leaves_no_folder_that_was_not_there(tmp_path):
    with pytest.raises(RuntimeError), replacing_folder(tmp_path / "new" / "deep" / "out"):
        raise RuntimeError
    assert names(tmp_path) == []


def test_a_file_system_without_locks_is_written_all_the_same(tmp_path, monkeypatch):
    def unknown(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unknown)
    make(tmp_path / "out", "alone, for all that is known")
    assert names(tmp_path) == ["out"]


def test_a_folder_that_may_not_be_written(tmp_path):
    with open_folder() as folder:
        (folder / "closed").mkdir()
        (folder / "closed").chmod(0o555)
        said = as_nobody(lambda: make(folder / "closed" / "out", "text"))
        assert said == f"UserError: {folder}/closed/out cannot be made: Permission denied"
        said = as_nobody(Cache(folder / "closed" / "cache").check)
        assert said == f"UserError: {folder}/closed/cache cannot be written; name another folder with --cache"
        assert as_nobody(lambda: make(folder / "out", "text")) == ""
        assert sorted(os.listdir(folder)) == ["closed", "out"] and os.listdir(folder / "closed") == []
