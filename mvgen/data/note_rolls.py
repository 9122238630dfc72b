"""Notes frame by frame: where they start and how long they sound, at each pitch and for each drum.

What :class:`mvgen.models.note_head.NoteHead` learns to read from a picture, and what its answer means. Pitches are
those of a piano (Hawthorne et al. 2018, "Onsets and Frames"). Drums have columns of their own, one a General MIDI drum,
so that a note read says which of the two it is.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from mvgen import clock

PITCHES = range(21, 109)
"""MIDI numbers of the columns of pitches: a piano's."""
DRUMS = range(35, 82)
"""General MIDI's drums, whose columns follow those of the pitches."""
COLUMNS = len(PITCHES) + len(DRUMS)
DRUM_LABELS = ("drums", "percussion")
"""What records of drums are labelled."""
REACH = 2.0
"""Frames over which an onset is told to the frames around it."""

NoteRolls = Float[np.ndarray, "frames 2 columns"]
"""Of each frame and column how near an onset is, and how much of the frame sounds; both in 0..1."""


def note_rolls(notes: Float[np.ndarray, "notes 3"], labels: str, first: int, frames: int) -> NoteRolls:
    """The rolls of a stretch of a record.

    An onset is told by its distance from the middle of the frames around it, 1 at the very moment and falling in a line
    to 0 at :data:`REACH` frames (Kong et al. 2021, "High-resolution Piano Transcription", equation 1), so that its time
    can be read more finely than frames are apart. Sounding is the share of the frame that the note covers.

    Args:
        notes: of the record: onset s, offset s, MIDI pitch. None at all stands for unknown.
        labels: of the record, comma-separated.
        first: frame of the record at which the stretch begins.
        frames: how many.

    Returns:
        float16; NaN everywhere where the notes are not known. Notes outside of all columns are left out.
    """
    if not len(notes):
        return np.full((frames, 2, COLUMNS), np.nan, np.float16)
    rolls = np.zeros((frames, 2, COLUMNS), np.float32)
    numbers, offset = (DRUMS, len(PITCHES)) if is_drums(labels) else (PITCHES, 0)
    middles = np.arange(frames) + first + 0.5
    for onset, end, pitch in np.asarray(notes, float) * (clock.FRAME_RATE, clock.FRAME_RATE, 1):
        if round(pitch) not in numbers:
            continue
        starts, sounds = rolls[:, :, offset + round(pitch) - numbers[0]].T
        np.maximum(starts, 1 - np.abs(middles - onset) / REACH, out=starts)
        covered = np.minimum(middles + 0.5, end) - np.maximum(middles - 0.5, onset)
        np.maximum(sounds, np.clip(covered, 0, 1), out=sounds)
    return rolls.astype(np.float16)


def is_drums(labels: str) -> bool:
    """Whether a record's labels say that drums are played."""
    return bool({label.strip() for label in labels.split(",")} & set(DRUM_LABELS))


def column_of(column: int) -> tuple[int, bool]:
    """The MIDI number of a column, and whether it is a drum's."""
    if column < len(PITCHES):
        return PITCHES[column], False
    return DRUMS[column - len(PITCHES)], True
