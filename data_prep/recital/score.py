"""What a performance is: its notes and how it is performed, from which both the sound and the picture follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from data_prep.recital.changes import likeness
from mvgen.errors import UserError

INSTRUMENTS = ("keyboard", "strings", "drums")
"""The instruments Recital plays, in the order in which clips take turns."""

LOWEST, HIGHEST = 48, 72
"""MIDI pitches of the pitched instruments, both ends included: C3 to C5."""

KICK, SNARE, HAT, TOM, CRASH = 36, 38, 42, 45, 49
DRUMS = (KICK, SNARE, HAT, TOM, CRASH)
"""General MIDI percussion keys of the five pieces of the kit."""

PROGRAMS = {"keyboard": (0, 5, 6), "strings": (40, 41, 42), "drums": (0, 16, 32)}
"""General MIDI programs by instrument: piano, electric piano, harpsichord; violin, viola, cello; standard, power and
jazz kits."""


class Note(NamedTuple):
    """One note: seconds, MIDI pitch, velocity 1 to 127, and the voice (0 = melody or right hand, 1 = left hand)."""

    onset: float
    offset: float
    pitch: int
    velocity: int
    voice: int = 0


@dataclass(frozen=True)
class Score:
    """A performance, a pure function of ``(seed, index)`` and its change.

    Attributes:
        seed, index: what it was drawn from; every further draw (camera, colours, encoding) starts from them too.
        instrument: one of :data:`INSTRUMENTS`.
        program: General MIDI program (for drums: the kit).
        seconds: length of the clip.
        tempo: quarter notes a minute.
        beats_per_bar: 3 or 4.
        key: tonic pitch class 0 to 11 and "major" or "minor"; drums have "none".
        voices: how many notes can begin together.
        notes: sorted by onset, then pitch.
        change: the change it belongs to (:mod:`data_prep.recital.changes`), empty for a plain performance.
        lamps: whether keys, places and drums light up while they sound, which no real instrument's do.
    """

    seed: int
    index: int
    instrument: str
    program: int
    seconds: float
    tempo: float
    beats_per_bar: int
    key: tuple[int, str]
    voices: int
    notes: tuple[Note, ...]
    change: str = ""
    lamps: bool = False

    @property
    def clip_id(self) -> str:
        """Such as ``keyboard-00012``."""
        return f"{self.instrument}-{self.index:05d}"

    @property
    def likeness(self) -> int:
        """The program whose picture it has: its own, but where another is heard than is seen."""
        return likeness(self.instrument, self.program)

    def rng(self, purpose: str) -> np.random.Generator:
        """Random draws for one purpose, independent of all other purposes."""
        return rng_of(self.seed, self.index, purpose)


def rng_of(seed: int, index: int, purpose: str) -> np.random.Generator:
    """A generator that depends on nothing but its arguments."""
    return np.random.default_rng(np.random.SeedSequence([seed, index, *purpose.encode()]))


def check_instrument(instrument: str) -> str:
    """Returns the name if Recital plays it, else raises :class:`UserError`."""
    if instrument not in INSTRUMENTS:
        raise UserError(f"Recital has no instrument {instrument!r}; it plays {', '.join(INSTRUMENTS)}")
    return instrument
