"""Music that was made for a video, to be heard, written onto the video, and compared with what was there."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from mvgen import clock
from mvgen.files import check_output
from mvgen.inference.comparison import Performance, write_comparison
from mvgen.inference.mastering import LOUDNESS, Mastering, read_both_sides
from mvgen.inference.notebook import player
from mvgen.media import probe, write_wav
from mvgen.media.remux import write_with_sound

ENDINGS = (".mp4", ".wav")


@dataclass(frozen=True)
class Music:
    """Music for a video.

    Attributes:
        video: the file it was made for.
        tokens: two a frame.
        sound: the tokens decoded, mono in about [-1, 1], as loud as the codec makes it.
        sample_rate: of ``sound``, samples a second.
        cut: seconds of the video that it was made for; None: all of it.
        seed: that it was drawn with.
    """

    video: str
    tokens: Int[np.ndarray, "tokens codebooks"] = field(repr=False)
    sound: Float[np.ndarray, " samples"] = field(repr=False)
    sample_rate: int
    cut: float | None
    seed: int

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.tokens) / clock.TOKEN_RATE

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        loudness: float | None = LOUDNESS,
        rate: int = clock.STANDARD_SAMPLE_RATE,
        mix: float = 0.0,
    ) -> None:
        """Writes it: as .mp4 onto the picture of its own video, which is copied as it is (:mod:`mvgen.media.remux`); as
        .wav alone. The file is there when all of it is.

        Args:
            path: ends in .mp4 or .wav.
            loudness, rate, mix: see :class:`mvgen.inference.mastering.Mastering`; mixed with the video's own sound.

        Raises:
            UserError: a setting cannot be, the video has no sound to mix in, or the file cannot be written.
        """
        check_output("path", path, ENDINGS, [self.video])
        mastering = Mastering(loudness, rate, mix)
        mastering.check(self.video)
        alone = Path(path).suffix.lower() == ".wav"
        sound = mastering.finished(self.sound, self.sample_rate, self.video, coded=not alone)
        if alone:
            write_wav(path, sound, rate)
        else:
            write_with_sound(path, self.video, sound, rate, None if self.cut is None else self.seconds)

    def compare(self, path: str | os.PathLike[str]) -> None:
        """Writes the video with its own sound beside the video with this one: pictures, waves, onsets, as MP4.

        Args:
            path: ends in .mp4.

        Raises:
            UserError: the file cannot be written.
        """
        check_output("path", path, (".mp4",), [self.video])
        rate = clock.STANDARD_SAMPLE_RATE
        own = read_both_sides(self.video, rate) if probe(self.video).has_sound else None
        new = Mastering(None, rate).finished(self.sound, self.sample_rate)
        left, right = Performance("Original", self.video, own), Performance("Made by mvgen", self.video, new)
        write_comparison(path, left, right, self.seconds)

    def _repr_html_(self) -> str:
        return player("music.mp4", self.save, f"{self.seconds:g} s of music for {Path(self.video).name}")
