"""MIDI files: as sound, so that a score can be filmed or followed; and notes written as one."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mvgen.errors import UserError, in_range
from mvgen.files import whole_file
from mvgen.media.synthesizer import Event, synthesizer

SUFFIXES = (".mid", ".midi")
MOST_BYTES = 20_000_000
MOST_NOTES = 500_000
RELEASE = 1.0
"""Seconds that are heard after the last note has ended."""
LEVEL, CEILING = 0.1, 0.97
"""RMS while it sounds, and the highest peak."""
VOLUME, PAN, EXPRESSION, PEDAL = 7, 10, 11, 64
HEARD = (VOLUME, PAN, EXPRESSION)
"""Controllers that are followed as they are. A pedal (64 and more is down) holds notes until it goes up."""
BEND_CENTRE = 8192
VELOCITY = 90
"""Of notes that are written: how loud a note was is not read from the picture."""
RESOLUTION = 480
"""Ticks of a beat in what is written; at 120 beats a minute one is a millisecond."""


def is_midi(path: str | os.PathLike[str]) -> bool:
    """Whether a file's name says that it is MIDI."""
    return Path(path).suffix.lower() in SUFFIXES


def midi_sound(
    path: str | os.PathLike[str], sample_rate: int, soundfont: str = "", limit: float | None = None
) -> np.ndarray:
    """Plays a MIDI file, every track with its General MIDI program.

    Args:
        path: a standard MIDI file.
        sample_rate: samples a second.
        soundfont: a file (.sf2, .sf3); empty: the one that pretty_midi carries.
        limit: seconds; more is an error.

    Returns:
        float32 ``[n]``, mono, as long as the notes and :data:`RELEASE`, at one loudness.

    Raises:
        UserError: there is no such file, it is not MIDI, holds no note, is too long, or cannot be played here.
    """
    name, midi = os.fspath(path), _read(path)
    notes = [note for part in midi.instruments for note in part.notes]
    if not notes:
        raise UserError(f"{name}: a MIDI file without a note")
    if len(notes) > MOST_NOTES:
        raise UserError(f"{name}: {len(notes)} notes; at most {MOST_NOTES} are played")
    seconds = max(note.end for note in notes) + RELEASE
    if limit is not None and seconds > limit:
        raise UserError(f"{name}: lasts {seconds:.0f} s; at most {limit:g} s are read")
    samples = round(seconds * sample_rate)
    synth = synthesizer(sample_rate, soundfont, controlled=True)
    sound = np.zeros((samples, 2), np.float32)
    for part in midi.instruments:
        sound += synth.play(_events(part, sample_rate), part.program, part.is_drum, samples)
    mono = sound.mean(axis=1, dtype=np.float32)
    loud = mono[np.abs(mono) > 1e-3]
    factor = LEVEL / max(float(np.sqrt(np.mean(loud**2))), 1e-6) if len(loud) else 1.0
    return mono * np.float32(min(factor, CEILING / max(float(np.abs(mono).max()), 1e-9)))


def midi_notes(path: str | os.PathLike[str]) -> np.ndarray:
    """The notes of a MIDI file by onset, float ``[N, 4]``: onset s, offset s, MIDI number, and 1 for a drum's, else 0.

    Raises:
        UserError: there is no such file, or it is not MIDI.
    """
    parts = _read(path).instruments
    found = [(note.start, note.end, note.pitch, float(part.is_drum)) for part in parts for note in part.notes]
    return np.array(sorted(found), float).reshape(-1, 4)


def _read(path: str | os.PathLike[str]) -> Any:
    """A MIDI file, as pretty_midi has it. Raises ``UserError`` where it cannot be read."""
    try:
        import pretty_midi
    except ModuleNotFoundError:
        raise UserError("MIDI files are read by pretty_midi; pip install 'mvgen[prep]'") from None
    name = os.fspath(path)
    try:
        size = os.path.getsize(name)
    except OSError:
        raise UserError(f"there is no file {name}") from None
    if size > MOST_BYTES:
        raise UserError(f"{name}: a MIDI file of more than {MOST_BYTES / 1e6:g} MB is not read")
    try:
        return pretty_midi.PrettyMIDI(name)
    except Exception as error:  # noqa: BLE001 - a damaged file raises whatever the libraries stumble over
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or "it ends too early"
        raise UserError(f"{name} cannot be read as MIDI: {reason}") from None


def _events(part: Any, sample_rate: int) -> list[Event]:
    """What happens in one track. At one sample: notes end, controllers and bends move, notes begin.

    Controllers and bend begin where General MIDI has them, whatever the track before it left.
    """
    found = [Event(0, 1, "control", number, value) for number, value in ((VOLUME, 100), (PAN, 64), (EXPRESSION, 127))]
    found.append(Event(0, 1, "bend", BEND_CENTRE))
    pedal = sorted((c.time, c.value >= 64) for c in part.control_changes if c.number == PEDAL)
    starts: dict[int, list[float]] = {}
    for note in part.notes:
        starts.setdefault(note.pitch, []).append(note.start)
    for note in part.notes:
        begins, ends = round(note.start * sample_rate), round(_let_go(note, pedal, starts[note.pitch]) * sample_rate)
        found.append(Event(begins, 3, "on", int(note.pitch), int(note.velocity)))
        found.append(Event(max(ends, begins + 1), 0, "off", int(note.pitch)))
    for change in part.control_changes:
        if change.number in HEARD:
            found.append(Event(round(change.time * sample_rate), 2, "control", int(change.number), int(change.value)))
    for bend in part.pitch_bends:
        found.append(Event(round(bend.time * sample_rate), 2, "bend", int(bend.pitch) + BEND_CENTRE))
    return found


def _let_go(note: Any, pedal: list[tuple[float, bool]], starts: list[float]) -> float:
    """When a note ends: as written, or later, where the pedal goes up or the same key is struck again."""
    end: float = note.end
    moved = bisect_right(pedal, (end, True))
    if not moved or not pedal[moved - 1][1]:
        return end
    up = next((time for time, down in pedal[moved:] if not down), end + RELEASE)
    again = min((start for start in starts if start > note.start), default=up)
    return max(end, min(up, again))


def write_midi(path: str | os.PathLike[str], notes: Sequence[tuple[float, float, int, bool]], program: int = 0) -> None:
    """Writes notes as a standard MIDI file: pitches on one track with one General MIDI program, drums on another.

    Args:
        path: of the file, which is there when all of it is.
        notes: of each onset s, offset s, MIDI number, and whether it is a drum's.
        program: 0 to 127.

    Raises:
        UserError: the program is none, pretty_midi is missing, or the file cannot be written.
    """
    try:
        import pretty_midi
    except ModuleNotFoundError:
        raise UserError("MIDI files are written by pretty_midi; pip install 'mvgen[prep]'") from None
    in_range("program", program, 0, 127)
    midi = pretty_midi.PrettyMIDI(resolution=RESOLUTION)
    for drums in (False, True):
        part = pretty_midi.Instrument(0 if drums else program, is_drum=drums)
        part.notes = [
            pretty_midi.Note(VELOCITY, int(pitch), float(onset), float(offset))
            for onset, offset, pitch, drum in notes
            if drum == drums
        ]
        if part.notes:
            midi.instruments.append(part)
    try:
        with whole_file(path) as partial:
            midi.write(os.fspath(partial))
    except OSError as error:
        raise UserError(f"cannot write {os.fspath(path)}: {error.strerror}") from None
