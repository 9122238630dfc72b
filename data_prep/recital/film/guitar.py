"""A guitar from the front: the neck to the right, one hand on the frets, the other plucks over the sound hole.

Six strings in standard tuning, the lowest on top as it is seen from the front; each pitch is played on the highest
string that has it, in the first eight frets. The plucking finger waits beside its string and passes through it at the
onset, in the other direction each time, farther for louder notes. The string swings from the fret to the bridge until
it is damped. The fretting hand goes ahead slowly; the finger falls within 25 ms of the onset. Open strings need none.
"""

from __future__ import annotations

import numpy as np

from data_prep.recital.film.canvas import Canvas, mix
from data_prep.recital.film.motion import Move, away, force_of, held, path, ring
from data_prep.recital.film.scene import SKINS, backdrop, sleeve, varied
from data_prep.recital.score import HIGHEST, LOWEST, Score

OPEN = (40, 45, 50, 55, 59, 64)
"""MIDI pitches of the open strings: E A D G B E."""
TOP_Y, STEP_Y = 0.385, 0.046
"""Height of the lowest string, and how far down the next one is."""
NUT_X, BRIDGE_X, PLUCK_X = 0.93, 0.09, 0.33
"""Along the strings: nut, bridge, and where they are plucked."""
FRETS = 9
STROKE = 0.030
"""How far past its string a plucking finger goes for the loudest note."""

TOPS = {24: (214, 160, 92), 25: (150, 78, 38), 27: (44, 92, 134)}
"""Colours of the top by program: spruce, sunburst, blue."""
STEEL, SWINGING, BOARD = (176, 172, 164), (240, 240, 244), (52, 36, 30)


def string_of(pitch: int) -> int:
    """Which string plays this pitch, 0 the lowest."""
    return max(string for string, sounds in enumerate(OPEN) if sounds <= pitch)


def fret_of(pitch: int) -> int:
    """On which fret, 0 the open string."""
    return pitch - OPEN[string_of(pitch)]


def fret_x(fret: float) -> float:
    """Where a fret lies: strings shorten by the twelfth root of 2 a semitone."""
    return NUT_X - (NUT_X - BRIDGE_X) * (1 - 2 ** (-fret / 12))


def string_y(string: int) -> float:
    """The height of a string."""
    return TOP_Y + string * STEP_Y


def finger_place(pitch: int) -> tuple[float, float]:
    """Where the string is stopped for this pitch, just behind its fret; for an open string the nut."""
    fret = fret_of(pitch)
    return (fret_x(fret - 0.4) if fret else NUT_X), string_y(string_of(pitch))


def places(score: Score) -> list[tuple[int, float, float, float, float]]:
    """(pitch, x0, y0, x1, y1) for every pitch: the rectangle around the place where its string is stopped."""
    found = []
    for pitch in range(LOWEST, HIGHEST + 1):
        x, y = finger_place(pitch)
        fret = fret_of(pitch)
        half = (fret_x(fret - 1) - fret_x(fret)) / 2 if fret else 0.02
        found.append((pitch, x - half, y - STEP_Y / 2, x + half, y + STEP_Y / 2))
    return found


class Guitar:
    """The scene of one performance on the guitar."""

    def __init__(self, score: Score, times: np.ndarray):
        rng = score.rng("colours")
        self.top = varied(rng, TOPS[score.likeness])
        self.backdrop = backdrop(score, rng)
        self.skin = SKINS[rng.integers(len(SKINS))]
        self.sleeves = sleeve(score, self.skin, varied(rng, (90, 80, 90), 70))
        self.notes, self.lamps = score.notes, score.lamps
        self.swing = np.zeros((len(OPEN), len(times)))
        self.stopped = np.full((len(OPEN), len(times)), NUT_X)
        for note in self.notes:
            force = force_of(note.velocity)
            sounds = held(times, note.onset, note.offset, 0.012, 0.05)
            string = string_of(note.pitch)
            self.swing[string] = np.maximum(
                self.swing[string], sounds * force * (0.35 + 0.65 * ring(times, note.onset, 0.30))
            )
            playing = (times >= note.onset - 0.012) & (times < note.offset + 0.05)
            self.stopped[string, playing] = finger_place(note.pitch)[0]
        weight = away(times, score.gestures)[:, None]
        self.palm, self.tips = self._fretting_hand(times)
        shift = weight * ((1.02, 0.98) - self.palm)
        self.palm = self.palm + shift
        self.tips = [tip + shift for tip in self.tips]
        self.pluck = self._plucking_hand(times, 1 if rng.integers(2) else -1)
        self.pluck = self.pluck + 0.5 * weight * ((0.30, 0.80) - self.pluck)

    def _fretting_hand(self, times: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """The hand ``[n, 2]`` and its four fingertips: one finger a fret, from where the hand is."""
        stopped = [note for note in self.notes if fret_of(note.pitch)]
        first = 1
        moves: list[Move] = []
        fingers: list[list[tuple[float, float, tuple[float, float]]]] = [[], [], [], []]
        before = -1.0
        for note in stopped:
            fret = fret_of(note.pitch)
            if not first <= fret < first + 4:
                first = int(np.clip(fret - 1 if fret > first else fret, 1, FRETS - 3))
                begins = max(before + 0.07, note.onset - 0.60)
                moves.append((begins, max(note.onset - 0.06, begins + 0.02), (fret_x(first + 1.1),)))
            fingers[fret - first].append((note.onset, note.offset, finger_place(note.pitch)))
            before = note.onset
        along = path(times, (fret_x(2.1),), moves)[:, 0]
        palm = np.stack([along, np.full(len(times), 0.80)], 1)
        tips = []
        for finger, played in enumerate(fingers):
            idle = palm + ((1.35 - finger) * 0.047, -0.135)
            tip = idle.copy()
            for k, (onset, offset, place) in enumerate(played):
                later = played[k + 1][0] if k + 1 < len(played) else 1e9
                reach = path(times, (0.0,), [
                    (onset - 0.30, onset - 0.07, (0.35,)),
                    (onset - 0.020, onset + 0.020, (1.0,)),
                    (offset, min(offset + 0.25, max(later - 0.31, offset + 0.03)), (0.0,)),
                ])  # fmt: skip
                tip = tip + reach * (np.array(place) - idle) * (reach > 0)
            tips.append(tip)
        return palm, tips

    def _plucking_hand(self, times: np.ndarray, first: int) -> np.ndarray:
        """The tip of the finger that plucks, ``[n, 2]``: through the string at the onset."""
        direction = first
        start = string_y(string_of(self.notes[0].pitch)) if self.notes else string_y(3)
        moves: list[Move] = []
        before = -1.0
        for note in self.notes:
            y = string_y(string_of(note.pitch))
            force = STROKE * force_of(note.velocity, 0.4)
            begins = max(before + 0.045, note.onset - 0.45)
            ends = note.onset - 0.03
            if ends > begins + 0.01:
                moves.append((begins, ends, (y - direction * 0.016,)))
            moves.append((max(note.onset - 0.012, begins), note.onset + 0.03, (y + direction * force,)))
            direction = -direction
            before = note.onset
        height = path(times, (start + 0.03,), moves)[:, 0]
        return np.stack([PLUCK_X - 0.25 * (height - string_y(2)), height], 1)

    def landmarks(self) -> dict[str, np.ndarray]:
        found = {"left_hand": self.palm, "right_hand": self.pluck + (-0.10, 0.075), "right_index": self.pluck}
        return found | dict(zip(("left_index", "left_middle", "left_ring", "left_little"), self.tips, strict=True))

    def background(self, canvas: Canvas) -> None:
        self.backdrop(canvas)
        middle = string_y(0) + 2.5 * STEP_Y
        dark = mix(self.top, (30, 14, 6), 0.6)
        for grow, colour in ((0.014, dark), (0.0, self.top)):
            canvas.ellipse((0.06, middle), (0.30 + grow, 0.40 + grow), colour)
            canvas.ellipse((0.36, middle), (0.20 + grow, 0.30 + grow), colour)
            canvas.box(0.06, middle - 0.30 - grow, 0.36, middle + 0.30 + grow, colour)
        canvas.disc((0.345, middle), 0.125, mix(dark, (230, 200, 150), 0.3))
        canvas.disc((0.345, middle), 0.108, (24, 18, 16))
        half = 2.5 * STEP_Y + 0.022
        canvas.box(0.46, middle - half, 1.3, middle + half, BOARD)
        for fret in range(1, 15):
            x = fret_x(fret)
            if x > 0.47:
                canvas.box(x - 0.003, middle - half, x + 0.003, middle + half, (190, 186, 170))
        for fret in (3, 5, 7, 9):
            canvas.disc((fret_x(fret - 0.5), middle), 0.009, (220, 216, 204))
        canvas.box(NUT_X, middle - half, NUT_X + 0.012, middle + half, (232, 226, 208))
        canvas.box(BRIDGE_X - 0.02, middle - half - 0.03, BRIDGE_X, middle + half + 0.03, dark)
        for string in range(len(OPEN)):
            y = string_y(string)
            canvas.limb((BRIDGE_X, y), (1.3, y), 0.009 - 0.0009 * string, STEEL)

    def draw(self, canvas: Canvas, frame: int) -> None:
        for string in range(len(OPEN)):
            swing = self.swing[string, frame]
            if swing > 0.02:
                y, x = string_y(string), self.stopped[string, frame]
                wide = 0.006 + 0.034 * swing
                middle = (x + BRIDGE_X) / 2
                shape = [(x, y), (middle, y - wide / 2), (BRIDGE_X, y), (middle, y + wide / 2)]
                canvas.polygon(shape, mix(STEEL, SWINGING, 0.35 + 0.65 * swing))
                if self.lamps:
                    canvas.disc((x, y), 0.026, mix(BOARD, (255, 222, 70), min(1.0, 0.6 + swing)))
        self._draw_left_hand(canvas, frame)
        self._draw_right_hand(canvas, frame)

    def _draw_left_hand(self, canvas: Canvas, frame: int) -> None:
        palm = self.palm[frame]
        shade = mix(self.skin, (0, 0, 0), 0.3)
        canvas.limb(palm + (0.02, 0.05), palm + (0.16, 0.6), 0.12, self.sleeves, 0.18)
        for finger in range(4):
            root = palm + ((1.35 - finger) * 0.030, -0.03)
            tip = self.tips[finger][frame]
            canvas.limb(root, tip, 0.038, shade, 0.032)
            canvas.limb(root, tip, 0.029, self.skin, 0.023)
        canvas.ellipse(palm, (0.078, 0.055), shade)
        canvas.ellipse(palm, (0.069, 0.046), self.skin)

    def _draw_right_hand(self, canvas: Canvas, frame: int) -> None:
        tip = self.pluck[frame]
        hand = tip + (-0.10, 0.075)
        shade = mix(self.skin, (0, 0, 0), 0.3)
        canvas.limb(hand + (-0.03, 0.03), (hand[0] - 0.42, 1.02), 0.10, self.sleeves, 0.17)
        for aside, along in ((0.030, -0.035), (0.052, -0.010), (0.062, 0.022)):
            canvas.limb(hand + (0.02, 0.0), hand + (aside + 0.02, along), 0.036, shade)
            canvas.limb(hand + (0.02, 0.0), hand + (aside + 0.02, along), 0.027, self.skin)
        canvas.ellipse(hand, (0.062, 0.046), shade)
        canvas.ellipse(hand, (0.054, 0.038), self.skin)
        canvas.limb(hand + (0.02, -0.02), tip, 0.034, shade, 0.028)
        canvas.limb(hand + (0.02, -0.02), tip, 0.026, self.skin, 0.020)
        canvas.disc(tip, 0.012, mix(self.skin, (255, 255, 255), 0.4))
