"""Music that is heard while it is made: its sound, piece by piece, from tokens as they come."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator

import numpy as np

from mvgen import clock
from mvgen.errors import UserError
from mvgen.media import WavStream
from mvgen.models.codec import Codec
from mvgen.models.codec_stream import DecodeStream


class MusicStream:
    """The sound of tokens that are being drawn, to be gone through once. It is as loud as the codec makes it: how loud
    all of it will be is not known before its end.

    Args:
        pieces: tokens ``[1, some, codebooks]``, two a frame in all.
        codec: theirs.
        frames: of the video, which say how long the sound will be.

    Attributes:
        sample_rate: of the sound.
        samples: how many there will be.
    """

    def __init__(self, pieces: Iterator[np.ndarray], codec: Codec, frames: int):
        self._pieces, self._codec = pieces, codec
        self.sample_rate, self.samples = codec.sampling_rate, clock.samples_of(frames, codec.sampling_rate)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Float32 ``[some]``, mono. Raises ``UserError`` where it cannot be heard."""
        decoder = DecodeStream(self._codec)
        for tokens in self._pieces:
            yield check_sound(decoder.push(tokens)[0])
        nothing = np.zeros((1, 0, self._codec.codebooks), np.int32)
        yield check_sound(decoder.push(nothing, True)[0])

    def save(self, out: str | os.PathLike[str]) -> None:
        """Writes it as it comes, and says on stderr when the first and the last of it was there.

        Args:
            out: a .wav, which has its name from the beginning; or "-" for stdout.

        Raises:
            UserError: it cannot be written; what was there before is there again.
        """
        began = time.monotonic()
        first: float | None = None
        with WavStream(sys.stdout.buffer if out == "-" else out, self.sample_rate, self.samples) as file:
            for sound in self:
                file.write(sound)
                if first is None and len(sound):
                    first = time.monotonic() - began
                    length = len(sound) / self.sample_rate
                    print(
                        f"first sound ({length:.2f} s of it) after {first:.2f} s, compiling included", file=sys.stderr
                    )
        took, length = time.monotonic() - began, self.samples / self.sample_rate
        print(f"{length:g} s of sound in {took:.2f} s", file=sys.stderr)


def check_sound(sound: np.ndarray) -> np.ndarray:
    """The same sound. Raises ``UserError`` for samples that no file should hold."""
    if not np.isfinite(sound).all():
        raise UserError("the sound made holds samples that are not finite numbers: the codec's weights are damaged")
    return sound
