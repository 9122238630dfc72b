"""Marimba, xylophone or vibraphone from the player's side: two rows of bars, two mallets.

Bars are laid out as the keys of a keyboard are, the accidentals behind and a little higher, each shorter than the one
below it. Mallets travel and are raised between hits and fall on the middle of a bar, hands in turn where they can be. A
bar that is struck gives way and trembles until it is silent.
"""

from __future__ import annotations

import numpy as np

from data_prep.recital.film.canvas import Canvas, mix
from data_prep.recital.film.keyboard import WHITES, is_white, key_centre
from data_prep.recital.film.motion import away, force_of, ring, strikes
from data_prep.recital.film.scene import SKINS, backdrop, varied
from data_prep.recital.film.sticks import Stick, draw_stick
from data_prep.recital.score import HIGHEST, LOWEST, Note, Score

BAR = 0.030
"""Half the width of a bar."""
FRONT, BACK = (0.50, 0.80), (0.20, 0.44)
"""From where to where the longest bar of each row reaches; the shortest ends a third nearer the middle."""
HANDS = ((0.34, 1.02), (0.66, 1.02))
GIVE = 0.030
"""How far a bar gives way to the hardest blow."""
BARS = {12: (146, 74, 44), 13: (190, 118, 60), 11: (176, 178, 182)}
"""Bars by program: rosewood, padauk, aluminium."""
YARNS = ((214, 60, 60), (60, 110, 200), (240, 200, 70), (70, 160, 90))


def bar_of(pitch: int) -> tuple[float, float, float, float]:
    """(x0, y0, x1, y1) of a bar."""
    top, bottom = FRONT if is_white(pitch) else BACK
    shorter = (pitch - LOWEST) / (HIGHEST - LOWEST) * (bottom - top) / 6
    x = key_centre(pitch)
    return x - BAR, top + shorter, x + BAR, bottom - shorter


def places(score: Score) -> list[tuple[int, float, float, float, float]]:
    """(pitch, x0, y0, x1, y1) of every bar."""
    return [(pitch, *bar_of(pitch)) for pitch in range(LOWEST, HIGHEST + 1)]


class Marimba:
    """The scene of one performance with mallets."""

    def __init__(self, score: Score, times: np.ndarray):
        rng = score.rng("colours")
        self.bars = varied(rng, BARS[score.likeness])
        self.backdrop = backdrop(score, rng)
        self.frame_wood = varied(rng, (110, 84, 60), 30)
        self.skin = SKINS[rng.integers(len(SKINS))]
        self.yarn = YARNS[rng.integers(len(YARNS))]
        self.lamps = score.lamps
        self.jolt = np.zeros((HIGHEST - LOWEST + 1, len(times)))
        self.tremble = np.zeros_like(self.jolt)
        for pitch in {note.pitch for note in score.notes}:
            hits = [note for note in score.notes if note.pitch == pitch]
            forces = [GIVE * hit.velocity / 127 for hit in hits]
            self.jolt[pitch - LOWEST] = strikes(times, [hit.onset for hit in hits], forces, 0.30)
            for hit in hits:
                sounds = (times >= hit.onset - 0.012) * (times < hit.offset + 0.05)
                rung = force_of(hit.velocity) * ring(times, hit.onset, 0.20) * sounds
                self.tremble[pitch - LOWEST] = np.maximum(self.tremble[pitch - LOWEST], rung)
        weight = away(times, score.gestures)[:, None]
        self.sticks = []
        for side, (hits, rest) in enumerate(zip(_hands_of(score.notes), HANDS, strict=True)):
            blows = [(hit.onset, _target(hit.pitch), force_of(hit.velocity)) for hit in hits]
            stick = Stick(times, blows, rest, side, lift=0.15, height=0.40)
            stick.move(weight * ((-0.12 if side == 0 else 0.12), 0.06))
            self.sticks.append(stick)

    def landmarks(self) -> dict[str, np.ndarray]:
        return self.sticks[0].landmarks("left") | self.sticks[1].landmarks("right")

    def background(self, canvas: Canvas) -> None:
        self.backdrop(canvas)
        for y0, y1 in ((0.26, 0.295), (0.37, 0.40), (0.555, 0.59), (0.71, 0.745)):
            canvas.box(-0.02, y0, 1.02, y1, self.frame_wood)
        for pitch in (*WHITES, *(pitch for pitch in range(LOWEST, HIGHEST + 1) if not is_white(pitch))):
            self._bar(canvas, pitch, 0.0, 0.0)

    def _bar(self, canvas: Canvas, pitch: int, jolt: float, tremble: float) -> None:
        x0, y0, x1, y1 = bar_of(pitch)
        colour = mix(self.bars, (255, 255, 255), 0.18 if is_white(pitch) else 0.04)
        canvas.box(x0, y0 + 0.012, x1, y1 + 0.016, mix(self.bars, (0, 0, 0), 0.65))
        # What trembles is seen as a paler, wider blur of itself.
        wide = 0.004 * tremble
        lit = mix(colour, (70, 255, 120), 0.9 * tremble) if self.lamps else mix(colour, (255, 255, 255), 0.35 * tremble)
        canvas.box(x0 - wide, y0 + jolt, x1 + wide, y1 + jolt, lit)
        canvas.box(x0 + 0.006, y0 + jolt, x0 + 0.014, y1 + jolt, mix(lit, (255, 255, 255), 0.25))
        for y in (y0 + 0.035, y1 - 0.035):
            canvas.disc(((x0 + x1) / 2, y + jolt), 0.006, (40, 30, 26))

    def draw(self, canvas: Canvas, frame: int) -> None:
        for pitch in range(LOWEST, HIGHEST + 1):
            jolt, tremble = self.jolt[pitch - LOWEST, frame], self.tremble[pitch - LOWEST, frame]
            if jolt > 1e-4 or tremble > 0.01:
                self._bar(canvas, pitch, jolt, tremble)
        for stick in self.sticks:
            draw_stick(canvas, stick, frame, self.skin, (0.026, self.yarn))


def _target(pitch: int) -> np.ndarray:
    x0, y0, x1, y1 = bar_of(pitch)
    return np.array([(x0 + x1) / 2, y0 + 0.6 * (y1 - y0)])


def _hands_of(notes: tuple[Note, ...]) -> tuple[list[Note], list[Note]]:
    """Shares the notes between the hands: in turn where they are quick, else the nearer one; hands do not cross."""
    hands: tuple[list[Note], list[Note]] = ([], [])
    last = 1
    for k, note in enumerate(notes):
        quick = k > 0 and note.onset - notes[k - 1].onset < 0.35
        if quick:
            side = 1 - last
        else:
            came = [key_centre(hand[-1].pitch) if hand else HANDS[s][0] for s, hand in enumerate(hands)]
            side = int(np.argmin([abs(key_centre(note.pitch) - x) for x in came]))
        hands[side].append(note)
        last = side
    return hands
