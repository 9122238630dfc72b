"""Notes as rolls: each in its own column, at its own moment, and back; nothing where nothing is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mvgen.data import loader
from mvgen.data.note_rolls import COLUMNS, PITCHES, column_of, note_rolls
from mvgen.data.records import RecordSource
from mvgen.inference.video_to_notes import notes_of
from tests.mvgen.synthetic import write_records

NOTES = np.array([[0.21, 0.5, 60], [0.21, 0.9, 64], [0.7, 1.1, 60], [1.0, 1.3, 108]])


def test_every_column_is_one_pitch_or_one_drum():
    told = [column_of(column) for column in range(COLUMNS)]
    assert len(set(told)) == COLUMNS == 88 + 47
    assert told[0] == (21, False) and told[87] == (108, False) and told[88] == (35, True) and told[-1] == (81, True)


def test_an_onset_is_told_by_its_distance_and_sounding_by_its_share():
    rolls = note_rolls(np.array([[0.42, 0.5, 60.0]]), "keyboard", 0, 16)
    assert rolls.shape == (16, 2, COLUMNS) and rolls.dtype == np.float16
    column = PITCHES.index(60)
    # 0.42 s is the middle of frame 10; it sounds from there to the middle of frame 12.
    np.testing.assert_allclose(rolls[8:13, 0, column], [0, 0.5, 1, 0.5, 0], atol=1e-3)
    np.testing.assert_allclose(rolls[9:14, 1, column], [0, 0.5, 1, 0.5, 0], atol=1e-3)
    assert np.count_nonzero(np.delete(rolls, column, axis=2)) == 0


@given(
    st.lists(
        st.tuples(st.integers(21, 108), st.integers(0, 8), st.floats(0, 0.1), st.floats(0.09, 0.3)),
        unique_by=lambda note: note[:2],
        max_size=30,
    )
)
def test_what_the_rolls_tell_is_what_was_played(drawn):
    notes = np.array(
        [(0.1 + 0.4 * beat + late, 0.1 + 0.4 * beat + late + lasts, pitch) for pitch, beat, late, lasts in drawn],
        float,
    ).reshape(-1, 3)
    if not len(notes):
        return
    read = notes_of(note_rolls(notes, "keyboard", 0, 110), 0.5, 0.5)
    assert sorted((note.pitch, round(note.onset / 0.4 - 0.375)) for note in read) == sorted(
        (pitch, beat) for pitch, beat, *_ in drawn
    )
    for note in read:
        near = notes[(notes[:, 2] == note.pitch) & (np.abs(notes[:, 0] - note.onset) < 0.2)][0]
        assert abs(note.onset - near[0]) < 0.005 and abs(note.offset - near[1]) < 0.045 and not note.drum


def test_drums_are_told_from_pitches_by_the_label():
    notes = np.array([[0.2, 0.3, 38.0], [0.4, 0.5, 90.0]])
    (drum,) = notes_of(note_rolls(notes, "drums", 0, 20), 0.5, 0.5)  # there is no drum 90
    assert (drum.pitch, drum.drum) == (38, True) and abs(drum.onset - 0.2) < 0.01
    assert [note.drum for note in notes_of(note_rolls(notes, "strings", 0, 20), 0.5, 0.5)] == [False, False]


def test_a_key_that_is_struck_again_is_two_notes():
    again = np.array([[0.2, 0.4, 60.0], [0.4, 0.6, 60.0]])
    first, second = notes_of(note_rolls(again, "keyboard", 0, 20), 0.5, 0.5)
    assert first.offset <= second.onset + 0.02 and abs(second.onset - 0.4) < 0.01
    assert notes_of(note_rolls(again, "keyboard", 0, 20), 1.01, 0.5) == []


def test_windows_hold_the_rolls_of_their_own_stretch(tmp_path: Path):
    folder = write_records(tmp_path, {"train": [40, 12]}, notes=NOTES)
    windows = loader.Windows(RecordSource(folder, "train", ("tokens", "frames", "notes", "labels")), 10)
    batch = windows.read(([0, 0, 1], [3, 25, 0]))
    assert set(batch) == {"tokens", "frames", "notes"} and batch["notes"].dtype == np.float16
    whole = note_rolls(NOTES, "keyboard", 0, 40)
    np.testing.assert_array_equal(batch["notes"][0], whole[3:13])
    np.testing.assert_array_equal(batch["notes"][1], whole[25:35])
    unknown = write_records(tmp_path / "unknown", {"train": [12]})
    windows = loader.Windows(RecordSource(unknown, "train", ("tokens", "notes", "labels")), 10)
    assert np.isnan(windows.read(([0], [0]))["notes"]).all()
