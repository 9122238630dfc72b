"""The last touch on a sound before it is written: its rate, its loudness, how much of the original is mixed in."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mvgen import clock
from mvgen.errors import UserError, in_range
from mvgen.media import probe, read_sound
from mvgen.media.loudness import CEILING, brought_to, loudness
from mvgen.media.sound import cut, native_sound, resample
from mvgen.media.write import AAC_RATES

LOUDNESS = -16.0
"""LUFS at which music is written unless told: what players and podcasts ask for."""
QUIETEST, LOUDEST = -40.0, -6.0
"""LUFS that can be asked for."""
CODED_HEADROOM = 1.0
"""dB that are left below the ceiling before a sound is coded (AAC): decoded, its peaks come out higher (0.4 dB were
measured on clicks)."""


@dataclass(frozen=True)
class Mastering:
    """How a sound is written.

    Attributes:
        loudness: integrated loudness in LUFS (ITU-R BS.1770), true peaks below -1 dBTP; None: as loud as it was made.
        rate: samples a second; one that AAC knows.
        mix: how much of the sound is the original's, 0 to 1; both are equally loud before they are mixed.

    Raises:
        UserError: a value that cannot be.
    """

    loudness: float | None = LOUDNESS
    rate: int = clock.STANDARD_SAMPLE_RATE
    mix: float = 0.0

    def __post_init__(self) -> None:
        if self.loudness is not None:
            in_range("loudness", self.loudness, QUIETEST, LOUDEST)
        if self.rate not in AAC_RATES:
            raise UserError(f"rate {self.rate}: players and AAC know {', '.join(map(str, AAC_RATES))} samples a second")
        in_range("mix", self.mix, 0, 1)

    def check(self, video: str) -> None:
        """Raises ``UserError`` where the original sound is wanted, and the video has none."""
        if self.mix > 0 and not probe(video).has_sound:
            raise UserError(f"{video} has no sound of its own to mix in; leave mix at 0")

    def finished(
        self, sound: np.ndarray, sample_rate: int, original: str | None = None, coded: bool = False
    ) -> np.ndarray:
        """A sound as it is to be written.

        Args:
            sound: float32 ``[n]`` or ``[2, n]``.
            sample_rate: its.
            original: a file whose sound is mixed in, as ``mix`` says.
            coded: it will be coded with loss.

        Returns:
            float32 of as many seconds at ``rate``; ``[2, n]`` where either is stereo.

        Raises:
            UserError: the original sound cannot be read.
        """
        made = resample(sound.T, sample_rate, self.rate).T
        if self.mix > 0 and original is not None:
            own = read_both_sides(original, self.rate, made.shape[-1] / self.rate)
            own, made = _equally_loud(own, made, self.rate)
            made = (1 - self.mix) * made + self.mix * own
        if self.loudness is None:
            return np.ascontiguousarray(made, np.float32)
        return brought_to(made, self.rate, self.loudness, CEILING - (CODED_HEADROOM if coded else 0))


def _equally_loud(own: np.ndarray, made: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """The original sound as loud as the other, where both sound, and both with as many channels."""
    levels = loudness(own, rate), loudness(made, rate)
    if all(map(math.isfinite, levels)):
        own = own * 10 ** ((levels[1] - levels[0]) / 20)
    if own.ndim != made.ndim:
        own, made = (np.stack([each, each]) if each.ndim == 1 else each for each in (own, made))
    return own, made


def read_both_sides(path: str, sample_rate: int, seconds: float | None = None) -> np.ndarray:
    """The sound of a file as people hear it: ``[n]`` where it has one channel, else ``[2, n]``.

    Args:
        path: a sound, or a video with sound.
        sample_rate: wanted.
        seconds: exactly so many, silence where it ends; None: all.

    Raises:
        UserError: see :func:`mvgen.media.sound.native_sound`.
    """
    if probe(path).channels < 2:
        return read_sound(path, sample_rate, seconds=seconds)
    sides = []
    for side in (0, 1):
        sound, rate = native_sound(path, side=side)
        sides.append(cut(resample(sound, rate, sample_rate), sample_rate, 0, seconds))
    return sides[0] if np.array_equal(sides[0], sides[1]) else np.stack(sides)
