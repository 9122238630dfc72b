"""Composes: draws a score that makes musical sense (key, metre, phrases that end and breathe, dynamics).

A melody is a walk on the scale: chord tones on the strong beats of a four-chord progression, steps between them,
two-bar phrases whose rhythm returns and which end on a long chord tone followed by a rest. A keyboard may add a left
hand on roots and fifths. A drum part is a groove with ghost notes and fills, a crash after each fill.
"""

from __future__ import annotations

import numpy as np

from data_prep.recital.changes import PLAIN_TEMPO, UNSEEN_PROGRAMS, check_change, unseen_tempo
from data_prep.recital.repertoire import excerpt
from data_prep.recital.score import (
    CRASH,
    HAT,
    HIGHEST,
    INSTRUMENTS,
    KICK,
    LOWEST,
    PROGRAMS,
    SNARE,
    TOM,
    Note,
    Score,
    check_instrument,
    rng_of,
)
from mvgen.errors import UserError

Key = tuple[int, str]
Chords = tuple[int, ...]
Metre = tuple[float, int]
"""Quarter notes a minute, and how many to the bar."""

SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
PROGRESSIONS = ((0, 3, 4, 0), (0, 5, 3, 4), (0, 4, 5, 3), (5, 3, 0, 4), (0, 3, 0, 4))
"""Scale degrees of the chords' roots, one chord a bar."""

RHYTHMS: dict[int, tuple[tuple[float, ...], ...]] = {
    4: ((1, 1, 1, 1), (1, 0.5, 0.5, 1, 1), (0.5, 0.5, 1, 0.5, 0.5, 1), (1.5, 0.5, 1, 1), (2, 1, 1), (1, 1, 2),
        (0.5, 0.5, 0.5, 0.5, 1, 1), (1.5, 0.5, 1.5, 0.5), (1, 1, 0.5, 0.5, 0.5, 0.5), (0.5, 1, 0.5, 1, 1)),
    3: ((1, 1, 1), (1, 0.5, 0.5, 1), (2, 1), (1.5, 0.5, 1), (0.5, 0.5, 1, 1), (1, 1, 0.5, 0.5), (1, 2)),
}  # fmt: skip
"""Note lengths in beats that fill one bar, by beats in the bar."""
CADENCES: dict[int, tuple[tuple[float, ...], ...]] = {
    4: ((1, 1, -2), (0.5, 0.5, 1, -2), (1, -3), (0.5, 0.5, 0.5, 0.5, -2)),
    3: ((1, -2), (0.5, 0.5, -2), (-3,)),
}
"""Last bar of a phrase; the negative length is the long note that a breath follows."""

RESTS, DUOS = 0.35, 0.12
"""Shares of footage with a long rest, and with a second player in the picture who does not play."""

SHORTEST = {"keyboard": 0.17, "strings": 0.24, "drums": 0.15, "guitar": 0.18, "marimba": 0.17}
"""Seconds between onsets of one voice, at least."""

# One bar of eighths by beats in the bar: for each piece where it falls. Never more than two pieces together.
GROOVES = {
    4: (
        {KICK: (0, 4), SNARE: (2, 6), HAT: (1, 2, 3, 5, 6, 7, 0, 4)},
        {KICK: (0, 3, 4), SNARE: (2, 6), HAT: (0, 2, 4, 6)},
        {KICK: (0, 5), SNARE: (4,), HAT: (0, 2, 4, 6, 7)},
        {KICK: (0, 2, 4, 6), SNARE: (2, 6), HAT: (1, 3, 5, 7)},
        {KICK: (0, 4), TOM: (2, 3, 6, 7), SNARE: (4,), HAT: (0, 1, 5)},
        {KICK: (0, 3, 6), SNARE: (2, 7), TOM: (5,), HAT: (0, 4)},
    ),
    3: (
        {KICK: (0,), SNARE: (2, 4), HAT: (0, 2, 3, 4)},
        {KICK: (0, 5), SNARE: (4,), HAT: (1, 2, 3)},
        {KICK: (0, 3), TOM: (2, 4), HAT: (0, 1, 5)},
    ),
}


def compose(
    seed: int,
    index: int,
    instrument: str,
    seconds: float = 6.0,
    voices: int | None = None,
    change: str = "",
    lamps: bool = False,
    footage: bool = False,
    repertoire: str = "",
    soundfont: str = "",
) -> Score:
    """Draws performance number ``index`` of seed ``seed``.

    Args:
        seed, index: non-negative; together they fix the score.
        instrument: one of ``INSTRUMENTS``.
        seconds: length, more than 1.
        voices: 1 or 2 for a keyboard (None: drawn evenly); drums always have 2, the others 1.
        change: a change (:mod:`data_prep.recital.changes`): the same performance with one thing changed; empty: plain.
        lamps: keys, places and drums light up while they sound (the change ``lamps`` has them too).
        footage: filmed as people film; some performances then rest for two seconds or so.
        repertoire: "music21": an excerpt of its corpus instead of a melody of our own; drums have grooves all the same.
        soundfont: a SoundFont file to play it with; empty: the usual one.

    Returns:
        The score. No note begins in the first or last 0.12 s or so; none sounds beyond ``seconds``.

    Raises:
        UserError: unknown instrument or change, negative seed, or no time to play in.
    """
    check_instrument(instrument)
    check_change(change)
    if seed < 0 or index < 0:
        raise UserError(f"seed and index must not be negative, got seed {seed}, index {index}")
    if not 1 <= seconds <= 3600:
        raise UserError(f"a performance lasts 1 to 3600 seconds, not {seconds:g}")
    rng = rng_of(seed, index, "compose")
    drawn_voices = int(rng.integers(1, 3))
    if instrument == "keyboard":
        voices = drawn_voices if voices is None else voices
        if voices not in (1, 2):
            raise UserError(f"a keyboard performance has 1 or 2 voices, not {voices}")
    else:
        voices = 2 if instrument == "drums" else 1
    program = int(rng.choice(PROGRAMS[instrument]))
    program = UNSEEN_PROGRAMS[instrument][program] if change == "timbre" else program
    beats_per_bar = int(rng.choice([4, 4, 4, 3]))
    tempo = float(np.round(rng.uniform(*PLAIN_TEMPO), 1))
    tempo = unseen_tempo(tempo) if change == "tempo" else tempo
    metre = (tempo, beats_per_bar)
    tonic, mode = int(rng.integers(12)), str(rng.choice(["major", "minor"]))
    lead_in = float(rng.uniform(0.15, 0.55))
    if instrument == "drums":
        key: Key = (0, "none")
        notes = _drum_part(rng, seconds - lead_in, metre)
    else:
        key = (tonic, mode)
        chords = PROGRESSIONS[rng.integers(len(PROGRESSIONS))]
        low = LOWEST if voices == 1 else LOWEST + 12
        notes = _melody(rng, seconds - lead_in, metre, key, chords, low, HIGHEST, SHORTEST[instrument])
        if voices == 2:
            notes += _left_hand(rng, seconds - lead_in, metre, key, chords, LOWEST, LOWEST + 10)
    piece = ""
    if repertoire and instrument != "drums":
        needed = seconds - lead_in
        piece, tempo, notes = excerpt(rng_of(seed, index, "piece"), needed, tempo, voices, SHORTEST[instrument])
        key = (0, "none")
    played = _performed(rng, notes, lead_in, seconds, instrument)
    lit, partner = lamps or change == "lamps", ""
    if footage:
        staged = rng_of(seed, index, "footage")
        played = _with_a_rest(staged, played, seconds)
        if staged.random() < DUOS:
            partner = str(staged.choice(INSTRUMENTS))
    return Score(
        seed, index, instrument, program, float(seconds), tempo, beats_per_bar, key, voices, played, change, lit,
        footage, partner, piece, soundfont,
    )  # fmt: skip


def _with_a_rest(rng: np.random.Generator, notes: tuple[Note, ...], seconds: float) -> tuple[Note, ...]:
    """In some performances nothing is played for a while, though hands may move."""
    if rng.random() >= RESTS or seconds < 3:
        return notes
    length = rng.uniform(1.6, min(2.6, seconds / 2))
    begins = rng.uniform(0.0, seconds - length)
    kept = [
        note._replace(offset=min(note.offset, max(begins, note.onset + 0.08)) if note.onset < begins else note.offset)
        for note in notes
        if not begins <= note.onset < begins + length
    ]
    return tuple(kept) or notes


def _scale(key: Key, low: int, high: int) -> list[tuple[int, int]]:
    """(pitch, degree) of the scale between two pitches, both included."""
    steps = SCALES[key[1]]
    found = [(pitch, (pitch - key[0]) % 12) for pitch in range(low, high + 1)]
    return [(pitch, steps.index(step)) for pitch, step in found if step in steps]


def _melody(
    rng: np.random.Generator,
    seconds: float,
    metre: Metre,
    key: Key,
    chords: Chords,
    low: int,
    high: int,
    shortest: float,
) -> list[Note]:
    tempo, beats = metre
    beat = 60 / tempo
    scale = _scale(key, low, high)
    home = rng.uniform(0.2, 0.8) * (len(scale) - 1)
    place = int(np.clip(round(home + rng.normal() * 2), 0, len(scale) - 1))
    level = rng.uniform(62, 96)
    allowed = [bar for bar in RHYTHMS[beats] if min(bar) * beat >= shortest] or [(1,) * beats]
    endings = [bar for bar in CADENCES[beats] if min(map(abs, bar)) * beat >= shortest]
    motif = allowed[rng.integers(len(allowed))]
    notes: list[Note] = []
    bar, start = int(rng.integers(2)), 0.0
    while start < seconds:
        ends_phrase = bar % 2 == 1
        chord = chords[bar % len(chords)]
        if ends_phrase:
            rhythm = endings[rng.integers(len(endings))]
        else:
            rhythm = motif if rng.random() < 0.6 else allowed[rng.integers(len(allowed))]
        at = 0.0
        for length in rhythm:
            long_note, length = length < 0, abs(length)
            if ends_phrase and long_note or at % 2 == 0 and rng.random() < 0.7:
                place = _nearest_chord_tone(rng, scale, place, chord)
            else:
                place = _step(rng, place, home, len(scale))
            held = length - (0.5 if length <= 2 else 1) if long_note else length
            arc = 10 * np.sin(np.pi * ((bar % 2) + at / beats) / 2)  # a phrase swells and falls
            accent = 10 if at == 0 else (4 if at == beats / 2 else 0)
            velocity = level + arc + accent + rng.normal() * 5
            onset = start + at * beat
            rest = not long_note and at > 0 and rng.random() < 0.06
            if not rest:
                notes.append(Note(onset, onset + held * beat, scale[place][0], int(velocity)))
            at += length
        start += beats * beat
        bar += 1
    return notes


def _step(rng: np.random.Generator, place: int, home: float, size: int) -> int:
    moves = np.array([-4, -3, -2, -1, 0, 1, 2, 3, 4])
    weights = np.array([0.04, 0.05, 0.12, 0.28, 0.05, 0.28, 0.12, 0.05, 0.04])
    # Pulled gently home, so that a melody keeps to its register without walls.
    weights = weights * np.exp(-0.10 * np.sign(moves) * (place - home))
    weights = weights * ((place + moves >= 0) & (place + moves < size))
    return place + int(rng.choice(moves, p=weights / weights.sum()))


def _nearest_chord_tone(rng: np.random.Generator, scale: list[tuple[int, int]], place: int, chord: int) -> int:
    tones = [i for i, (_, degree) in enumerate(scale) if (degree - chord) % 7 in (0, 2, 4)]
    distance = np.array([abs(i - place) + (0.8 if i == place else 0) for i in tones])
    weights = np.exp(-0.9 * distance)
    return int(rng.choice(tones, p=weights / weights.sum()))


def _left_hand(
    rng: np.random.Generator, seconds: float, metre: Metre, key: Key, chords: Chords, low: int, high: int
) -> list[Note]:
    tempo, beats = metre
    beat = 60 / tempo
    scale = _scale(key, low, high)
    level = rng.uniform(55, 80)
    style = rng.choice(["long", "halves", "broken"])
    notes: list[Note] = []
    bar, start = 0, 0.0
    while start < seconds:
        chord = chords[bar % len(chords)]
        tones = [pitch for pitch, degree in scale if (degree - chord) % 7 in (0, 2, 4)]
        roots = [pitch for pitch, degree in scale if degree == chord % 7] or tones
        root = int(rng.choice(roots))
        if style == "long":
            figure = [(0.0, float(beats), root)]
        elif style == "halves":
            cut = 2.0
            figure = [(0.0, cut, root), (cut, beats - cut, int(rng.choice([t for t in tones if t != root] or tones)))]
        else:
            others = sorted(t for t in tones if t != root) or tones
            figure = [(float(i), 1.0, root if i == 0 else others[(i - 1) % len(others)]) for i in range(beats)]
        for at, length, pitch in figure:
            velocity = level + (8 if at == 0 else 0) + rng.normal() * 4
            notes.append(Note(start + at * beat, start + (at + length) * beat, pitch, int(velocity), 1))
        start += beats * beat
        bar += 1
    return notes


def _drum_part(rng: np.random.Generator, seconds: float, metre: Metre) -> list[Note]:
    tempo, beats = metre
    eighth = 30 / tempo
    grooves = GROOVES[beats]
    groove = grooves[rng.integers(len(grooves))]
    level = rng.uniform(72, 98)
    fill_every = int(rng.integers(2, 4))
    notes: list[Note] = []
    bar, start = int(rng.integers(fill_every)), 0.0
    after_fill = bool(rng.random() < 0.4)
    while start < seconds:
        fills = bar % fill_every == fill_every - 1
        slots = 2 * beats
        fill_from = slots - int(rng.choice([2, 3, 4])) if fills else slots
        hits: list[tuple[float, int]] = []
        for piece, places in groove.items():
            hits += [(float(at), piece) for at in places if at < fill_from and rng.random() < 0.95]
        if fills:
            hits += _fill(rng, fill_from, slots, eighth)
        if after_fill:
            hits = [hit for hit in hits if hit[0] != 0 or hit[1] == KICK] + [(0.0, CRASH)]
        for at, piece in hits:
            accent = 10 if at == 0 else (5 if at % 2 == 0 else -6)
            velocity = level + accent + rng.normal() * 5
            notes.append(Note(start + at * eighth, start + at * eighth + 0.1, piece, int(velocity)))
        after_fill = fills
        start += slots * eighth
        bar += 1
    return _at_most_two(notes)


def _fill(rng: np.random.Generator, start: int, stop: int, eighth: float) -> list[tuple[float, int]]:
    step = 0.5 if eighth / 2 >= SHORTEST["drums"] else 1.0
    count = round((stop - start) / step)
    turn = int(rng.integers(1, count + 1))
    return [(start + i * step, SNARE if i < turn else TOM) for i in range(count)]


def _at_most_two(notes: list[Note]) -> list[Note]:
    kept: list[Note] = []
    for note in sorted(notes, key=lambda n: (round(n.onset, 4), DRUM_WEIGHT[n.pitch])):
        if sum(abs(other.onset - note.onset) < 1e-3 for other in kept) < 2:
            kept.append(note)
    return kept


DRUM_WEIGHT = {CRASH: 0, SNARE: 1, KICK: 2, TOM: 3, HAT: 4}
"""Which piece stays when more than two fall together: the heavier."""


def _performed(
    rng: np.random.Generator, notes: list[Note], lead_in: float, seconds: float, instrument: str
) -> tuple[Note, ...]:
    """Human timing, articulation and the clip's edges: what is written becomes what is played."""
    legato = rng.uniform(0.78, 0.95)
    gap = {"strings": 0.06, "drums": 0.03}.get(instrument, 0.07)
    ordered = sorted(notes, key=lambda n: (n.onset, n.pitch))
    # Notes that are written together stay together to a few milliseconds; the pulse breathes a little.
    moments = sorted({round(note.onset, 4) for note in ordered})
    sway = {moment: float(np.clip(rng.normal() * 0.006, -0.012, 0.012)) for moment in moments}
    played: list[Note] = []
    for note in ordered:
        onset = round(lead_in + note.onset + sway[round(note.onset, 4)], 4)
        later = [n.onset for n in ordered if n.voice == note.voice and n.onset > note.onset + 1e-4]
        written = note.offset - note.onset
        room = (lead_in + later[0] - 0.012 - gap - onset) if later and instrument != "drums" else written
        offset = onset + max(0.08, min(written * legato, room)) if instrument != "drums" else onset + 0.1
        if onset > seconds - 0.15:
            continue
        velocity = int(np.clip(note.velocity, 40, 120))
        played.append(Note(onset, round(min(offset, seconds), 4), note.pitch, velocity, note.voice))
    return tuple(sorted(played, key=lambda n: (n.onset, n.pitch)))
