"""Sticks and mallets: they travel and are raised slowly between hits, fall in the last 80 ms, and spring back.

They touch 12 ms after the onset, so that the blow is fastest at the onset.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data_prep.recital.film.canvas import Canvas, Colour, mix
from data_prep.recital.film.motion import Move, ease, path

CONTACT = 0.012
"""Seconds after the onset at which a stick or a pedal's beater is at its lowest."""
REBOUND = 0.035
"""Seconds in which a stick's speed falls by 1/e after a hit."""
FALL = 0.08
"""Seconds in which a stick falls, at most."""
LIFT = 0.18
"""How high a stick is raised, at most."""

Hit = tuple[float, np.ndarray, float]
"""Onset (s), where it hits (scene coordinates, ``[2]``), and how hard, 0.5 to 1."""


class Stick:
    """One hand and its stick.

    Attributes:
        tips, hands: where the tip and the hand that holds it are, scene coordinates, ``[n, 2]``.
        rest: where the hand rests.
        side: 0 for the hand on the left of the picture, 1 for that on its right.
    """

    def __init__(
        self,
        times: np.ndarray,
        hits: Sequence[Hit],
        rest: tuple[float, float],
        side: int,
        lift: float = LIFT,
        height: float = 0.24,
    ):
        """Works out where it is at each time (seconds, ``[n]``).

        Args:
            times: seconds, ``[n]``.
            hits: in order of time.
            rest: where the hand rests.
            side: 0 or 1.
            lift: how high it is raised, at most.
            height: how far above the resting hand the tip waits.
        """
        self.rest, self.side = np.array(rest), side
        waits = self.rest + (0.03 if side == 0 else -0.03, -height)
        moves: list[Move] = []
        raised_by = np.ones(len(times)) * 0.6
        for k, (onset, target, force) in enumerate(hits):
            before = hits[k - 1][0] + CONTACT if k else onset - 1.0
            touch = onset + CONTACT
            fall = min(FALL, (touch - before) / 2)
            begins = max(before + 0.03, touch - 0.60)
            moves.append((begins, max(touch - FALL, begins + 0.02), target))
            # From one hit the stick springs back at once and slows down, is raised for the next, and falls faster and
            # faster (a square).
            sprung = 0.4 * hits[k - 1][2] if k else 0.6
            raised = ease((times - before - 0.03) / max(touch - fall - before - 0.03, 0.02))
            back = 1 - np.exp(-np.maximum(times - before, 0) / REBOUND) if k else 1.0
            coming = (times >= before) & (times < touch)
            raised_by = np.where(coming, sprung * back + (force - sprung) * raised, raised_by)
            falling = (times >= touch - fall) & (times < touch)
            raised_by = np.where(falling, force * (1 - (1 - (touch - times) / fall) ** 2), raised_by)
        if hits:
            since = np.maximum(times - hits[-1][0] - CONTACT, 0)
            raised_by = np.where(since > 0, 0.4 * hits[-1][2] * (1 - np.exp(-since / REBOUND)), raised_by)
        self.tips = path(times, waits, moves)
        self.tips[:, 1] -= lift * raised_by
        self.hands = self.rest + 0.42 * (self.tips - self.rest) * (1.0, 0.75)

    def move(self, shift: np.ndarray) -> None:
        """Takes hand and stick elsewhere, by ``[n, 2]``."""
        self.tips, self.hands = self.tips + shift, self.hands + shift

    def landmarks(self, side: str) -> dict[str, np.ndarray]:
        """``SIDE_hand`` and ``SIDE_stick``, each ``[n, 2]``."""
        return {f"{side}_hand": self.hands, f"{side}_stick": self.tips}


def draw_stick(
    canvas: Canvas, stick: Stick, frame: int, skin: Colour, head: tuple[float, Colour] = (0.017, (250, 226, 180))
) -> None:
    """The arm, the hand and the stick; ``head`` is the radius and the colour of the stick's head."""
    hand, tip = stick.hands[frame], stick.tips[frame]
    elbow = stick.rest + ((-0.16, 0.35) if stick.side == 0 else (0.16, 0.35))
    shade = mix(skin, (0, 0, 0), 0.3)
    canvas.limb(hand, elbow, 0.062, shade, 0.10)
    canvas.limb(hand, elbow, 0.050, skin, 0.088)
    butt = hand - 0.22 * (tip - hand)
    canvas.limb(butt, tip, 0.026, (84, 58, 34), 0.017)
    canvas.limb(butt, tip, 0.017, (232, 196, 140), 0.010)
    canvas.disc(tip, *head)
    canvas.disc(hand, 0.045, shade)
    canvas.disc(hand, 0.037, skin)
