"""What the tokens of a record sound like, when it sets in, and how that lies to the motion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import soxr

from data_prep.inspect.records import Sample
from mvgen.clock import CODEC_SAMPLE_RATE
from mvgen.errors import UserError
from mvgen.media import lag, onsets


@dataclass(frozen=True)
class Heard:
    """Attributes: ``sound`` float32 at 32 kHz; ``onsets`` in seconds; ``lag`` of the sound behind the motion in ms and
    the correlation there, NaN where nothing moves or sounds, or it was not measured."""

    sound: np.ndarray | None = None
    onsets: np.ndarray = field(default_factory=lambda: np.zeros(0))
    lag: float = float("nan")
    correlation: float = float("nan")

    def told(self) -> str:
        """One line about how sound and motion lie to each other."""
        if np.isnan(self.lag):
            return "Alignment: not measured."
        where = "together with" if self.lag == 0 else f"{abs(self.lag):.0f} ms {'after' if self.lag > 0 else 'before'}"
        return f"Sound sets in {where} the motion (correlation {self.correlation:.2f})."


def listener(codec: str) -> tuple[Callable[[Sample], Heard], str]:
    """What listens to samples, and why it cannot hear (all) of them; empty where it can.

    Args:
        codec: that made the tokens.
    """
    try:
        from data_prep.extract.tokens import TokenExtractor

        extractor = TokenExtractor(codec)
        size = extractor.codebook_size
    except (UserError, ImportError) as error:
        return lambda sample: Heard(), f"The sound is not shown: {error}"

    def listen(sample: Sample) -> Heard:
        tokens = sample.tokens
        if tokens.min() < 0 or tokens.max() >= size or tokens.shape[1] != extractor.codebooks:
            return Heard()
        sound = extractor.decode(tokens)
        if not np.abs(sound).max() > 1e-4:
            return Heard(sound)
        strength = onsets.onset_strength(soxr.resample(sound, CODEC_SAMPLE_RATE, onsets.SAMPLE_RATE))
        times = onsets.pick_onsets(strength)
        if len(sample.motion) < 3:
            return Heard(sound, times)
        # Half a second either way: further off, a repeated rhythm fits just as well.
        found = lag.lag(sample.motion, lag.strength_at_frames(strength, len(sample.motion)), largest=12)
        return Heard(sound, times, found["ms"], found["value"])

    return listen, ""
