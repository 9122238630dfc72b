"""The transcriber reads the notes that it was not fitted on, and keeps silent where none starts."""

import numpy as np
import pytest

from mvgen.evaluation.metrics import attacks
from mvgen.evaluation.metrics.clips import Clip, Heard
from mvgen.evaluation.metrics.notes import note_agreement
from mvgen.evaluation.metrics.transcriber import Listened, Transcribers, candidates_of, fit
from tests.mvgen.evaluation.metrics.sounds import RATE, play

SECONDS = 4.0
KICK, SNARE, HAT = 36, 38, 42


def two_hands(seed: int) -> Clip:
    """A melody over long notes that ring on beneath it, now and then both at once."""
    rng = np.random.default_rng(seed)
    notes = [(0.3 + 0.9 * k, 1.15 + 0.9 * k, int(rng.integers(48, 58))) for k in range(4)]
    notes += [(0.3 + 0.3 * k, 0.57 + 0.3 * k, int(rng.integers(60, 73))) for k in range(11)]
    return Clip(f"hands {seed}", "keyboard", np.array(sorted(notes), float), voices=2)


def drum_part(seed: int) -> Clip:
    rng = np.random.default_rng(seed)
    notes = [(0.3 + 0.25 * k, 0.4 + 0.25 * k, int(rng.choice([KICK, SNARE, HAT]))) for k in range(13)]
    notes += [(onset, offset, HAT) for onset, offset, piece in notes[::3] if piece == KICK]
    return Clip(f"drums {seed}", "drums", np.array(sorted(notes), float), voices=2)


def hits(clip: Clip) -> np.ndarray:
    """A low tone that falls, noise, and high noise."""
    rng = np.random.default_rng(0)
    time = np.arange(round(0.2 * RATE)) / RATE
    noise = rng.normal(size=len(time)) * np.exp(-time / 0.04)
    pieces = {
        KICK: np.sin(2 * np.pi * 70 * time) * np.exp(-time / 0.06),
        SNARE: 0.3 * np.convolve(noise, np.hanning(9) / 4, "same"),
        HAT: 0.2 * np.diff(noise, prepend=0.0) * np.exp(-time / 0.03),
    }
    sound = np.zeros(round(SECONDS * RATE))
    assert clip.notes is not None
    for onset, _, piece in clip.notes:
        first = round(onset * RATE)
        sound[first : first + len(time)] += 0.5 * pieces[int(piece)]
    return sound.astype(np.float32)


def heard(clip: Clip) -> Heard:
    assert clip.notes is not None
    return Heard(play([(a, b, int(p)) for a, b, p in clip.notes], SECONDS) if clip.pitched else hits(clip))


@pytest.mark.parametrize("make", [two_hands, drum_part])
def test_reads_clips_it_was_not_fitted_on(make):
    clips = [make(seed) for seed in range(5)]
    sounds = [heard(clip) for clip in clips]
    readers = Transcribers(clips, sounds)
    right, wrong = [], []
    for number, clip in enumerate(clips):
        notes = readers.read(number, sounds[number])
        right.append(note_agreement(clip.notes, notes)["f"])
        wrong.append(note_agreement(clips[number - 1].notes, notes)["f"])
    assert np.mean(right) > 0.95
    assert np.mean(wrong) < 0.5


def test_no_sound_is_read_with_weights_fitted_on_its_own_clip():
    clips = [two_hands(seed) for seed in range(4)]
    sounds = [heard(clip) for clip in clips]
    candidates = candidates_of(clips, pitched=True)
    listened = [Listened(clip, sound, candidates, True) for clip, sound in zip(clips, sounds, strict=True)]
    by_hand = fit([listened[1], listened[2]])  # clips 0 and 3 are one fold
    assert by_hand is not None
    np.testing.assert_array_equal(Transcribers(clips, sounds).read(0, sounds[0]), by_hand.read(listened[0]))


def test_ringing_and_silence_are_no_notes():
    clips = [two_hands(seed) for seed in range(4)]
    sounds = [heard(clip) for clip in clips]
    candidates = candidates_of(clips, pitched=True)
    reader = fit([Listened(clip, sound, candidates, True) for clip, sound in zip(clips, sounds, strict=True)])
    assert reader is not None
    ringing = Heard(play([(0.2, 2.0, 50)], 2.2))
    ringing.__dict__["onsets"] = np.array([0.22, 0.7, 1.1])  # the last two are no onsets at all
    assert reader.read(Listened(clips[0], ringing, candidates, True))[:, [0, 2]].tolist() == [[0.22, 50]]
    silent = Heard(np.zeros(RATE, np.float32))
    silent.__dict__["onsets"] = np.array([0.3, 0.6])
    assert len(reader.read(Listened(clips[0], silent, candidates, True))) == 0
    assert len(reader.read(Listened(clips[0], Heard(np.zeros(RATE, np.float32)), candidates, True))) == 0


def test_known_notes_start_at_the_nearest_onset():
    clip = Clip("a", "keyboard", np.array([(1.0, 1.2, 60), (1.02, 1.2, 64), (1.5, 1.7, 62), (2.0, 2.2, 61)]))
    sound = Heard(np.zeros(3 * RATE, np.float32))
    sound.__dict__["onsets"] = np.array([0.5, 1.03, 1.56])
    starts = Listened(clip, sound, np.arange(60, 65), True).starts
    assert np.argwhere(starts).tolist() == [[1, 0], [1, 4]]  # 1.5 is 60 ms off, at 2.0 nothing was heard


def test_too_little_known_is_no_transcriber():
    clip = Clip("a", "keyboard", np.array([(0.5, 0.9, 60)]), voices=1)
    assert Transcribers([clip], [heard(clip)]).read(0, heard(clip)) is None
    assert Transcribers([Clip("b")], [heard(clip)]).read(0, heard(clip)) is None
    assert fit([]) is None


def test_amplitude_of_a_sine():
    time = np.arange(RATE) / RATE
    sine = 0.5 * np.sin(2 * np.pi * 1000 * time)
    assert attacks.amplitudes(sine, 0.2, 0.5).max() == pytest.approx(0.25, rel=0.01)
    assert attacks.amplitudes(sine, -0.1, 0.02).max() == 0.0  # too short
