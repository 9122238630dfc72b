"""What is kept, under which key, and what a damaged entry does."""

import numpy as np
import pytest

from data_prep.cache import Cache, file_hash


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


def test_file_hash(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert file_hash(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
