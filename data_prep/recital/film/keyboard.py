"""A keyboard from above: two octaves across the picture, hands from below, keys that go down.

A key begins to go down at most 16 ms before its onset and is down at the onset; it stays down until the offset. Hands
travel slowly between notes and strike from 20 ms before the onset to 35 ms after it, so that they are fastest then. The
louder the note, the farther the hand drives forward. Fingers press white keys near their front edge and black keys near
theirs, and leave the rest of the key to be seen. With lamps a pressed key lights up, deeper for louder notes, brightest
at the onset and fading a little, as the sound does.
"""

from __future__ import annotations

import numpy as np

from data_prep.recital.film.canvas import Canvas, mix
from data_prep.recital.film.landmarks import FINGERS
from data_prep.recital.film.motion import Move, away, force_of, held, path, ring, strikes
from data_prep.recital.film.scene import SKINS, backdrop, sleeve, varied
from data_prep.recital.score import HIGHEST, LOWEST, Note, Score

LEFT, RIGHT = 0.035, 0.965
BACK, BLACK_FRONT, FRONT = 0.27, 0.53, 0.77
WHITE_PRESS, BLACK_PRESS = 0.715, 0.49
"""Where keys end and where fingers press them, in scene coordinates."""

WHITES = [pitch for pitch in range(LOWEST, HIGHEST + 1) if pitch % 12 in (0, 2, 4, 5, 7, 9, 11)]
KEY = (RIGHT - LEFT) / len(WHITES)
"""Width of a white key."""

PALM_Y, LEAN = 0.895, 0.035
"""Where the palm is for white keys, and how much nearer for black ones."""
DIP = 0.035
"""How far a hand drives forward with its loudest strike."""
REACH = (-0.075, -0.115, -0.125, -0.115, -0.08)
"""How far before the palm the five fingertips hover."""

BODIES = {0: (42, 38, 44), 5: (150, 44, 40), 6: (176, 128, 70)}
"""Case by program: black piano, red electric piano, wooden harpsichord."""
GLOWS = ((244, 88, 0), (20, 150, 255), (230, 40, 120), (40, 190, 70))
"""Colours that pressed keys may light up in."""


def is_white(pitch: int) -> bool:
    """Whether this pitch is a white key."""
    return pitch in WHITES


def key_edges(pitch: int) -> tuple[float, float]:
    """Left and right edge of a key, scene coordinates."""
    if is_white(pitch):
        left = LEFT + WHITES.index(pitch) * KEY
        return left, left + KEY
    middle = LEFT + (WHITES.index(pitch - 1) + 1) * KEY
    return middle - 0.3 * KEY, middle + 0.3 * KEY


def key_centre(pitch: int) -> float:
    """Middle of a key, scene coordinates."""
    left, right = key_edges(pitch)
    return (left + right) / 2


def places(score: Score) -> list[tuple[int, float, float, float, float]]:
    """(pitch, x0, y0, x1, y1) for every key: the part of it that is seen to change and that no finger covers."""
    found = []
    for pitch in range(LOWEST, HIGHEST + 1):
        left, right = key_edges(pitch)
        top, bottom = (BLACK_FRONT + 0.01, WHITE_PRESS - 0.03) if is_white(pitch) else (BACK + 0.01, BLACK_PRESS - 0.03)
        found.append((pitch, left, top, right, bottom))
    return found


class Keyboard:
    """The scene of one keyboard performance."""

    def __init__(self, score: Score, times: np.ndarray):
        rng = score.rng("colours")
        self.body = varied(rng, BODIES[score.likeness])
        self.backdrop = backdrop(score, rng)
        self.glow = GLOWS[rng.integers(len(GLOWS))]
        self.white = varied(rng, (232, 230, 222), 8)
        self.black = varied(rng, (34, 32, 36), 8)
        self.skin = SKINS[rng.integers(len(SKINS))]
        self.sleeve = sleeve(score, self.skin, varied(rng, (90, 90, 110), 60))
        self.pressed = [self._key_state(score, times, pitch) for pitch in range(LOWEST, HIGHEST + 1)]
        voices = sorted({note.voice for note in score.notes}) or [0]
        self.hands = [_Hand([n for n in score.notes if n.voice == voice], times, voice) for voice in voices]
        for hand in self.hands:
            hand.leave(away(times, score.gestures))

    @staticmethod
    def _key_state(score: Score, times: np.ndarray, pitch: int) -> np.ndarray:
        """Depth 0..1 and glow 0..1 of one key at each time, ``[n, 2]``."""
        state = np.zeros((len(times), 2))
        for note in score.notes:
            if note.pitch == pitch:
                down = held(times, note.onset, note.offset)
                force = force_of(note.velocity, 0.65)
                bright = score.lamps * down * force * (0.72 + 0.28 * ring(times, note.onset, 0.18))
                state = np.maximum(state, np.stack([down, bright], 1))
        return state

    def landmarks(self) -> dict[str, np.ndarray]:
        found = {}
        for hand in self.hands:
            side = "left" if hand.voice else "right"
            found[f"{side}_hand"] = hand.place
            # From left to right in the picture: the thumb first of a right hand, last of a left one.
            tips = hand.tips[::-1] if hand.voice else hand.tips
            found |= {f"{side}_{finger}": tip for finger, tip in zip(FINGERS, tips, strict=True)}
        return found

    def background(self, canvas: Canvas) -> None:
        self.backdrop(canvas)
        canvas.box(-0.06, 0.10, 1.06, FRONT + 0.04, self.body)
        canvas.box(-0.06, 0.10, 1.06, 0.13, mix(self.body, (255, 255, 255), 0.25))
        canvas.box(LEFT, BACK - 0.025, RIGHT, BACK, (120, 24, 34))  # the felt strip behind the keys
        canvas.box(LEFT, BACK, RIGHT, FRONT + 0.02, (20, 20, 22))
        for pitch in WHITES:
            self._white_key(canvas, pitch, 0.0, 0.0)
        for pitch in range(LOWEST, HIGHEST + 1):
            if not is_white(pitch):
                self._black_key(canvas, pitch, 0.0, 0.0)

    def _white_key(self, canvas: Canvas, pitch: int, down: float, glow: float) -> None:
        left, right = key_edges(pitch)
        line = 0.04 * KEY
        colour = mix(self.white, self.glow, 0.95 * glow)
        front = FRONT - 0.016 * down
        canvas.box(left + line, BACK, right - line, front, mix(colour, (0, 0, 0), 0.14 * down))
        canvas.box(left + line, front, right - line, front + 0.018, mix(colour, (0, 0, 0), 0.35))
        if down > 0:  # the sides of its neighbours come into sight, and throw a shadow
            wall = mix(colour, (0, 0, 0), 0.6)
            canvas.box(left, BACK, left + (0.02 + 0.14 * down) * KEY, front, wall)
            canvas.box(right - (0.02 + 0.08 * down) * KEY, BACK, right, front, wall)

    def _black_key(self, canvas: Canvas, pitch: int, down: float, glow: float) -> None:
        left, right = key_edges(pitch)
        colour = mix(self.black, mix(self.glow, (255, 255, 255), 0.25), min(1.0, 1.1 * glow))
        front = BLACK_FRONT - 0.020 * down
        canvas.box(left, BACK, right, front, mix(colour, (0, 0, 0), 0.3))
        # The top of a black key shines, and less so when it is down among the white ones.
        shine = mix(colour, (255, 255, 255), 0.16 * (1 - down))
        canvas.box(left + 0.08 * KEY, BACK, right - 0.08 * KEY, front - 0.02, shine)

    def draw(self, canvas: Canvas, frame: int) -> None:
        for pitch in range(LOWEST, HIGHEST + 1):
            down, glow = self.pressed[pitch - LOWEST][frame]
            if down > 0 and is_white(pitch):
                self._white_key(canvas, pitch, down, glow)
                for neighbour in (pitch - 1, pitch + 1):  # black keys lie over the white ones
                    if LOWEST <= neighbour <= HIGHEST and not is_white(neighbour):
                        self._black_key(canvas, neighbour, *self.pressed[neighbour - LOWEST][frame])
        for pitch in range(LOWEST, HIGHEST + 1):
            down, glow = self.pressed[pitch - LOWEST][frame]
            if down > 0 and not is_white(pitch):
                self._black_key(canvas, pitch, down, glow)
        for hand in self.hands:
            self._draw_hand(canvas, hand, frame)

    def _draw_hand(self, canvas: Canvas, hand: _Hand, frame: int) -> None:
        x, y = hand.place[frame]
        shade = mix(self.skin, (0, 0, 0), 0.28)
        canvas.limb((x, y + 0.035), (x + 0.25 * (x - 0.5), 1.35), 0.12, self.sleeve, 0.17)
        for finger in range(5):
            root = (x + (finger - 2) * 0.6 * KEY, y - 0.02)
            tip = hand.tips[finger][frame]
            canvas.limb(root, tip, 0.036, shade, 0.033)
            canvas.limb(root, tip, 0.027, self.skin, 0.024)
        canvas.ellipse((x, y), (0.098, 0.058), shade)
        canvas.ellipse((x, y), (0.088, 0.05), self.skin)


class _Hand:
    """Where a hand and its five fingertips are: ``place [n, 2]`` and ``tips`` of 5 times ``[n, 2]``.

    The hand stays while the next key is under one of its fingers, else it travels, from soon after the last onset until
    70 ms before the next; it leans in to play a black key. At each onset it drives forward, more for louder notes.
    """

    def __init__(self, notes: list[Note], times: np.ndarray, voice: int):
        fingers: list[list[Note]] = [[] for _ in range(5)]
        moves: list[Move] = []
        x = start = key_centre(notes[0].pitch) if notes else (0.7 if voice == 0 else 0.3)
        y = PALM_Y
        before = -1.0
        for note in notes:
            key = key_centre(note.pitch)
            away = (key - x) / KEY
            goal_x = key - np.sign(away) * KEY if abs(away) > 2.2 else x
            goal_y = PALM_Y - (0.0 if is_white(note.pitch) else LEAN)
            if (goal_x, goal_y) != (x, y):
                begins = max(before + 0.07, note.onset - 0.60)
                moves.append((begins, max(note.onset - 0.07, begins + 0.02), (goal_x, goal_y)))
                x, y = goal_x, goal_y
            fingers[int(np.clip(round((key - x) / KEY) + 2, 0, 4))].append(note)
            before = note.onset
        self.place = path(times, (start, PALM_Y), moves)
        forces = [DIP * force_of(note.velocity, 0.4) for note in notes]
        self.place[:, 1] -= strikes(times, [note.onset for note in notes], forces)
        self.tips = [self._fingertip(times, finger, played) for finger, played in enumerate(fingers)]
        self.voice = voice

    def leave(self, weight: np.ndarray) -> None:
        """Takes the hand to the page, or from the keys, so far (0 to 1, ``[n]``)."""
        goal = (0.62, 0.22) if self.voice == 0 else (0.20, 1.02)
        shift = weight[:, None] * (goal - self.place)
        self.place = self.place + shift
        self.tips = [tip + shift for tip in self.tips]

    def _fingertip(self, times: np.ndarray, finger: int, notes: list[Note]) -> np.ndarray:
        """A finger hovers in front of the keys with its hand, strikes its key at the onset, and comes back slowly."""
        idle = self.place + ((finger - 2) * 0.95 * KEY, REACH[finger])
        tip = idle.copy()
        for k, note in enumerate(notes):
            before = notes[k - 1].offset if k else -9.0
            after = notes[k + 1].onset if k + 1 < len(notes) else 1e9
            back = min(0.30, max(0.03, (after - note.offset) * 0.45))
            begins, ends = max(note.onset - 0.42, (before + note.onset) / 2), note.onset - 0.07
            near = 0.3 if is_white(note.pitch) else 0.8
            if ends - begins < 0.03:  # it has just played: no time to come closer slowly
                begins, near = ends - 0.03, 0.0
            reach = path(times, (0.0,), [
                (begins, ends, (near,)),
                (note.onset - 0.015, note.onset + 0.025, (1.0,)),
                (note.offset, note.offset + back, (0.0,)),
            ])  # fmt: skip
            goal = np.array([key_centre(note.pitch), WHITE_PRESS if is_white(note.pitch) else BLACK_PRESS])
            tip += reach * (goal - idle)
        return tip
