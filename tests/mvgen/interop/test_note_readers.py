"""Second readers of notes: notes out of likelihoods, and real networks on a sound whose notes are known."""

from __future__ import annotations

import numpy as np
import pytest

from mvgen.errors import UserError
from mvgen.interop import note_readers
from mvgen.interop.note_readers import GAP, HOP, LOWEST, RATE, BasicPitch, SwiftF0, notes_of


def test_a_note_lasts_until_it_has_faded_or_begins_again() -> None:
    begins, sounds = np.zeros((200, 88)), np.zeros((200, 88))
    begins[[9, 10, 11], 39] = 0.4, 0.9, 0.6  # one peak
    sounds[10:40, 39] = 0.8
    sounds[45:60, 39] = 0.8  # a gap that is short enough
    begins[80, 39], begins[100, 39], sounds[80:120, 39] = 0.7, 0.7, 0.8  # struck again while it sounds
    begins[150, 60], sounds[150:152, 60] = 0.9, 0.9  # too short
    begins[20, 5] = 0.49  # not likely enough
    found = notes_of(begins, sounds)
    np.testing.assert_allclose(found[:, :2] * RATE / HOP, [[10, 60], [80, 100], [100, 120]])
    assert (found[:, 2] == 39 + LOWEST).all() and GAP > 5
    assert notes_of(np.zeros((10, 88)), np.zeros((10, 88))).shape == (0, 3)


def _played(pitches: list[int]) -> np.ndarray:
    """Half a second each, with harmonics, a sharp attack and a quick fall."""
    time = np.arange(RATE // 2) / RATE
    tones = []
    for pitch in pitches:
        frequency = 440 * 2 ** ((pitch - 69) / 12)
        tone = sum(np.sin(2 * np.pi * frequency * k * time) / k**1.5 for k in range(1, 7))
        tones.append(tone * np.exp(-4 * time) * np.minimum(1, time * 200) * 0.3)
    return np.concatenate([np.zeros(RATE // 4), *tones, np.zeros(RATE // 4)]).astype(np.float32)


@pytest.mark.parametrize("kind", [BasicPitch, SwiftF0])
def test_a_melody_is_read(kind: type) -> None:
    try:
        reader = kind()
    except UserError as error:
        pytest.skip(str(error))
    pitches = [60, 64, 67, 72, 65]
    found = reader(_played(pitches), RATE)
    for number, pitch in enumerate(pitches):
        near = np.abs(found[:, 0] - (0.25 + number / 2)) < 0.06
        assert pitch in np.rint(found[near][:, 2]), (pitch, found)
    assert len(reader(np.zeros(RATE, np.float32), RATE)) == 0


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    with pytest.raises(UserError, match="make setup-weights"):
        BasicPitch(str(tmp_path))
    monkeypatch.setitem(__import__("sys").modules, "swift_f0", None)
    with pytest.raises(UserError, match=r"swift_f0 is not here: pip install 'mvgen\[hearing\]'"):
        note_readers.SwiftF0()
