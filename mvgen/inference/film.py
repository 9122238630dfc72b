"""A film that was made to music, to be seen, written with its music, and compared with the performance it came from."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from mvgen import clock
from mvgen.errors import UserError
from mvgen.files import check_output
from mvgen.inference.comparison import Performance, write_comparison
from mvgen.inference.mastering import Mastering
from mvgen.inference.notebook import player
from mvgen.media import probe, write_video
from mvgen.media.midi import is_midi
from mvgen.media.picture import stream_picture
from mvgen.media.remux import write_with_sound

VISIBLE = 6.0
"""Grey levels by which a place must change between frames to be seen to."""
HARDLY = 0.002
"""Share of the picture that changes from frame to frame, below which a film is said to hardly move."""
SMALLEST_SIDE = 256
"""Small pictures are enlarged by a whole factor in written videos, so that players show them well."""


class Film:
    """A film of music. Its picture lies in a temporary file of its own until it is saved, and goes with the object.

    Args:
        frames: one after another, uint8 ``[height, width, 3]``, 25 a second; all are taken here.
        image, audio: the files that it was made from.
        sound: float32 ``[n]`` or ``[2, n]``: the music, as long as the film.
        sample_rate: of ``sound``.
        seed: that it was drawn with.
        scale: each pixel becomes a square of so many.

    Attributes:
        image, audio, sound, sample_rate, seed: as given.
        change: mean share of the picture that changes visibly from one frame to the next, 0 to 1.
    """

    def __init__(
        self, frames: Iterable[np.ndarray], image: str, audio: str, sound: np.ndarray, sample_rate: int, seed: int,
        scale: int = 1,
    ):  # fmt: skip
        self.image, self.audio, self.sound, self.sample_rate, self.seed = image, audio, sound, sample_rate, seed
        self._folder = tempfile.TemporaryDirectory(prefix="mvgen-")
        self._picture = os.path.join(self._folder.name, "picture.mp4")
        self._count, changes = 0, []

        def passing() -> Iterator[np.ndarray]:
            before = None
            for frame in frames:
                grey = frame[::4, ::4].mean(axis=-1)
                if before is not None:
                    changes.append(float((np.abs(grey - before) > VISIBLE).mean()))
                before = grey
                self._count += 1
                yield frame

        try:
            write_video(self._picture, passing(), None, sample_rate, scale=scale)
        except BaseException:  # ctrl-C, too
            self._folder.cleanup()
            raise
        self.change = float(np.mean(changes)) if changes else 0.0

    def __repr__(self) -> str:
        return f"Film(image={self.image!r}, audio={self.audio!r}, seconds={self.seconds:g}, seed={self.seed})"

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self._count / clock.FRAME_RATE

    def frames(self) -> Iterator[np.ndarray]:
        """Its frames as they will be seen, uint8 ``[height, width, 3]``, 25 a second."""
        info = probe(self._picture)
        return stream_picture(self._picture, (info.height, info.width))

    def warn(self) -> None:
        """Says on stderr where hardly anything moves."""
        if self._count > 1 and self.change < HARDLY:
            print(
                f"warning: the film hardly moves ({self.change:.2%} of it changes from frame to frame); try "
                "an image like those of the training, hands in sight, music of the same instrument, or --follow 2",
                file=sys.stderr,
            )

    def save(
        self, path: str | os.PathLike[str], *, loudness: float | None = None, rate: int = clock.STANDARD_SAMPLE_RATE
    ) -> None:
        """Writes it with its music, as MP4. The file is there when all of it is.

        Args:
            path: ends in .mp4.
            loudness, rate: see :class:`mvgen.inference.mastering.Mastering`; by default the music stays as loud as it
                was given.

        Raises:
            UserError: a setting cannot be, or the file cannot be written.
        """
        check_output("path", path, (".mp4",), [self.image, self.audio])
        sound = Mastering(loudness, rate).finished(self.sound, self.sample_rate, coded=True)
        write_with_sound(path, self._picture, sound, rate)

    def compare(self, path: str | os.PathLike[str]) -> None:
        """Writes the performance that the music was taken from beside this one: pictures, waves, onsets, as MP4.

        Args:
            path: ends in .mp4.

        Raises:
            UserError: the music came without a picture, or the file cannot be written.
        """
        check_output("path", path, (".mp4",), [self.image, self.audio])
        check_original(self.audio)
        sound = Mastering(None, clock.STANDARD_SAMPLE_RATE).finished(self.sound, self.sample_rate)
        left, right = Performance("Original", self.audio, sound), Performance("Made by mvgen", self._picture, sound)
        write_comparison(path, left, right, self.seconds)

    def _repr_html_(self) -> str:
        return player("film.mp4", self.save, f"{self.seconds:g} s of film to {Path(self.audio).name}")


def check_original(audio: str) -> None:
    """Raises ``UserError`` where music is not that of a video, so that there is nothing to compare a film with."""
    if is_midi(audio) or not probe(audio).has_picture:
        raise UserError(f"{audio} has no picture to compare the film with; give a video with sound")


def enlargement(frames: np.ndarray) -> int:
    """Whole factor by which small pictures ``[T, H, W, 3]`` are enlarged when written."""
    return max(1, SMALLEST_SIDE // min(frames.shape[1:3]))
