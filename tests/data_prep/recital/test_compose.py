"""Scores: the same for the same numbers, within the rules of their instruments, and musical."""

from itertools import pairwise

import numpy as np
import pytest

from data_prep.recital.compose import SCALES, compose
from data_prep.recital.score import DRUMS, HIGHEST, INSTRUMENTS, LOWEST, PROGRAMS
from mvgen.errors import UserError

MANY = range(60)


def test_same_numbers_same_score():
    for instrument in INSTRUMENTS:
        assert compose(3, 7, instrument) == compose(3, 7, instrument)
        assert compose(3, 7, instrument).notes != compose(3, 8, instrument).notes
        assert compose(3, 7, instrument).notes != compose(4, 7, instrument).notes


@pytest.mark.parametrize("instrument", INSTRUMENTS)
@pytest.mark.parametrize("seconds", [2.0, 6.0, 31.7])
def test_notes_lie_in_the_clip_and_in_order(instrument, seconds):
    for index in MANY:
        score = compose(1, index, instrument, seconds)
        assert score.program in PROGRAMS[instrument]
        assert score.notes, "an empty performance teaches nothing"
        assert list(score.notes) == sorted(score.notes, key=lambda note: (note.onset, note.pitch))
        for note in score.notes:
            assert 0.1 < note.onset < seconds - 0.1
            assert note.onset + 0.05 < note.offset <= seconds or note.offset == seconds
            assert 40 <= note.velocity <= 120


@pytest.mark.parametrize("instrument", ["keyboard", "strings", "guitar", "marimba"])
def test_pitches_keep_to_the_key_and_voices_do_not_overlap(instrument):
    voices = set()
    for index in MANY:
        score = compose(2, index, instrument)
        voices.add(score.voices)
        tonic, mode = score.key
        allowed = {(tonic + step) % 12 for step in SCALES[mode]}
        assert all(note.pitch % 12 in allowed and LOWEST <= note.pitch <= HIGHEST for note in score.notes)
        for voice in range(score.voices):
            line = [note for note in score.notes if note.voice == voice]
            assert all(after.onset - before.offset >= 0.05 for before, after in pairwise(line))
    assert voices == ({1, 2} if instrument == "keyboard" else {1})


def test_half_of_the_keyboard_clips_have_one_voice_and_it_can_be_asked_for():
    single = np.mean([compose(5, index, "keyboard").voices == 1 for index in range(200)])
    assert 0.4 < single < 0.6
    assert all(compose(5, index, "keyboard", voices=1).voices == 1 for index in range(10))


def test_every_pitch_and_every_piece_is_played():
    for instrument, pitches in (("keyboard", range(LOWEST, HIGHEST + 1)), ("strings", range(LOWEST, HIGHEST + 1)),
                                ("drums", DRUMS)):  # fmt: skip
        played = {note.pitch for index in range(200) for note in compose(0, index, instrument).notes}
        assert played == set(pitches)


def test_a_drummer_has_two_hands_and_two_sounds_at_a_time():
    for index in MANY:
        notes = compose(4, index, "drums").notes
        onsets = np.array([note.onset for note in notes])
        assert max(np.sum(np.abs(onsets - onset) < 0.02) for onset in onsets) <= 2
        distinct = np.unique(np.round(onsets, 3))
        assert np.diff(distinct).min() > 0.12


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((0, 0, "theremin"), "no instrument 'theremin'"),
        ((-1, 0, "drums"), "negative"),
        ((0, 0, "drums", 0.2), "1 to 3600"),
        ((0, 0, "drums", float("nan")), "1 to 3600"),
        ((0, 0, "keyboard", 6.0, 5), "1 or 2 voices"),
    ],
)
def test_bad_arguments_are_answered(arguments, says):
    with pytest.raises(UserError, match=says):
        compose(*arguments)
