"""Notes of clips whose notes are not known, estimated from their sound, kept: :mod:`mvgen.interop.note_readers`."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.extract.cache import Cache
from mvgen.errors import UserError
from mvgen.interop.note_readers import READERS
from mvgen.media import read_sound

NONE = "none"
"""The setting for records whose unknown notes stay unknown."""
RATE = 22_050
PITCHES = (0, 127)


def check_reader(name: str) -> str:
    """Returns the name of a reader, or "none". Raises ``UserError`` where there is none such, or it is not here."""
    if name == NONE:
        return name
    if name not in READERS:
        raise UserError(f"config.estimate_notes is {name!r}; it can be {', '.join((NONE, *READERS))}")
    READERS[name]()
    return name


class NoteExtractor:
    """Estimates notes. Pickles by name; networks are loaded on first use.

    Args:
        name: of the reader.
    """

    def __init__(self, name: str):
        self.name = name

    def __getstate__(self) -> dict[str, Any]:
        return {"name": self.name}

    @cached_property
    def _reader(self) -> Any:
        return READERS[self.name]()

    def extract(self, path: Path, content: str, cache: Cache) -> tuple[tuple[float, float, float], ...]:
        """Notes of a whole clip: onset s, offset s, MIDI pitch, from the picture's start.

        Args:
            path: the source.
            content: hash of its bytes, the cache's key.
        """
        place = cache.place(content, "estimated-notes", {"reader": self.name}, ".npy")
        kept = cache.array_or(place, lambda: self._read(path))
        return tuple((float(on), float(off), float(pitch)) for on, off, pitch in kept)

    def _read(self, path: Path) -> np.ndarray:
        """Onset s, offset s, MIDI pitch of the notes in range, ``[notes, 3]``."""
        notes: np.ndarray = self._reader(read_sound(path, RATE), RATE)
        return notes[(notes[:, 2] >= PITCHES[0]) & (notes[:, 2] <= PITCHES[1])]
