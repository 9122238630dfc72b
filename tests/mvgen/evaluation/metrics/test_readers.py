"""Second readers: against known notes and against originals, instruments, and a distance with its floor."""

from __future__ import annotations

import numpy as np
import pytest

from mvgen.errors import UserError
from mvgen.evaluation.metrics.clips import Clip, Heard, Seen
from mvgen.evaluation.metrics.readers import load_readers, parse_readers, score_readers
from mvgen.interop import note_readers
from mvgen.interop.musicnn import TAGS

NOTES = {0.1: [[0.0, 0.4, 60], [0.5, 0.9, 64]], 0.2: [[0.0, 0.4, 62], [0.5, 0.9, 65]], 0.3: [[0.0, 0.4, 60]]}


def heard(level: float) -> Heard:
    return Heard(np.full(22_050, level, np.float32))


def level_of(sound: np.ndarray) -> float:
    return round(float(sound[0]), 1)


def read(sound: np.ndarray, rate: int) -> np.ndarray:
    return np.array(NOTES[level_of(sound)])


def listen(sound: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
    tags = np.zeros((2, len(TAGS)))
    tags[:, TAGS.index("violin" if level_of(sound) == 0.1 else "piano")] = 0.9
    return tags, np.random.default_rng(int(10 * level_of(sound))).normal(size=(2, 4))


def test_notes_instruments_and_a_distance() -> None:
    clips = [
        Clip("a", "strings", np.array(NOTES[0.1])), Clip("b", "strings", np.array(NOTES[0.2])),
        Clip("c", "bowed"), Clip("d", "drums", np.array([[0.0, 0.1, 36.0]])),
    ]  # fmt: skip
    pairs = [(heard(0.1), heard(0.3)), (heard(0.2), heard(0.2)), (heard(0.1), heard(0.1)), (heard(0.1), heard(0.2))]
    seen = [(Seen(np.full((4, 8, 8, 3), a, np.uint8)), Seen(np.full((4, 8, 8, 3), b, np.uint8)))
            for a, b in ((1, 1), (1, 2), (2, 2), (2, 2))]  # fmt: skip
    readers = {"basic_pitch": read, "musicnn": listen, "efficientnet": lambda frames: str(frames[0, 0, 0, 0])}
    table, found = score_readers(clips, pairs, seen, readers)
    np.testing.assert_allclose(table.values["note_f_basic_pitch"], [2 / 3, 1, np.nan, np.nan])
    np.testing.assert_allclose(table.originals["note_f_basic_pitch"], [1, 1, np.nan, np.nan])
    np.testing.assert_allclose(table.values["note_f_sound_basic_pitch"], [np.nan, np.nan, 1, np.nan])
    np.testing.assert_allclose(table.values["sound_instrument"], [0, 1, 1, 0])
    np.testing.assert_allclose(table.values["picture_instrument"], [1, 0, 1, 1])
    assert found["musicnn"]["patches"] == 8 and found["musicnn"]["floor"] is not None
    assert "not the published FAD" in found["lines"][0]
    assert score_readers(clips, pairs, seen, {})[1] == {"lines": []}


def test_readers_that_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse_readers("basic_pitch, musicnn,") == ("basic_pitch", "musicnn") and parse_readers("") == ()
    with pytest.raises(UserError, match="--readers names crepe"):
        parse_readers("crepe")
    monkeypatch.setitem(note_readers.MISSING, "swift_f0", "swift_f0 is not here")
    monkeypatch.setitem(__import__("sys").modules, "swift_f0", None)
    with pytest.raises(UserError, match="swift_f0 is not here"):
        load_readers(["swift_f0"])
