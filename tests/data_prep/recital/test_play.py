"""The sound: deterministic, safe, balanced, in tune, and beginning where the notes begin."""

from dataclasses import replace

import mir_eval
import numpy as np
import pytest

from data_prep.recital.compose import compose
from data_prep.recital.play import CEILING, play, play_stereo
from data_prep.recital.score import INSTRUMENTS, PROGRAMS, Note, Score
from mvgen.errors import UserError
from mvgen.media.onsets import onset_strength, pick_onsets
from mvgen.media.synthesizer import general_midi

RATE = 22_050


def single(instrument: str, program: int, note: Note) -> Score:
    return Score(0, 0, instrument, program, 2.0, 100.0, 4, (0, "major"), 1, (note,))


def test_same_score_same_samples_whatever_was_played_before():
    first, second = compose(0, 1, "strings"), compose(0, 0, "keyboard")
    before = play(second, 32_000)
    play(first, 32_000)
    play(compose(0, 2, "drums"), 32_000)
    np.testing.assert_array_equal(before, play(second, 32_000))


@pytest.mark.parametrize("rate", [22_050, 32_000, 44_100, 48_000])
def test_length_type_and_the_mean_of_both_channels(rate):
    score = compose(0, 2, "drums", 2.5)
    mono, stereo = play(score, rate), play_stereo(score, rate)
    assert mono.shape == (round(2.5 * rate),) and mono.dtype == np.float32
    np.testing.assert_allclose(stereo.mean(axis=1), mono, atol=1e-6)


def test_instruments_are_equally_loud_and_none_clips():
    loudness = {}
    for instrument in INSTRUMENTS:
        levels = []
        for index in range(10):
            sound = play(compose(6, index, instrument), RATE)
            assert np.abs(sound).max() <= CEILING + 1e-6
            running = np.sqrt(np.convolve(sound**2, np.ones(1024) / 1024, "same"))
            levels.append(np.sqrt(np.mean(sound[running > 0.01] ** 2)))
        loudness[instrument] = 20 * np.log10(np.mean(levels))
    assert np.ptp(list(loudness.values())) < 3, loudness
    assert -24 < np.mean(list(loudness.values())) < -16


@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_sound_begins_at_the_onset(instrument):
    pitches = (36, 38, 42, 45, 49) if instrument == "drums" else (48, 60, 72)
    allowed = 0.030 if instrument == "strings" else 0.015
    for program in PROGRAMS[instrument]:
        for pitch in pitches:
            sound = play(single(instrument, program, Note(0.7, 1.4, pitch, 90)), 44_100)
            onset = round(0.7 * 44_100)
            assert np.abs(sound[: onset - 1]).max() < 1e-4
            blocks = np.sqrt(np.mean(sound[onset : onset + 22_050].reshape(-1, 245) ** 2, axis=1))  # 5.6 ms
            assert np.argmax(blocks > 0.3 * blocks.max()) * 245 / 44_100 <= allowed, (program, pitch)


def heard_pitch(sound, length=4096):
    """MIDI pitch of a sound by its period (YIN; de Cheveigne and Kawahara, 2002)."""
    lags = np.arange(RATE // 80)
    differences = np.array([np.sum((sound[:length] - sound[lag : lag + length]) ** 2) for lag in lags])
    relative = differences * lags / np.maximum(np.cumsum(differences), 1e-12)
    relative[: RATE // 1200] = 1
    first = int(np.argmax(relative < max(0.1, 1.05 * relative[1:].min())))
    lag = first + int(relative[first : first + RATE // 600].argmin())
    before, here, after = differences[lag - 1 : lag + 2]
    return 69 + 12 * np.log2(RATE / (lag + (before - after) / (2 * (before - 2 * here + after))) / 440)


@pytest.mark.parametrize("instrument", ["keyboard", "strings"])
def test_pitch_is_the_note(instrument):
    for program in PROGRAMS[instrument]:
        for pitch in (48, 55, 62, 72):
            sound = play(single(instrument, program, Note(0.1, 1.6, pitch, 90)), RATE)
            assert abs(heard_pitch(sound[RATE // 4 :]) - pitch) < 0.5, (program, pitch)


def test_louder_notes_sound_louder():
    for instrument in INSTRUMENTS:
        pitch = 38 if instrument == "drums" else 60
        soft, loud = (
            np.abs(play(single(instrument, PROGRAMS[instrument][0], Note(0.2, 1.0, pitch, velocity)), RATE)).max()
            for velocity in (50, 110)
        )
        assert loud > 1.8 * soft


@pytest.mark.parametrize(("instrument", "least"), [("keyboard", 0.93), ("strings", 0.85), ("drums", 0.93)])
def test_an_onset_picker_finds_the_notes(instrument, least):
    scores = []
    for index in range(10):
        score = compose(9, index, instrument)
        onsets = np.array([note.onset for note in score.notes])
        onsets = onsets[np.concatenate([[True], np.diff(onsets) > 0.02])]
        found = pick_onsets(onset_strength(play(score, RATE)))
        scores.append(mir_eval.onset.f_measure(onsets, found, window=0.05)[0])
    assert np.mean(scores) >= least


def test_another_soundfont_is_heard_at_the_same_level(tmp_path):
    score = compose(3, 0, "guitar", 2.0)
    usual, same = play(score, RATE), play(replace(score, soundfont=general_midi()), RATE)
    assert 0.5 < np.sqrt(np.mean(same**2) / np.mean(usual**2)) < 2
    assert np.corrcoef(usual, same)[0, 1] > 0.999
    (tmp_path / "not.sf2").write_bytes(b"RIFF" + bytes(100))
    with pytest.raises(UserError, match=r"not\.sf2 cannot be read as a SoundFont"):
        play(replace(score, soundfont=str(tmp_path / "not.sf2")), RATE)
