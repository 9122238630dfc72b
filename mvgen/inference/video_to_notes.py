"""Video to notes: which notes are played in a silent video, read by the note head."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import partial
from html import escape
from typing import NamedTuple

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from mvgen import clock
from mvgen.data.note_rolls import column_of
from mvgen.errors import UserError
from mvgen.files import check_output
from mvgen.inference.embedding import stitched, window_starts
from mvgen.media.midi import SUFFIXES, write_midi
from mvgen.models.mvgen import MVGen

STARTING, SOUNDING = 0.3, 0.2
"""How near an onset must be, and how much of a frame must sound, by the head's word. Chosen on the records that the
packaged head learned from, and those held out of them (docs/notes.md)."""


class Note(NamedTuple):
    """A note that is played: seconds from the beginning, and a MIDI pitch, or a General MIDI drum."""

    onset: float
    offset: float
    pitch: int
    drum: bool


@dataclass(frozen=True)
class Notes:
    """What is played in a video.

    Attributes:
        video: the file that they were read from.
        notes: by onset.
        seconds: so much of the video was read.
    """

    video: str
    notes: list[Note] = field(repr=False)
    seconds: float

    def save(self, path: str | os.PathLike[str], *, program: int = 0) -> None:
        """Writes them as a MIDI file, pitches with one General MIDI program (0 to 127; 0: piano), drums as drums. All
        are equally loud: how hard a key was struck is not read.

        Args:
            path: ends in .mid or .midi.
            program: what pitches are played with; which instrument it was is not read.

        Raises:
            UserError: the program is none, or the file cannot be written.
        """
        check_output("path", path, SUFFIXES, [self.video])
        write_midi(path, self.notes, program)

    def __str__(self) -> str:
        drums = sum(note.drum for note in self.notes)
        return f"{len(self.notes) - drums} notes and {drums} strokes on drums in {self.seconds:g} s"

    def _repr_html_(self) -> str:
        return f"<p>{escape(self.video)}: {self}</p>"


@partial(jax.jit, static_argnames="graph")
def _read(graph: nnx.GraphDef, state: nnx.State, batch: dict[str, Array]) -> Float[Array, "batch frames 2 columns"]:
    model: MVGen = nnx.merge(graph, state)
    assert model.notes is not None
    return jax.nn.sigmoid(model.notes(model.video_latents(batch)))


def check_note_head(model: MVGen) -> None:
    """Raises ``UserError`` where a model reads no notes."""
    if model.notes is None:
        raise UserError(
            "this model has no note head, so it reads no notes: train one on it (--config=notes), or take the model "
            "that comes with mvgen"
        )


def read_rolls(model: MVGen, video: dict[str, np.ndarray], window: int) -> Float[np.ndarray, "frames 2 columns"]:
    """The note rolls of a video (:mod:`mvgen.data.note_rolls`), as likely as the note head finds them.

    Args:
        model: a trained model.
        video: ``frames`` uint8 ``[frames, height, width, 3]``, and the other features that the model uses.
        window: frames the model was trained on at a time; of longer videos windows overlap by half, of shorter ones the
            last frame stays.

    Raises:
        UserError: the model has no note head.
    """
    check_note_head(model)
    frames = len(next(iter(video.values())))
    filled = max(frames, window)
    index = np.minimum(np.arange(filled), frames - 1)
    starts = window_starts(filled, window)
    pieces = {name: np.stack([values[index[at : at + window]] for at in starts]) for name, values in video.items()}
    return stitched(partial(_read, *nnx.split(model)), pieces, starts, window, filled)[:frames]


def notes_of(
    rolls: Float[np.ndarray, "frames 2 columns"], starting: float = STARTING, sounding: float = SOUNDING
) -> list[Note]:
    """The notes that rolls tell, by onset.

    A note starts where the first roll has a peak. Its time within the frame is that of the tip of a triangle through
    the peak and its neighbours (Kong et al. 2021, equations 2 to 4). It sounds until the second roll falls below its
    threshold, or until the same key starts anew, at least one frame.

    Args:
        rolls: in 0..1.
        starting, sounding: the thresholds.
    """
    starts, sounds = np.asarray(rolls[:, 0], float), rolls[:, 1]
    edge = np.full((1, starts.shape[1]), -1.0)
    before, after = np.concatenate([edge, starts[:-1]]), np.concatenate([starts[1:], edge])
    peaks = (starts >= starting) & (starts > before) & (starts >= after)
    found = []
    for column in np.flatnonzero(peaks.any(axis=0)):
        pitch, drum = column_of(int(column))
        at = np.flatnonzero(peaks[:, column])
        for frame, limit in zip(at, [*at[1:], len(starts)], strict=True):
            silent = np.flatnonzero(sounds[frame + 1 : limit, column] < sounding)
            end = frame + 1 + int(silent[0]) if len(silent) else limit
            left, tip, right = (float(row[frame, column]) for row in (before, starts, after))
            shift = _shift(max(left, 0.0), tip, max(right, 0.0))
            onset = max(0.0, (frame + 0.5 + shift) / clock.FRAME_RATE)
            found.append(Note(onset, max(end / clock.FRAME_RATE, onset + 1 / clock.FRAME_RATE), pitch, drum))
    return sorted(found)


def _shift(left: float, tip: float, right: float) -> float:
    """How far from the middle of its frame the tip of a triangle lies, in frames, -0.5 to 0.5.

    Both sides of it fall equally: of the neighbours the higher one lies on the tip's side.
    """
    fall = tip - min(left, right)
    return 0.0 if fall <= 0 else (right - left) / (2 * fall)
