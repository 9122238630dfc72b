"""Pitches are read from sound, and notes matched by time and pitch."""

import numpy as np
import pytest

from mvgen.evaluation.metrics.clips import Clip
from mvgen.evaluation.metrics.notes import note_agreement, pitch_right, transcribe
from mvgen.evaluation.metrics.pitch import PitchReader, frequency
from mvgen.evaluation.metrics.scores import score_notes
from mvgen.media.onsets import onset_strength, pick_onsets
from tests.mvgen.evaluation.metrics.sounds import MELODY, SECONDS, play

READER = PitchReader(np.arange(36, 97))
NOTES = np.array(MELODY, float)


@pytest.mark.parametrize("partials", [1, 2, 6, 12])
def test_reads_every_pitch_without_octave_errors(partials):
    for pitch in range(43, 90, 3):
        sound = play([(0.1, 0.5, pitch)], 0.6, partials)
        assert READER.read(sound, 0.1, 0.5) == [pitch]


def test_reads_a_note_without_its_fundamental():
    time = np.arange(9000) / 22_050
    sound = sum(np.sin(2 * np.pi * 110 * k * time) for k in (2, 3, 4, 5, 6)).astype(np.float32)
    assert READER.read(0.1 * sound, 0.0, 0.4) == [45]


def test_reads_two_voices():
    sound = play([(0.1, 0.5, 50), (0.1, 0.5, 66)], 0.6)
    assert set(READER.read(sound, 0.1, 0.5, voices=2)) == {50, 66}
    assert len(READER.read(play([(0.1, 0.5, 50)], 0.6), 0.1, 0.5, voices=2)) == 1


def test_silence_and_short_stretches_have_no_pitch():
    assert READER.read(np.zeros(22_050, np.float32), 0.1, 0.5) == []
    assert READER.read(play(MELODY, SECONDS), 0.3, 0.34) == []
    assert transcribe(np.zeros(22_050, np.float32), np.zeros(0), READER).shape == (0, 3)
    with pytest.raises(ValueError, match="candidate"):
        PitchReader(np.zeros(0))


def test_transcribes_a_melody():
    sound = play(MELODY, SECONDS)
    heard = transcribe(sound, pick_onsets(onset_strength(sound)), READER)
    assert note_agreement(NOTES, heard)["f"] > 0.9
    assert note_agreement(NOTES + (0, 0, 1), heard)["f"] < 0.3


def test_agreement_by_hand():
    reference = np.array([(1.0, 1.4, 60), (2.0, 2.4, 62), (3.0, 3.4, 64)])
    estimated = np.array([(1.04, 1.1, 60), (2.0, 2.4, 63), (3.06, 3.4, 64), (3.5, 3.6, 70)])
    scores = note_agreement(reference, estimated)  # on time and in tune; out of tune; late; too many
    assert (scores["precision"], scores["recall"]) == (pytest.approx(1 / 4), pytest.approx(1 / 3))
    ends = note_agreement(reference, np.array([(1.0, 1.44, 60), (2.0, 2.2, 62), (3.0, 3.49, 64)]), offsets=True)
    assert ends["f"] == pytest.approx(1 / 3)  # of 0.4 s, 0.08 s are allowed: 0.04 late; 0.2 early; 0.09 late
    assert np.isnan(note_agreement(np.zeros((0, 3)), np.zeros((0, 3)))["f"])
    assert note_agreement(reference, np.zeros((0, 3)))["f"] == 0.0


def test_pitch_right_counts_notes():
    sound = play(MELODY, SECONDS)
    onsets = pick_onsets(onset_strength(sound))
    assert pitch_right(NOTES, sound, onsets, READER) == 1.0
    wrong = NOTES.copy()
    wrong[:2, 2] += 12
    assert pitch_right(wrong, sound, onsets, READER) == pytest.approx(6 / 8)
    assert pitch_right(NOTES, np.zeros_like(sound), np.zeros(0), READER) == 0.0
    assert np.isnan(pitch_right(np.zeros((0, 3)), sound, onsets, READER))


def test_concert_pitch():
    np.testing.assert_allclose(frequency(np.array([57, 69, 81])), [220, 440, 880])


def test_written_notes_are_right_when_their_kind_is():
    melody = np.concatenate([NOTES, np.zeros((len(NOTES), 1))], axis=1)
    clips = [Clip("a", "piano", NOTES), Clip("b", "piano", NOTES + (0.3, 0.3, 3)), Clip("c", "drums", NOTES)]
    drums = melody + (0, 0, 0, 1)
    scores = score_notes(clips, [melody, melody, melody], [9.0] * 3).values
    assert scores["note_f_midi"].tolist() == [1.0, 0.0, 0.0] == scores["note_f_midi_offsets"].tolist()
    table = score_notes(clips, [drums, None, drums], [9.0] * 3)
    np.testing.assert_array_equal(table.values["note_f_midi"], [0.0, np.nan, 1.0])
    late = melody + (0, 0.2, 0, 0)
    assert score_notes(clips[:1], [late], [9.0]).values["note_f_midi_offsets"][0] < 0.3
    # What starts after the video has ended is not asked for.
    half = score_notes(clips[:1], [melody[:3]], [float(NOTES[3, 0])])
    assert half.values["note_f_midi"].tolist() == [1.0]
