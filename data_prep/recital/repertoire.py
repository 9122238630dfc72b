"""Real scores instead of composed ones: excerpts of the corpus that an installed ``music21`` carries.

Bach's chorales, movements of Haydn's, Mozart's and Beethoven's quartets, and fiddle tunes of Ryan's Mammoth Collection.
They are read from the installed package (Cuthbert and Ariza 2010, "music21: a toolkit for computer-aided musicology");
nothing of them is copied. An excerpt is brought into the range of the instruments by octaves and played at a tempo at
which its shortest notes can be played.
"""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path

import numpy as np

from data_prep.recital.score import HIGHEST, LOWEST, Note
from mvgen.errors import UserError

SOURCES = ("bach", "haydn", "mozart", "beethoven", "ryansMammoth")
"""Folders of the corpus. Of Bach's, three files (``.krn``) are not as free as the rest, and are left out."""
SLOWEST = 0.45
"""A tempo is slowed down to this share of the drawn one at most; notes that are too quick even then are left out."""
MAX_FILE_BYTES = 40_000
"""Longer ones take minutes to parse."""

Line = tuple[tuple[float, float, int], ...]
"""Notes of one part: onset and length in quarter notes, and MIDI pitch, one at a time."""


@cache
def pieces() -> dict[str, tuple[Path, ...]]:
    """The files by source, in the order of their names.

    Raises:
        UserError: music21 is not installed.
    """
    try:
        from music21 import corpus
    except ModuleNotFoundError:
        raise UserError("--repertoire music21 needs the package music21; install mvgen[repertoire]") from None
    found: dict[str, list[Path]] = {source: [] for source in SOURCES}
    for path in map(Path, corpus.corpora.CoreCorpus().getPaths()):
        source = path.parts[path.parts.index("corpus") + 1] if "corpus" in path.parts else ""
        if source in found and path.suffix != ".krn" and path.stat().st_size <= MAX_FILE_BYTES:
            found[source].append(path)
    return {source: tuple(sorted(paths)) for source, paths in found.items() if paths}


def name_of(path: Path) -> str:
    """What a piece is called, such as ``bach/bwv66.6``: its place in the corpus."""
    return path.with_suffix("").as_posix().rsplit("/corpus/", 1)[-1]


@lru_cache(maxsize=8)
def lines_of(path: Path) -> tuple[Line, ...]:
    """The parts of a piece, the highest first; of chords the highest note. A part of fewer than 8 notes is left out."""
    from music21 import converter

    parsed = converter.parse(path, forceSource=True)
    lines = []
    for part in getattr(parsed, "parts", None) or [parsed]:
        notes: dict[float, tuple[float, float, int]] = {}
        for note in part.stripTies().flatten().notes:
            onset, length, pitch = (
                float(note.offset),
                float(note.quarterLength),
                max(p.midi for p in note.pitches or ()),
            )
            if length > 0 and (onset not in notes or notes[onset][2] < pitch):
                notes[onset] = (onset, length, int(pitch))
        if len(notes) >= 8:
            lines.append(tuple(notes[onset] for onset in sorted(notes)))
    return tuple(sorted(lines, key=lambda line: -float(np.median([pitch for _, _, pitch in line]))))


def excerpt(
    rng: np.random.Generator, seconds: float, tempo: float, voices: int, shortest: float
) -> tuple[str, float, list[Note]]:
    """Draws a piece and a stretch of it.

    Args:
        rng: draws.
        seconds: how much is needed.
        tempo: quarter notes a minute, if the notes are not too quick for it.
        voices: 1: one part, alone; 2: the highest and the lowest, for two hands.
        shortest: seconds between onsets of one voice, at least.

    Returns:
        The name of the piece, the tempo at which it is played, and its notes from 0 s on, by onset.

    Raises:
        UserError: music21 is not installed, or none of many pieces could be used.
    """
    for _ in range(50):
        sources = pieces()
        paths = sources[str(rng.choice(list(sources)))]
        path = paths[rng.integers(len(paths))]
        try:
            lines = lines_of(path)
        except Exception:  # noqa: BLE001 - some files of the corpus cannot be parsed; another is drawn
            continue
        if len(lines) < voices:
            continue
        drawn = [lines[0], lines[-1]] if voices == 2 else [lines[rng.integers(len(lines))]]
        gaps = np.concatenate([np.diff([onset for onset, _, _ in line]) for line in drawn])
        quick = float(np.quantile(gaps, 0.1))
        played = float(np.clip(tempo, tempo * SLOWEST, max(60 * quick / shortest, tempo * SLOWEST)))
        beat = 60 / played
        last = max(line[-1][0] for line in drawn)
        room = last - seconds / beat
        if room < 0:
            continue
        # It begins where the highest part has a note.
        starts = [onset for onset, _, _ in drawn[0] if onset <= room]
        start = starts[rng.integers(len(starts))] if starts else 0.0
        notes = []
        for voice, line in enumerate(drawn):
            notes += _stretch(line, start, seconds, beat, shortest, voice, voices)
        if len({note.voice for note in notes}) == voices and len(notes) >= 3:
            return name_of(path), round(played, 1), sorted(notes, key=lambda note: (note.onset, note.pitch))
    raise UserError("no piece of the repertoire could be used; is the installed music21 complete?")


def _stretch(
    line: Line, start: float, seconds: float, beat: float, shortest: float, voice: int, voices: int
) -> list[Note]:
    """One part from ``start`` (quarter notes) on, in the range of its hand; what is too quick is left out."""
    low, high = (LOWEST, HIGHEST) if voices == 1 else ((LOWEST + 12, HIGHEST) if voice == 0 else (LOWEST, LOWEST + 11))
    found: list[Note] = []
    chosen = [note for note in line if start <= note[0] < start + seconds / beat]
    if not chosen:
        return []
    middle = float(np.median([pitch for _, _, pitch in chosen]))
    octaves = 12 * round(((low + high) / 2 - middle) / 12)
    for onset, length, written in chosen:
        pitch = written + octaves
        while pitch < low:
            pitch += 12
        while pitch > high:
            pitch -= 12
        begins = (onset - start) * beat
        if found and begins - found[-1].onset < shortest:
            continue
        # Bars cannot be told in every format: an accent on what falls on a quarter note, none elsewhere.
        velocity = 84 if abs(onset - round(onset)) < 1e-3 else 72
        found.append(Note(begins, begins + length * beat, pitch, velocity, voice))
    return found
