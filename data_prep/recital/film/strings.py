"""A bowed string instrument from above: the neck across the picture, the bow over it, a finger on the string.

Four strings, the lowest nearest the player; on each, seven places a semitone apart, so that every pitch has a place of
its own and higher pitches lie further right, then on the next string up. No string is played open. The bow sets off at
the onset at once with an accent, in the other direction each time, faster for louder notes; between notes it stands
still. Bow and finger change strings and places within 25 ms of the onset; the hand goes ahead slowly. The string
that sounds is seen to swing under the bow. With lamps the place where it is stopped lights up, brighter for louder
notes, and so does the string.
"""

from __future__ import annotations

import numpy as np

from data_prep.recital.film.canvas import Canvas, mix
from data_prep.recital.film.motion import Move, away, force_of, held, path, ring, strikes
from data_prep.recital.film.scene import SKINS, backdrop, sleeve, varied
from data_prep.recital.score import HIGHEST, LOWEST, Score

PLACES_PER_STRING = 7
STRINGS = 4
FIRST_X, STEP_X = 0.09, 0.070
"""Where the lowest place of each string lies, and how far the next semitone is."""
LOWEST_Y, STEP_Y = 0.585, 0.078
"""The lowest string, and how far up the next one is."""
NUT_X, BOARD_X, BOW_X, BRIDGE_X = 0.035, 0.655, 0.76, 0.90
"""Along the strings: nut, end of the fingerboard, bow, bridge."""
BOW_LENGTH = 0.52
ATTACK, STROKE = 0.035, 0.30
"""Seconds in which a stroke's speed falls by 1/e: of its accent, and of the rest."""
ACCENT = 0.45
"""Part of a stroke that is its accent."""
DROP, PALM_Y = 0.03, 0.86
"""How far the left hand drives forward at most, and where it is else."""

WAITING = ((0.072, 0.145), (0.045, 0.180), (0.012, 0.192))
"""Fingers of the left hand that do not play: how far right of the palm each begins, and how far before it it ends."""

STEEL, EBONY = (150, 150, 155), (34, 30, 32)
BLURRED = (188, 188, 192)
"""A string that swings is seen as a pale blur."""
GLOWS = ((255, 222, 70), (80, 220, 255), (255, 120, 190), (130, 255, 110))
"""Colours in which a stopped place may light up."""

BODIES = {40: (206, 116, 40), 41: (132, 52, 34), 42: (198, 160, 92)}
"""Varnish by program: orange violin, red-brown viola, golden cello."""


def string_of(pitch: int) -> int:
    """Which string plays this pitch, 0 the lowest."""
    return (pitch - LOWEST) // PLACES_PER_STRING


def finger_place(pitch: int) -> tuple[float, float]:
    """Where the fingertip stops the string for this pitch, scene coordinates."""
    return FIRST_X + ((pitch - LOWEST) % PLACES_PER_STRING) * STEP_X, LOWEST_Y - string_of(pitch) * STEP_Y


def _stroke(since: np.ndarray) -> np.ndarray:
    """How much of a bow stroke is done so long after its onset, 0..1: at once at full speed, then slower and slower."""
    return ACCENT * (1 - np.exp(-since / ATTACK)) + (1 - ACCENT) * (1 - np.exp(-since / STROKE))


def places(score: Score) -> list[tuple[int, float, float, float, float]]:
    """(pitch, x0, y0, x1, y1) for every pitch: the rectangle around the fingertip, which lights up with lamps."""
    found = []
    for pitch in range(LOWEST, HIGHEST + 1):
        x, y = finger_place(pitch)
        found.append((pitch, x - STEP_X / 2, y - STEP_Y / 2, x + STEP_X / 2, y + STEP_Y / 2))
    return found


class Strings:
    """The scene of one bowed performance."""

    def __init__(self, score: Score, times: np.ndarray):
        rng = score.rng("colours")
        self.body = varied(rng, BODIES[score.likeness])
        self.backdrop = backdrop(score, rng)
        self.skin = SKINS[rng.integers(len(SKINS))]
        self.glow = GLOWS[rng.integers(len(GLOWS))]
        self.sleeves = sleeve(score, self.skin, varied(rng, (70, 80, 110), 50))
        self.notes, self.lamps = score.notes, score.lamps
        self.fingertip = self._fingertip(times)
        self.palm = self._palm(times)
        shift = away(times, score.gestures)[:, None] * ((0.16, 1.0) - self.palm)
        self.palm, self.fingertip = self.palm + shift, self.fingertip + shift
        self.bow, self.contact = self._bow(times, bool(rng.integers(2)))
        self.ends = self._ends_of_the_bow()
        self.swing = np.zeros((STRINGS, len(times)))
        for note in self.notes:
            force = force_of(note.velocity, 0.45)
            sounds = held(times, note.onset, note.offset, 0.012, 0.04)
            swing = sounds * force * (0.6 + 0.4 * ring(times, note.onset, 0.12))
            string = string_of(note.pitch)
            self.swing[string] = np.maximum(self.swing[string], swing)
        self.lit_place = np.zeros((len(times), 2))
        for note in self.notes:
            self.lit_place[times >= note.onset - 0.012] = finger_place(note.pitch)
        self.press = np.zeros(len(times))
        for note in self.notes:
            self.press = np.maximum(self.press, held(times, note.onset, note.offset, 0.02, 0.05))

    def _fingertip(self, times: np.ndarray) -> np.ndarray:
        """The finger stays until the offset, leaves 25 ms before the next onset and is in place 25 ms after it."""
        start = finger_place(self.notes[0].pitch) if self.notes else (FIRST_X + 3 * STEP_X, LOWEST_Y)
        moves: list[Move] = []
        free = -1.0
        for note in self.notes:
            moves.append((max(free, note.onset - 0.025), note.onset + 0.025, finger_place(note.pitch)))
            free = note.offset
        return path(times, start, moves)

    def _palm(self, times: np.ndarray) -> np.ndarray:
        """The hand, ``[n, 2]``: it travels slowly ahead of its finger and drives forward as the finger falls."""
        start = finger_place(self.notes[0].pitch)[0] if self.notes else FIRST_X + 3 * STEP_X
        moves: list[Move] = []
        before = -1.0
        for note in self.notes:
            begins = max(before + 0.07, note.onset - 0.60)
            moves.append((begins, max(note.onset - 0.07, begins + 0.02), (finger_place(note.pitch)[0],)))
            before = note.onset
        forces = [DROP * force_of(note.velocity, 0.4) for note in self.notes]
        driven = strikes(times, [note.onset for note in self.notes], forces)
        return np.stack([path(times, (start,), moves)[:, 0] + 0.03, PALM_Y - driven], 1)

    def _bow(self, times: np.ndarray, down_first: bool) -> tuple[np.ndarray, np.ndarray]:
        """How much of the bow has passed the string, 0..1, and the height where it crosses, at each time."""
        low, high = 0.14, 0.86
        place = np.full(len(times), 0.5)
        here, direction = 0.32 if down_first else 0.68, 1 if down_first else -1
        moves: list[Move] = []
        free = -1.0
        place[:] = here
        for k, note in enumerate(self.notes):
            room = (high - here) if direction > 0 else (here - low)
            wish = 0.30 + 0.45 * (note.velocity - 40) / 80
            reach = direction * min(wish, room)
            on = times >= note.onset
            length = note.offset - note.onset
            stroke = reach * _stroke(np.minimum(np.maximum(times - note.onset, 0.0), length))
            place = np.where(on, here + stroke, place)
            here += reach * float(_stroke(np.array(length)))
            direction = -direction
            after = self.notes[k + 1].onset if k + 1 < len(self.notes) else note.offset + 1.0
            if after - note.offset > 0.3:  # a rest: the bow is lifted and taken back to where there is room
                goal = 0.32 if direction > 0 else 0.68
                back = path(times, (here,), [(note.offset + 0.03, after - 0.05, (goal,))])[:, 0]
                place = np.where(times >= note.offset, back, place)
                here = goal
            bridge = LOWEST_Y - string_of(note.pitch) * STEP_Y
            moves.append((max(free, note.onset - 0.025), note.onset + 0.025, (bridge,)))
            free = note.offset
        first = LOWEST_Y - (string_of(self.notes[0].pitch) if self.notes else 1) * STEP_Y
        return place, path(times, (first,), moves)[:, 0]

    def landmarks(self) -> dict[str, np.ndarray]:
        frog, head = self.ends
        found = {"left_hand": self.palm, "left_index": self.fingertip, "left_thumb": self.palm - (0.115, 0.145)}
        for finger, (root, reach) in zip(("middle", "ring", "little"), WAITING[::-1], strict=True):
            found[f"left_{finger}"] = self.palm + (0.022 + root * 1.35, -reach)
        return found | {"right_hand": frog + (0.035, 0.0), "bow_frog": frog, "bow_tip": head}

    def _ends_of_the_bow(self) -> tuple[np.ndarray, np.ndarray]:
        """Frog and head, each ``[n, 2]``. The bow leans a little with the string it plays, as the arm does."""
        lean = 0.10 * (self.contact - (LOWEST_Y - 1.5 * STEP_Y))
        frog = np.stack([BOW_X + lean * 1.2, self.contact + self.bow * BOW_LENGTH], 1)
        head = np.stack([BOW_X - lean * 1.2, self.contact - (1 - self.bow) * BOW_LENGTH], 1)
        return frog, head

    def background(self, canvas: Canvas) -> None:
        middle = LOWEST_Y - 1.5 * STEP_Y
        self.backdrop(canvas)
        edge = mix(self.body, (0, 0, 0), 0.45)
        for grow, colour in ((0.012, edge), (0.0, self.body)):
            canvas.ellipse((0.72, middle), (0.20 + grow, 0.33 + grow), colour)
            canvas.ellipse((1.16, middle), (0.30 + grow, 0.41 + grow), colour)
            canvas.box(0.70, middle - 0.24 - grow, 1.2, middle + 0.24 + grow, colour)
        glow = mix(self.body, (255, 240, 200), 0.22)
        canvas.ellipse((0.80, middle - 0.02), (0.13, 0.22), glow)
        for side in (-1, 1):
            canvas.limb((0.80, middle + side * 0.225), (0.95, middle + side * 0.20), 0.022, edge)
        wood = mix(self.body, (20, 14, 10), 0.55)
        for x, end, narrow, wide, colour in ((-0.3, 0.66, 0.15, 0.17, wood), (NUT_X, BOARD_X, 0.155, 0.16, EBONY)):
            corners = [(x, middle - narrow), (end, middle - wide), (end, middle + wide), (x, middle + narrow)]
            canvas.polygon(corners, colour)
        canvas.box(NUT_X - 0.012, middle - 0.155, NUT_X, middle + 0.155, (225, 215, 190))
        canvas.box(BRIDGE_X - 0.01, middle - 0.16, BRIDGE_X + 0.012, middle + 0.16, (226, 190, 130))
        for string in range(STRINGS):
            y = LOWEST_Y - string * STEP_Y
            canvas.limb((NUT_X, y), (1.2, y), 0.012 - 0.0015 * string, STEEL)

    def draw(self, canvas: Canvas, frame: int) -> None:
        tip = self.fingertip[frame]
        for string in range(STRINGS):
            swing = self.swing[string, frame]
            if swing > 0.02:
                y = LOWEST_Y - string * STEP_Y
                wide = 0.016 + 0.055 * swing
                lamp = mix(STEEL, (255, 250, 170), min(1.0, 0.4 + 0.6 * swing))
                bright = lamp if self.lamps else BLURRED
                canvas.limb(tip, (BOARD_X, y), 0.012, mix(STEEL, bright, 0.5))
                shape = [(BOARD_X - 0.03, y), (BOW_X, y - wide / 2), (BRIDGE_X, y), (BOW_X, y + wide / 2)]
                canvas.polygon(shape, bright)
                if not self.lamps:
                    continue
                lit = mix(EBONY, self.glow, 0.45 * min(1.0, 4 * swing) + 0.55 * swing)
                canvas.ellipse(self.lit_place[frame], (0.49 * STEP_X, 0.49 * STEP_Y), lit)
        self._draw_left_hand(canvas, tip, self.palm[frame], self.press[frame])
        self._draw_bow(canvas, frame)

    def _draw_left_hand(self, canvas: Canvas, tip: np.ndarray, palm: np.ndarray, press: float) -> None:
        shade = mix(self.skin, (0, 0, 0), 0.3)
        canvas.limb((palm[0], palm[1] + 0.04), (palm[0] - 0.10, 1.4), 0.12, self.sleeves, 0.18)
        # The forefinger plays; the thumb is behind the neck and the other fingers wait at its edge.
        canvas.limb(palm - (0.05, 0.03), palm - (0.115, 0.145), 0.046, shade)
        canvas.limb(palm - (0.05, 0.03), palm - (0.115, 0.142), 0.036, self.skin)
        for offset, reach in WAITING:
            root, end = palm + (offset, -0.03), palm + (0.022 + offset * 1.35, -reach)
            canvas.limb(root, end, 0.043, shade)
            canvas.limb(root, end + (0, 0.003), 0.033, self.skin)
        tip = tip + (0.0, 0.016)  # from below, so that most of the place stays in sight
        canvas.limb((palm[0] - 0.03, palm[1] - 0.04), tip, 0.046, shade, 0.036)
        canvas.limb((palm[0] - 0.03, palm[1] - 0.04), tip, 0.034, self.skin, 0.026)
        canvas.disc(tip, 0.019 + 0.003 * press, mix(self.skin, (255, 255, 255), 0.15 + 0.25 * press))
        canvas.ellipse(palm, (0.10, 0.06), shade)
        canvas.ellipse(palm, (0.09, 0.05), self.skin)

    def _draw_bow(self, canvas: Canvas, frame: int) -> None:
        frog, head = (end[frame] for end in self.ends)
        canvas.limb(frog, head, 0.016, (245, 240, 225))
        aside = np.array([0.028, 0.0])
        canvas.limb(frog + aside, head + aside * 0.4, 0.024, (92, 44, 20), 0.016)
        for part in (0.25, 0.5, 0.75):  # bindings on the stick, by which its travel is seen
            centre = frog + (head - frog) * part + aside * (1 - 0.6 * part)
            canvas.limb(centre - (0.012, 0), centre + (0.012, 0), 0.022, (225, 200, 90))
        canvas.limb(head - (0.004, 0), head + (0.022, 0.0), 0.03, (40, 26, 20))
        canvas.box(frog[0] - 0.014, frog[1] - 0.05, frog[0] + 0.04, frog[1] + 0.01, (30, 26, 28))
        shade = mix(self.skin, (0, 0, 0), 0.3)
        canvas.limb(frog + (0.045, 0.03), frog + (0.20, 0.45), 0.10, self.sleeves, 0.15)
        canvas.ellipse(frog + (0.035, 0.0), (0.060, 0.048), shade)
        canvas.ellipse(frog + (0.035, 0.0), (0.052, 0.040), self.skin)
