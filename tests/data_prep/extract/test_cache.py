"""What is kept, under which key, and what a damaged entry does."""

import os
import subprocess

import numpy as np
import pytest

from data_prep.extract.cache import Cache, _host
from mvgen.errors import UserError
from mvgen.files import file_hash


def test_keys_tell_content_kind_and_settings_apart(tmp_path):
    cache = Cache(tmp_path)
    places = {
        cache.place(content, kind, settings, ".npy")
        for content in ("a", "b")
        for kind in ("flow", "tokens")
        for settings in ({"size": (1, 2)}, {"size": (1, 3)}, {"size": (1, 2), "method": "dis"})
    }
    assert len(places) == 12
    assert cache.place("a", "flow", {"x": 1, "y": 2}, "") == cache.place("a", "flow", {"y": 2, "x": 1}, "")


def test_arrays_are_kept_whole_or_not_at_all(tmp_path):
    cache = Cache(tmp_path)
    place = cache.place("a", "flow", {}, ".npy")
    assert cache.array(place) is None
    array = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float16)
    cache.keep_array(place, array)
    np.testing.assert_array_equal(cache.array(place), array)

    cache.keep_array(place, np.zeros(3))
    np.testing.assert_array_equal(cache.array(place), array)

    def fail(path):
        path.write_bytes(b"half")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        cache.keep(cache.place("b", "flow", {}, ".npy"), fail)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [place]


def test_a_damaged_entry_counts_as_none(tmp_path):
    cache = Cache(tmp_path)
    place = cache.place("a", "flow", {}, ".npy")
    cache.keep_array(place, np.zeros((100, 3)))
    place.write_bytes(place.read_bytes()[:200])
    assert cache.array(place) is None and not place.exists()


def test_leftovers_of_dead_processes_go_and_those_of_living_stay(tmp_path):
    cache = Cache(tmp_path)
    place = cache.place("a", "flow", {}, ".npy")
    with subprocess.Popen(["true"]) as dead:
        pass
    seen = []

    def make(path):
        path.write_bytes(b"half")
        left = path.with_name(path.name.replace(f".{os.getpid()}.", f".{dead.pid}."))
        elsewhere = path.with_name(f".another-host.{dead.pid}.x.npy")
        left.write_bytes(b"half"), elsewhere.write_bytes(b"half")
        cache.clear_leftovers()
        seen.extend((path.exists(), left.exists(), elsewhere.exists()))

    cache.keep(place, make)
    assert seen == [True, False, True]


def test_leftovers_of_a_killed_process_that_nobody_waited_for_go(tmp_path):
    cache = Cache(tmp_path)
    kept = cache.place("a", "flow", {}, ".npy")
    cache.keep(kept, lambda path: path.write_bytes(b"whole"))
    with subprocess.Popen(["sleep", "60"]) as process:
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and stays a zombie
        left = kept.with_name(f".{_host()}.{process.pid}.x.npy")
        left.write_bytes(b"half")
        cache.clear_leftovers()
        assert not left.exists() and kept.exists()


def test_a_cache_that_cannot_be_written_is_said_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    Cache(tmp_path / "new" / "deep").check()
    assert not (tmp_path / "new").exists()
    with pytest.raises(UserError, match="cannot be written; name another folder with --cache"):
        Cache(tmp_path / "file" / "x").check()


def test_file_hash(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert file_hash(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
