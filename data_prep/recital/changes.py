"""Test sets with one thing changed that training on plain Recital never sees, to measure what the shift costs.

Performance ``i`` of such a set is performance ``i`` of the plain set with that one thing changed; every other draw is
as it was. Of all but ``tempo`` the notes are the same to the last digit, of ``camera``, ``dropped`` and ``lamps`` the
sound too, of ``timbre`` the picture. Another tempo cannot leave the notes alone: more or fewer of them fill the clip.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from mvgen.errors import UserError

CHANGES: Mapping[str, str] = MappingProxyType(
    {
        "camera": "camera places: farther off, turned further, shifted further",
        "timbre": "timbres: other General MIDI programs of the same family",
        "tempo": "tempi: slower or faster than any that training hears",
        "dropped": "frames dropped: a tenth of them show the one before again",
        "lamps": "lamps: keys, places and drums light up while they sound",
    }
)
"""Every change, and what it is."""

PLAIN_TEMPO, SLOW, FAST = (72.0, 126.0), (50.0, 68.0), (132.0, 160.0)
"""Quarter notes a minute: of plain performances, and of the two halves of the change ``tempo``."""

UNSEEN_PROGRAMS: Mapping[str, Mapping[int, int]] = MappingProxyType(
    {
        "keyboard": {0: 2, 5: 4, 6: 7},
        "strings": {40: 110, 41: 48, 42: 43},
        "drums": {0: 8, 16: 24, 32: 25},
        "guitar": {24: 107, 25: 105, 27: 26},
        "marimba": {12: 108, 13: 9, 11: 8},
    }
)
"""By instrument and plain General MIDI program, the one that is heard in its place in the change ``timbre``, while the
picture stays: electric grand, electric piano 1, clavinet; fiddle, string ensemble, contrabass; room, electronic and
TR-808 kits; koto, banjo, jazz guitar; kalimba, glockenspiel, celesta."""

FAR_ZOOM, FAR_TURN, FAR_SHIFT = (0.72, 0.78), (4.0, 8.0), (0.030, 0.045)
"""The change ``camera``: range of zoom, of the turn either way in degrees, of the shifts either way in parts of the
picture; plain ones are 0.90 to 1, at most 2.5 degrees, at most 0.02 (:mod:`data_prep.recital.film.camera`)."""

DROPPED = 0.1
"""Share of frames that the change ``dropped`` loses."""


def check_change(name: str) -> str:
    """Returns the name if there is such a change or it is empty (plain), else raises :class:`UserError`."""
    if name and name not in CHANGES:
        raise UserError(f"Recital has no change {name!r}; there are {', '.join(CHANGES)}")
    return name


def unseen_tempo(plain: float) -> float:
    """The tempo that takes a plain one's place: the slower half of them slower, the faster half faster, in order."""
    low, high = PLAIN_TEMPO
    place = (plain - low) / (high - low)
    (start, end), within = (SLOW, 2 * place) if place < 0.5 else (FAST, 2 * place - 1)
    return float(np.round(start + within * (end - start), 1))


def likeness(instrument: str, program: int) -> int:
    """The plain program whose picture a program has: its own, or that of the one it is heard in place of."""
    return {heard: seen for seen, heard in UNSEEN_PROGRAMS[instrument].items()}.get(program, program)


def either_way(rng: np.random.Generator, reach: tuple[float, float]) -> float:
    """One draw, evenly from ``reach`` and its mirror below 0."""
    drawn = rng.uniform(-1, 1)
    return float(np.copysign(reach[0] + abs(drawn) * (reach[1] - reach[0]), drawn))


def shown_instead(times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What a decoder shows of frames of which a tenth were dropped: the last one that was not, ``[T]``.

    Args:
        times: the moments of the frames, seconds, ``[T]``; the first is never dropped.
        rng: which ones are.
    """
    kept = np.ones(len(times), bool)
    kept[1 + rng.choice(len(times) - 1, round(DROPPED * (len(times) - 1)), replace=False)] = False
    return times[np.maximum.accumulate(np.where(kept, np.arange(len(times)), 0))]
