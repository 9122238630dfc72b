"""What a model makes of one held-out window, beside the original, in forms that TensorBoard shows.

TensorBoard plays no film with sound, so a film is a sheet of frames and the sound is apart.
"""

from __future__ import annotations

import io
import wave
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from tensorboardX.proto.summary_pb2 import Summary

from mvgen.data.records import RecordSpec
from mvgen.media.mel import mel_bands, spectra
from mvgen.models.mvgen import MVGen

BANDS, FFT = 80, 1024
RANGE = 60.0
"""dB below the loudest of the original that are still seen."""
WIDTH = 480
"""Least pixels of a spectrogram, as far as whole factors go."""
SHOWN = 12
"""Frames of a sheet."""
GAP = 4


class Sample(NamedTuple):
    """One window, made and original.

    Attributes:
        music, own_music: the sound made for the picture, and the original's as the codec gives it back.
        sample_rate: of both.
        film, own_film: the frames made for the original's sound, and the original's; ``None`` where none are made.
    """

    music: Float[np.ndarray, " samples"]
    own_music: Float[np.ndarray, " samples"]
    sample_rate: int
    film: UInt8[np.ndarray, "frames height width 3"] | None = None
    own_film: UInt8[np.ndarray, "frames height width 3"] | None = None

    def sounds(self) -> dict[str, Summary.Audio]:
        """Both sounds, 16 bit."""
        return {name: _coded(sound, self.sample_rate) for name, sound in
                (("made", self.music), ("original", self.own_music))}  # fmt: skip

    def pictures(self) -> dict[str, UInt8[np.ndarray, "height width 3"]]:
        """Spectrograms in mel bands, and frames from first to last: in both the original is below."""
        found = {"spectrogram": self._spectrograms()}
        if self.film is not None and self.own_film is not None:
            chosen = np.linspace(0, len(self.film) - 1, min(SHOWN, len(self.film))).round().astype(int)
            rows = [np.concatenate(list(frames[chosen]), axis=1) for frames in (self.film, self.own_film)]
            found["film"] = np.concatenate([rows[0], _gap(rows[0]), rows[1]])
        return found

    def _spectrograms(self) -> UInt8[np.ndarray, "height width 3"]:
        made, own = (_mel_db(sound, self.sample_rate) for sound in (self.music, self.own_music))
        loudest = own.max()
        shades = [np.clip(255 * (1 + (db - loudest) / RANGE), 0, 255).astype(np.uint8)[::-1] for db in (made, own)]
        wide = max(1, WIDTH // own.shape[1])
        above, below = (np.repeat(shade[:, :, None], 3, 2).repeat(2, axis=0).repeat(wide, axis=1) for shade in shades)
        return np.concatenate([above, _gap(above), below])


Sampler = Callable[[MVGen, RecordSpec, dict[str, np.ndarray], bool], Sample]
"""What plays a held-out window and, where the last argument says so, films it
(:func:`mvgen.inference.samples.play_and_film`)."""


def _gap(picture: np.ndarray) -> np.ndarray:
    return np.full((GAP, picture.shape[1], 3), 255, np.uint8)


def _mel_db(sound: np.ndarray, sample_rate: int) -> Float[np.ndarray, "bands columns"]:
    """Power of each mel band in dB, a column every 10 ms."""
    power = np.concatenate([np.abs(block) ** 2 for block in spectra(sound, FFT, sample_rate // 100)])
    return 10 * np.log10(mel_bands(sample_rate, FFT, BANDS, 40.0, sample_rate / 2) @ power.T + 1e-8)


def _coded(sound: np.ndarray, sample_rate: int) -> Summary.Audio:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, sample_rate, 0, "NONE", ""))
        out.writeframes(np.rint(np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())
    return Summary.Audio(
        sample_rate=sample_rate, num_channels=1, length_frames=len(sound), encoded_audio_string=file.getvalue(),
        content_type="audio/wav",
    )  # fmt: skip
