"""MIDI files played: notes begin and end when they are written, at their pitch, whatever else the file holds."""

from pathlib import Path

import numpy as np
import pytest

from mvgen.errors import UserError
from mvgen.media.midi import CEILING, RELEASE, VELOCITY, is_midi, midi_notes, midi_sound, write_midi
from mvgen.media.synthesizer import Event, synthesizer

pretty_midi = pytest.importorskip("pretty_midi", reason="MIDI is read by pretty_midi, of the extra `prep`")
pytest.importorskip("tinysoundfont", reason="and played by tinysoundfont")
RATE = 22_050


def score(
    path: Path, *parts: tuple[int, bool, list[tuple[float, float, int]]], pedal: tuple[float, float] | None = None
):
    midi = pretty_midi.PrettyMIDI(initial_tempo=100)
    for program, drums, notes in parts:
        part = pretty_midi.Instrument(program, is_drum=drums)
        part.notes = [pretty_midi.Note(100, pitch, start, end) for start, end, pitch in notes]
        if pedal:
            part.control_changes = [
                pretty_midi.ControlChange(64, value, at) for at, value in zip(pedal, (127, 0), strict=True)
            ]
        midi.instruments.append(part)
    midi.write(str(path))
    return path


def level(sound: np.ndarray, start: float, end: float) -> float:
    return float(np.sqrt(np.mean(sound[round(start * RATE) : round(end * RATE)] ** 2)))


def test_notes_sound_when_they_are_written_at_their_pitch(tmp_path):
    path = score(tmp_path / "a.mid", (19, False, [(0.5, 1.0, 69), (1.5, 2.0, 57)]))  # an organ holds its notes
    sound = midi_sound(path, RATE)
    assert sound.dtype == np.float32 and abs(len(sound) / RATE - 2.0 - RELEASE) < 0.005
    assert level(sound, 0, 0.49) < 1e-3 < 0.05 < level(sound, 0.55, 0.95) and level(sound, 1.55, 1.95) > 0.05
    assert level(sound, 1.35, 1.49) < 0.2 * level(sound, 0.55, 0.95)
    assert np.abs(sound).max() <= CEILING + 1e-6
    for start, pitch in ((0.6, 69), (1.6, 57)):
        part = sound[round(start * RATE) : round((start + 0.3) * RATE)]
        spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part)), 2**16))
        wanted = 440 * 2 ** ((pitch - 69) / 12)
        near = round(wanted / RATE * 2**16)
        assert spectrum[near - 12 : near + 13].max() > 0.3 * spectrum.max()
    np.testing.assert_array_equal(sound, midi_sound(path, RATE))


def test_tracks_sound_together_and_each_as_itself(tmp_path):
    tune, beat = (0, False, [(0.1, 0.4, 60)]), (0, True, [(1.0, 1.1, 38)])
    both = midi_sound(score(tmp_path / "both.mid", tune, beat), RATE)
    assert level(both, 0.1, 0.4) > 0.01 and level(both, 1.0, 1.1) > 0.01
    drums = midi_sound(score(tmp_path / "drums.mid", beat), RATE)
    assert level(drums, 0.0, 0.9) < 1e-3 and level(drums, 1.0, 1.1) > 0.01


def test_the_pedal_holds_what_has_ended(tmp_path):
    note = (0, False, [(0.1, 0.3, 60)])
    held = midi_sound(score(tmp_path / "held.mid", note, pedal=(0.05, 1.2)), RATE)
    short = midi_sound(score(tmp_path / "short.mid", note), RATE)
    assert level(held, 0.7, 1.1) > 5 * level(short, 0.7, 1.1)
    again = midi_sound(tmp_path / "short.mid", RATE)  # what one file has moved is not moved in the next
    np.testing.assert_array_equal(again, short)


def test_playing_a_file_leaves_other_players_alone(tmp_path):
    note = [Event(100, 1, "on", 60, 90), Event(9000, 0, "off", 60)]
    before = synthesizer(RATE).play(note, 0, False, 12_000)
    midi_sound(score(tmp_path / "a.mid", (0, False, [(0.1, 0.4, 60)])), RATE)
    np.testing.assert_array_equal(synthesizer(RATE).play(note, 0, False, 12_000), before)


NO_BEAT = (
    b"MThd" + bytes([0, 0, 0, 6, 0, 0, 0, 1, 0, 0]) + b"MTrk" + bytes([0, 0, 0, 12, 0, 144, 60, 90, 16, 128, 60, 90])
)
NO_BEAT += bytes([0, 255, 47, 0])
"""A note where a beat has no ticks."""


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "cannot be read as MIDI: it ends too early"),
        (NO_BEAT, "cannot be read as MIDI: float division"),
        (b"MThd\0\0", "cannot be read as MIDI"),
        (b"RIFF" + bytes(90), "cannot be read"),
    ],
)
def test_what_is_not_midi_is_refused(tmp_path, content, says):
    (tmp_path / "bad.mid").write_bytes(content)
    with pytest.raises(UserError, match=says):
        midi_sound(tmp_path / "bad.mid", RATE)


def test_refusals_say_what_is_wrong(tmp_path):
    with pytest.raises(UserError, match="without a note"):
        midi_sound(score(tmp_path / "empty.mid", (0, False, [])), RATE)
    long = score(tmp_path / "long.mid", (0, False, [(0.0, 50.0, 60)]))
    with pytest.raises(UserError, match="lasts 51 s; at most 10 s"):
        midi_sound(long, RATE, limit=10)
    with pytest.raises(UserError, match="there is no file"):
        midi_sound(tmp_path / "none.mid", RATE)
    with pytest.raises(UserError, match="soundfont .* cannot be read"):
        midi_sound(score(tmp_path / "a.mid", (0, False, [(0, 1, 60)])), RATE, soundfont=str(long))
    assert is_midi("A.MID") and is_midi("b.midi") and not is_midi("c.wav")


def test_what_is_written_is_read_again(tmp_path):
    notes = [(0.1234, 0.5, 60, False), (0.25, 0.3, 38, True), (0.5, 0.9, 60, False), (0.5, 1.7, 67, False)]
    write_midi(tmp_path / "a.mid", notes, program=40)
    np.testing.assert_allclose(midi_notes(tmp_path / "a.mid"), np.array(notes, float), atol=0.0006)
    pitched, drums = pretty_midi.PrettyMIDI(str(tmp_path / "a.mid")).instruments
    assert (pitched.program, pitched.is_drum, drums.is_drum) == (40, False, True)
    assert {note.velocity for note in pitched.notes} == {VELOCITY}
    before = (tmp_path / "a.mid").read_bytes()
    write_midi(tmp_path / "a.mid", notes, program=40)
    assert (tmp_path / "a.mid").read_bytes() == before
    write_midi(tmp_path / "none.mid", [])
    assert midi_notes(tmp_path / "none.mid").shape == (0, 4)
    with pytest.raises(UserError, match="program 128: it must be a number from 0 to 127"):
        write_midi(tmp_path / "b.mid", notes, program=128)
    with pytest.raises(UserError, match="does not exist"):
        write_midi(tmp_path / "nowhere" / "b.mid", notes)


def test_tempo_may_change_on_the_way(tmp_path):
    """Two beats at 120 a minute, then two at 60: the third note falls at 1 s, the fourth at 2 s."""
    track = b"\0\xff\x51\3\x07\xa1\x20"  # 500,000 microseconds a beat
    for number in range(4):
        if number == 2:
            track += b"\0\xff\x51\3\x0f\x42\x40"  # 1,000,000
        track += bytes([0, 0x90, 60 + number, 90]) + bytes([96, 0x80, 60 + number, 0])
    track += b"\0\xff\x2f\0"
    head = b"MThd" + (6).to_bytes(4, "big") + bytes([0, 0, 0, 1, 0, 96])
    (tmp_path / "a.mid").write_bytes(head + b"MTrk" + len(track).to_bytes(4, "big") + track)
    np.testing.assert_allclose(midi_notes(tmp_path / "a.mid")[:, 0], [0, 0.5, 1, 2], atol=1e-6)
    sound = midi_sound(tmp_path / "a.mid", RATE)
    assert abs(len(sound) / RATE - 3 - RELEASE) < 0.001
