"""A drum kit from above and in front: five pieces, two sticks, and the pedal of the bass drum.

Sticks swing up and travel on smooth paths between hits, fall in the last tenth of a second, and touch at the onset.
What is hit lights up and shakes, more for louder hits, and calms as it sounds: a closed hi-hat at once, a crash slowly.
"""

from __future__ import annotations

import numpy as np

from data_prep.recital.film.canvas import Canvas, mix
from data_prep.recital.film.motion import Move, ease, path, ring
from data_prep.recital.film.scene import SKINS, floor_colour, varied
from data_prep.recital.score import CRASH, HAT, KICK, SNARE, TOM, Note, Score

CENTRES = {KICK: (0.70, 0.66), SNARE: (0.30, 0.66), HAT: (0.18, 0.33), TOM: (0.52, 0.34), CRASH: (0.80, 0.24)}
RADII = {KICK: (0.185, 0.185), SNARE: (0.165, 0.115), HAT: (0.135, 0.075), TOM: (0.135, 0.095), CRASH: (0.165, 0.085)}
"""Centre and half axes of each piece, scene coordinates."""
DECAYS = {KICK: 0.10, SNARE: 0.09, HAT: 0.06, TOM: 0.14, CRASH: 0.32}
"""Seconds in which the light and the shaking fade by 1/e."""

SHELLS = {0: (176, 34, 40), 16: (40, 84, 168), 32: (176, 128, 72)}
"""Shells by kit: red standard, blue power, wooden jazz."""
HANDS = ((0.26, 0.97), (0.54, 0.99))
"""Where the two hands rest."""
LIFT = 0.16
"""How high a stick is raised, at most."""


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
        self.shell = varied(rng, SHELLS[score.program])
        self.floor = floor_colour(rng)
        self.rug = varied(rng, (96, 70, 62), 30)
        self.skin = SKINS[rng.integers(len(SKINS))]
        self.head = varied(rng, (206, 202, 192), 8)
        self.brass = varied(rng, (150, 116, 44), 10)
        self.times = times
        self.light = {piece: self._light(score, times, piece) for piece in CENTRES}
        self.shake = {piece: self._shake(score, times, piece) for piece in CENTRES}
        hands = _hands_of(score)
        self.tips = [self._stick(times, hits, side) for side, hits in enumerate(hands)]
        self.pedal = self._pedal(times, [note for note in score.notes if note.pitch == KICK])

    @staticmethod
    def _light(score: Score, times: np.ndarray, piece: int) -> np.ndarray:
        light = np.zeros(len(times))
        for note in score.notes:
            if note.pitch == piece:
                force = 0.5 + 0.5 * (note.velocity - 40) / 80
                light = np.maximum(light, force * ring(times, note.onset, DECAYS[piece]))
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
    def _stick(times: np.ndarray, hits: list[Note], side: int) -> np.ndarray:
        """The stick's tip, ``[n, 2]``: over the kit from hit to hit, raised between, down at each onset."""
        rest = np.array(HANDS[side]) + (0.03 if side == 0 else -0.03, -0.24)
        moves: list[Move] = []
        free = -1.0
        lift = np.ones(len(times)) * 0.6
        for k, hit in enumerate(hits):
            target = _target(hit.pitch, side)
            begins = max(free, hit.onset - 0.45)
            moves.append((begins, max(hit.onset - 0.015, begins + 0.02), target))
            free = hit.onset + 0.03
            after = hits[k + 1].onset if k + 1 < len(hits) else 1e9
            before = hits[k - 1].onset if k else -1e9
            height = 0.55 + 0.45 * (hit.velocity - 40) / 80
            fall = min(0.10, (hit.onset - before) / 2)
            rise = min(0.12, (after - hit.onset) / 2)
            # Falling it gathers speed (a square), after the hit it rebounds smoothly.
            coming = (times >= hit.onset - fall) & (times < hit.onset)
            lift = np.where(coming, height * (1 - (1 - (hit.onset - times) / fall) ** 2), lift)
            going = (times >= hit.onset) & (times < after)
            lift = np.where(going, 0.75 * height * ease((times - hit.onset) / rise), lift)
        tip = path(times, rest, moves)
        tip[:, 1] -= LIFT * lift
        return tip

    @staticmethod
    def _pedal(times: np.ndarray, hits: list[Note]) -> np.ndarray:
        """How far the beater is from the skin, 0 (touching) to 1, at each time."""
        away = np.ones(len(times))
        for hit in hits:
            near = np.abs(times - hit.onset)
            coming = np.clip((hit.onset - times) / 0.09, 0, 1) ** 0.6
            going = ease((times - hit.onset) / 0.14)
            away = np.minimum(away, np.where(near < 0.2, np.where(times < hit.onset, coming, going), 1.0))
        return away

    def background(self, canvas: Canvas) -> None:
        canvas.box(-2, -2, 3, 3, self.floor)
        canvas.ellipse((0.5, 0.58), (0.62, 0.46), self.rug)
        canvas.ellipse((0.5, 0.58), (0.57, 0.41), mix(self.rug, (255, 255, 255), 0.10))
        steel = (120, 122, 128)
        for piece, foot in ((HAT, (0.10, 0.62)), (CRASH, (0.93, 0.56)), (TOM, (0.60, 0.56))):
            canvas.limb(CENTRES[piece], foot, 0.016, steel)
        for piece in CENTRES:
            self._piece(canvas, piece, 0.0, 0.0)

    def _piece(self, canvas: Canvas, piece: int, light: float, shake: float) -> None:
        x, y = CENTRES[piece]
        rx, ry = RADII[piece]
        if piece in (HAT, CRASH):
            tilt = shake * (16 if piece == CRASH else 9)
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
        # A calm skin is dim so that a struck one can light up.
        calm = mix(self.head, (0, 0, 0), 0.42)
        skin = mix(calm, (255, 246, 214), light)
        inner = (0.82 if piece == KICK else 0.92) * (1 + 0.03 * shake)
        canvas.ellipse((x, y), (rx * inner, ry * inner), skin)
        wave = 0.5 * (1 + 0.25 * shake)
        canvas.ellipse((x, y), (rx * wave, ry * wave), mix(skin, self.shell, 0.22))

    def draw(self, canvas: Canvas, frame: int) -> None:
        for piece in CENTRES:
            light, shake = self.light[piece][frame], self.shake[piece][frame]
            if light > 0.01 or abs(shake) > 0.01:
                self._piece(canvas, piece, light, shake)
        self._draw_pedal(canvas, self.pedal[frame])
        for side in (0, 1):
            self._draw_stick(canvas, self.tips[side][frame], side)

    def _draw_pedal(self, canvas: Canvas, away: float) -> None:
        x, y = CENTRES[KICK]
        ball = (x + 0.02 + 0.10 * away, y + 0.07 + 0.13 * away)
        canvas.limb((x + 0.10, y + 0.30), ball, 0.020, (60, 60, 66))
        canvas.disc(ball, 0.048, (50, 44, 44))
        canvas.disc(ball, 0.038, (240, 236, 226))
        canvas.limb((x + 0.10, y + 0.30), (x + 0.16, y + 0.255 + 0.05 * (1 - away)), 0.05, (90, 92, 98))

    def _draw_stick(self, canvas: Canvas, tip: np.ndarray, side: int) -> None:
        rest = np.array(HANDS[side])
        hand = rest + 0.42 * (tip - rest) * (1.0, 0.75)
        elbow = rest + ((-0.16, 0.35) if side == 0 else (0.16, 0.35))
        shade = mix(self.skin, (0, 0, 0), 0.3)
        canvas.limb(hand, elbow, 0.062, shade, 0.10)
        canvas.limb(hand, elbow, 0.050, self.skin, 0.088)
        butt = hand - 0.22 * (tip - hand)
        canvas.limb(butt, tip, 0.026, (84, 58, 34), 0.017)
        canvas.limb(butt, tip, 0.017, (232, 196, 140), 0.010)
        canvas.disc(tip, 0.017, (250, 226, 180))
        canvas.disc(hand, 0.045, shade)
        canvas.disc(hand, 0.037, self.skin)


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
