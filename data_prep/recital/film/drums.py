"""A drum kit from above and in front: five pieces, two sticks, and the pedal of the bass drum.

Sticks spring back from a hit, travel and are raised slowly, fall in the last 80 ms, and touch 12 ms after the onset, so
that they are fastest at it. Snare, hi-hat, tom and crash give way to the blow and come back slowly.
What is hit shakes, more for louder hits, and calms as it sounds: a closed hi-hat at once, a crash slowly. With lamps it
lights up, too.
"""

from __future__ import annotations

import numpy as np

from data_prep.recital.film.canvas import Canvas, mix
from data_prep.recital.film.motion import away, force_of, ring, strikes
from data_prep.recital.film.scene import SKINS, backdrop, varied
from data_prep.recital.film.sticks import CONTACT, Stick, draw_stick
from data_prep.recital.score import CRASH, HAT, KICK, SNARE, TOM, Note, Score

CENTRES = {KICK: (0.70, 0.66), SNARE: (0.30, 0.66), HAT: (0.18, 0.33), TOM: (0.52, 0.34), CRASH: (0.80, 0.24)}
RADII = {KICK: (0.185, 0.185), SNARE: (0.165, 0.115), HAT: (0.135, 0.075), TOM: (0.135, 0.095), CRASH: (0.165, 0.085)}
"""Centre and half axes of each piece, scene coordinates."""
DECAYS = {KICK: 0.10, SNARE: 0.09, HAT: 0.06, TOM: 0.14, CRASH: 0.32}
"""Seconds in which the light and the shaking fade by 1/e."""
GIVE = {SNARE: 0.045, HAT: 0.03, TOM: 0.05, CRASH: 0.02}
"""How far each gives way to the hardest blow, scene units; the bass drum stands fast."""

SHELLS = {0: (176, 34, 40), 16: (40, 84, 168), 32: (176, 128, 72)}
"""Shells by kit: red standard, blue power, wooden jazz."""
HANDS = ((0.26, 0.97), (0.54, 0.99))
"""Where the two hands rest."""


def places(score: Score) -> list[tuple[int, float, float, float, float]]:
    """(pitch, x0, y0, x1, y1) of the five pieces."""
    return [
        (piece, x - RADII[piece][0], y - RADII[piece][1], x + RADII[piece][0], y + RADII[piece][1])
        for piece, (x, y) in CENTRES.items()
    ]


class Drums:
    """The scene of one performance on the kit."""

    def __init__(self, score: Score, times: np.ndarray):
        rng = score.rng("colours")
        self.shell = varied(rng, SHELLS[score.likeness])
        self.backdrop = backdrop(score, rng)
        self.rug = varied(rng, (96, 70, 62), 30)
        self.skin = SKINS[rng.integers(len(SKINS))]
        self.head = varied(rng, (206, 202, 192), 8)
        self.brass = varied(rng, (150, 116, 44), 10)
        self.times = times
        self.light = {piece: self._light(score, times, piece) for piece in CENTRES}
        self.shake = {piece: self._shake(score, times, piece) for piece in CENTRES}
        self.jolt = {piece: self._jolt(score, times, piece) for piece in GIVE}
        hands = _hands_of(score)
        self.sticks = [
            Stick(times, [(hit.onset, _target(hit.pitch, side), force_of(hit.velocity)) for hit in hits], rest, side)
            for side, (hits, rest) in enumerate(zip(hands, HANDS, strict=True))
        ]
        for stick, aside in zip(self.sticks, (-0.14, 0.10), strict=True):
            stick.move(away(times, score.gestures)[:, None] * (aside, 0.10))
        self.pedal = self._pedal(times, [note for note in score.notes if note.pitch == KICK])

    @staticmethod
    def _light(score: Score, times: np.ndarray, piece: int) -> np.ndarray:
        light = np.zeros(len(times))
        for note in score.notes:
            if note.pitch == piece:
                force = force_of(note.velocity)
                light = np.maximum(light, score.lamps * force * ring(times, note.onset, DECAYS[piece]))
        return light

    @staticmethod
    def _shake(score: Score, times: np.ndarray, piece: int) -> np.ndarray:
        shake = np.zeros(len(times))
        for note in score.notes:
            if note.pitch == piece:
                since = np.maximum(times - note.onset, 0)
                force = note.velocity / 127 * (times >= note.onset)
                shake = shake + force * np.exp(-since / DECAYS[piece]) * np.sin(2 * np.pi * 7 * since + 0.8)
        return shake

    @staticmethod
    def _jolt(score: Score, times: np.ndarray, piece: int) -> np.ndarray:
        """How far a piece gives way to the blow, scene units: at once, and slowly back."""
        hits = [note for note in score.notes if note.pitch == piece]
        return strikes(times, [hit.onset for hit in hits], [GIVE[piece] * hit.velocity / 127 for hit in hits], 0.30)

    @staticmethod
    def _pedal(times: np.ndarray, hits: list[Note]) -> np.ndarray:
        """How far the beater is from the skin, 0 (touching) to 1, at each time."""
        away = np.ones(len(times))
        for hit in hits:
            since = times - hit.onset - CONTACT
            coming = np.clip(-since / 0.09, 0, 1) ** 0.6
            going = 1 - np.exp(-np.maximum(since, 0) / 0.06)
            away = np.minimum(away, np.where(since < 0, coming, going))
        return away

    def background(self, canvas: Canvas) -> None:
        self.backdrop(canvas)
        canvas.ellipse((0.5, 0.58), (0.62, 0.46), self.rug)
        canvas.ellipse((0.5, 0.58), (0.57, 0.41), mix(self.rug, (255, 255, 255), 0.10))
        steel = (120, 122, 128)
        for piece, foot in ((HAT, (0.10, 0.62)), (CRASH, (0.93, 0.56)), (TOM, (0.60, 0.56))):
            canvas.limb(CENTRES[piece], foot, 0.016, steel)
        self._piece(canvas, KICK, 0.0, 0.0, 0.0)  # the others give way when struck, so they are drawn in every frame

    def _piece(self, canvas: Canvas, piece: int, light: float, shake: float, jolt: float) -> None:
        x, y = CENTRES[piece]
        rx, ry = RADII[piece]
        y += jolt
        if piece in (HAT, CRASH):
            tilt = shake * (16 if piece == CRASH else 12)
            colour = mix(self.brass, (255, 252, 190), min(1.0, 1.1 * light))
            canvas.ellipse((x, y), (rx, ry), mix(colour, (0, 0, 0), 0.35), tilt)
            canvas.ellipse((x, y), (rx * 0.93, ry * 0.90), colour, tilt)
            canvas.ellipse((x, y), (rx * 0.55, ry * 0.5), mix(colour, (0, 0, 0), 0.10), tilt)
            canvas.ellipse((x, y), (rx * 0.18, ry * 0.2), mix(colour, (255, 255, 255), 0.4), tilt)
            return
        rim = (170, 172, 178)
        if piece == KICK:
            canvas.disc((x, y), rx, self.shell)
            canvas.disc((x, y), rx * 0.88, rim)
        else:
            canvas.ellipse((x, y + 0.05), (rx, ry), self.shell)
            canvas.ellipse((x, y), (rx, ry), rim)
        # A calm skin is dim so that with lamps a struck one can light up.
        calm = mix(self.head, (0, 0, 0), 0.42)
        skin = mix(calm, (255, 246, 214), light)
        inner = (0.82 if piece == KICK else 0.92) * (1 + 0.03 * shake)
        canvas.ellipse((x, y), (rx * inner, ry * inner), skin)
        wave = 0.5 * (1 + 0.25 * shake)
        canvas.ellipse((x, y), (rx * wave, ry * wave), mix(skin, self.shell, 0.22))

    def draw(self, canvas: Canvas, frame: int) -> None:
        for piece in CENTRES:
            light, shake = self.light[piece][frame], self.shake[piece][frame]
            jolt = self.jolt[piece][frame] if piece in GIVE else 0.0
            if piece != KICK or light > 0.01 or abs(shake) > 0.01:
                self._piece(canvas, piece, light, shake, jolt)
        self._draw_pedal(canvas, self.pedal[frame])
        for stick in self.sticks:
            draw_stick(canvas, stick, frame, self.skin)

    def landmarks(self) -> dict[str, np.ndarray]:
        x, y = CENTRES[KICK]
        beater = np.stack([x + 0.02 + 0.10 * self.pedal, y + 0.07 + 0.13 * self.pedal], 1)
        return self.sticks[0].landmarks("left") | self.sticks[1].landmarks("right") | {"beater": beater}

    def _draw_pedal(self, canvas: Canvas, away: float) -> None:
        x, y = CENTRES[KICK]
        ball = (x + 0.02 + 0.10 * away, y + 0.07 + 0.13 * away)
        canvas.limb((x + 0.10, y + 0.30), ball, 0.020, (60, 60, 66))
        canvas.disc(ball, 0.048, (50, 44, 44))
        canvas.disc(ball, 0.038, (240, 236, 226))
        canvas.limb((x + 0.10, y + 0.30), (x + 0.16, y + 0.255 + 0.05 * (1 - away)), 0.05, (90, 92, 98))


def _target(piece: int, side: int) -> np.ndarray:
    """Where on a piece this hand hits: the two hands leave each other room."""
    x, y = CENTRES[piece]
    aside = (-0.035 if side == 0 else 0.035) if piece in (SNARE, TOM) else 0.0
    return np.array([x + aside, y + 0.25 * RADII[piece][1]])


def _hands_of(score: Score) -> tuple[list[Note], list[Note]]:
    """Shares the hits (all but the bass drum's) between the hands: the nearer one, if it has had time to come."""
    hands: tuple[list[Note], list[Note]] = ([], [])
    for note in score.notes:
        if note.pitch == KICK:
            continue
        costs = []
        for side in (0, 1):
            last = hands[side][-1] if hands[side] else None
            came = _target(last.pitch, side) if last else np.array(HANDS[side]) + (0, -0.24)
            distance = float(np.hypot(*(_target(note.pitch, side) - came)))
            spare = note.onset - last.onset if last else 1.0
            costs.append(distance + 0.15 / max(spare, 0.01) + 0.1 * abs(CENTRES[note.pitch][0] - (0.25, 0.6)[side]))
        hands[int(np.argmin(costs))].append(note)
    return hands
