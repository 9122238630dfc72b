"""What a performance is: its notes and how it is performed, from which both the sound and the picture follow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from data_prep.recital.changes import likeness
from mvgen.errors import UserError

INSTRUMENTS = ("keyboard", "strings", "drums", "guitar", "marimba")
"""The instruments Recital plays, in the order in which clips take turns."""

LOWEST, HIGHEST = 48, 72
"""MIDI pitches of the pitched instruments, both ends included: C3 to C5."""

KICK, SNARE, HAT, TOM, CRASH = 36, 38, 42, 45, 49
DRUMS = (KICK, SNARE, HAT, TOM, CRASH)
"""General MIDI percussion keys of the five pieces of the kit."""

PROGRAMS = {
    "keyboard": (0, 5, 6),
    "strings": (40, 41, 42),
    "drums": (0, 16, 32),
    "guitar": (24, 25, 27),
    "marimba": (12, 13, 11),
}
"""General MIDI programs by instrument: piano, electric piano, harpsichord; violin, viola, cello; standard, power and
jazz kits; nylon, steel and clean electric guitar; marimba, xylophone, vibraphone."""

LONG_REST = 1.2
"""Seconds of silence in which hands find something else to do."""
PARTNER_SEED = 1_000_003
"""Added to the seed of a performance, it gives that of who sits beside."""


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
        footage: whether it is filmed as people film: held by hand, at a slant, before any background, with rests in
            which hands move, and now and then with a second player in the picture.
        piece: the name of what is played, where it is not composed here; empty else.
        soundfont: the file that plays it; empty: the usual one.
        partner: the instrument of that second player, who does not play; empty: there is none.
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
    footage: bool = False
    partner: str = ""
    piece: str = ""
    soundfont: str = ""

    @property
    def gestures(self) -> tuple[tuple[float, float], ...]:
        """(begins, ends) in seconds of what hands do without sounding: in footage, in every rest of 1.2 s or more."""
        if not self.footage:
            return ()
        if not self.notes:
            return self._fidgets()
        ends = np.maximum.accumulate([note.offset for note in self.notes])
        rests = zip(ends, [note.onset for note in self.notes[1:]] + [self.seconds], strict=True)
        return tuple((float(end) + 0.15, onset - 0.25) for end, onset in rests if onset - end >= LONG_REST)

    def _fidgets(self) -> tuple[tuple[float, float], ...]:
        """What the hands of one who only listens do: something for a second or so, then nothing for as long."""
        rng, found, now = self.rng("fidgets"), [], 0.0
        while now < self.seconds:
            begins = now + rng.uniform(0.3, 2.0)
            now = begins + rng.uniform(0.9, 1.8)
            found.append((begins, now))
        return tuple(found)

    def silent_partner(self) -> Score:
        """The second player: another performance of nothing."""
        other = PROGRAMS[self.partner][self.rng("partner").integers(len(PROGRAMS[self.partner]))]
        return replace(
            self, seed=self.seed + PARTNER_SEED, instrument=self.partner, program=other, notes=(), voices=1, partner=""
        )

    @property
    def clip_id(self) -> str:
        """Such as ``keyboard-00012``."""
        return f"{self.instrument}-{self.index:05d}"

    @property
    def source_id(self) -> str:
        """What clips must share a split with: the piece, or nothing but this clip."""
        return self.piece or self.clip_id

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
