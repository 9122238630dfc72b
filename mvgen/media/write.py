"""Videos and sounds out: the same input always gives the same bytes."""

from __future__ import annotations

import errno
import os
import struct
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import IO

import av
import av.codec.context
import numpy as np

from mvgen.clock import FRAME_RATE
from mvgen.errors import UserError
from mvgen.files import whole_file

REPRODUCIBLE = "cpu-independent=1"
"""A parameter of x264 without which the same pictures may give other bytes: on processors with AVX-512 its macroblock
tree (x264's core 165, in PyAV 18.1) takes in what happens to lie in memory."""
MP4_OPTIONS = {"movflags": "faststart", "fflags": "+bitexact"}
LAYOUTS = {1: "mono", 2: "stereo"}
BIT_RATES = {1: 160_000, 2: 256_000}
"""Bits a second of AAC, by channels."""
AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
"""Samples a second that AAC knows."""
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.ENAMETOOLONG)
"""What says that the place written to is at fault."""


def write_video(
    path: str | os.PathLike[str],
    frames: np.ndarray | Iterator[np.ndarray],
    sound: np.ndarray | None,
    sample_rate: int,
    scale: int = 1,
    quality: int = 18,
) -> None:
    """Writes picture and sound together: MP4, H.264 yuv420p at 25 frames a second, AAC.

    The sound starts exactly with the picture: the encoder's priming is cut by the container's edit list.

    Args:
        path: ends in .mp4; replaced atomically.
        frames: uint8 ``[T, H, W, 3]`` RGB, T >= 1; or one after another ``[H, W, 3]``, as they are made.
        sound: float32 ``[n]`` or ``[2, n]`` in [-1, 1] (clipped), or None for a silent film.
        sample_rate: of ``sound``: one that AAC knows (:data:`AAC_RATES`).
        scale: each pixel becomes a square of so many.
        quality: x264's constant rate factor; lower is better and larger.

    Raises:
        ValueError: arrays of the wrong shape or dtype. UserError: the folder does not exist, or the file cannot be
            written.
    """
    if isinstance(frames, np.ndarray):
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not len(frames):
            raise ValueError(f"frames must be uint8 [T, H, W, 3], not {frames.dtype} {frames.shape}")
        frames = iter(frames)
    first = next(frames)
    if sound is not None:
        check_channels(sound)
    height, width = first.shape[0] * scale, first.shape[1] * scale
    # yuv420p has one colour for 2 x 2 pixels: an odd side gets its last row or column once more.
    odd = ((0, height % 2), (0, width % 2), (0, 0))
    # An absolute path behind "file:" cannot be taken for a protocol, whatever colons it holds.
    with written(path) as partial, av.open(f"file:{partial.absolute()}", "w", format="mp4", options=MP4_OPTIONS) as out:
        video = add_picture(out, width + odd[1][1], height + odd[0][1], Fraction(FRAME_RATE), quality=quality)
        track = None if sound is None else SoundTrack(out, sound, sample_rate)
        for number, frame in enumerate(chain([first], frames)):
            big = np.pad(frame.repeat(scale, 0).repeat(scale, 1), odd, mode="edge")
            if track is not None:
                track.until(number / FRAME_RATE)
            out.mux(video.encode(picture_of(big, number, Fraction(1, FRAME_RATE))))
        out.mux(video.encode(None))
        if track is not None:
            track.end()


def add_picture(
    out: av.container.OutputContainer,
    width: int,
    height: int,
    rate: Fraction,
    time_base: Fraction | None = None,
    quality: int = 18,
) -> av.VideoStream:
    """A picture stream of a file that is written: H.264 yuv420p, the same bytes for the same pictures.

    Args:
        width, height: even.
        rate: frames a second; the muxer takes the length of the last frame from it.
        time_base: of the stamps; by default one tick a frame.
        quality: x264's constant rate factor.
    """
    video = out.add_stream("libx264", rate=rate)
    video.width, video.height, video.pix_fmt = width, height, "yuv420p"
    video.time_base = video.codec_context.time_base = time_base or 1 / rate
    # A fixed number of threads: x264's result depends on it.
    parameters = f"sliced-threads=0:{REPRODUCIBLE}"
    video.options = {"crf": str(quality), "preset": "veryfast", "threads": "2", "x264-params": parameters}
    context = video.codec_context
    context.flags = int(context.flags) | av.codec.context.Flags.bitexact.value
    # BT.601 throughout, and said so: what readers assume for small pictures, and never wrong for large ones.
    context.colorspace, context.color_range, context.color_primaries, context.color_trc = 6, 1, 6, 6
    return video


def picture_of(frame: np.ndarray, stamp: int, time_base: Fraction) -> av.VideoFrame:
    """uint8 ``[H, W, 3]`` RGB for a stream of :func:`add_picture`, presented at tick ``stamp``."""
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
    picture = picture.reformat(format="yuv420p", dst_colorspace="ITU601", dst_color_range="MPEG", threads=1)
    picture.pts, picture.time_base = stamp, time_base
    return picture


class SoundTrack:
    """The sound of a file that is written, AAC, encoded a second at a time beside the picture so that players need not
    seek. It starts exactly with the picture: the encoder's priming is cut by the container's edit list.

    Args:
        out: the file.
        sound: float32 ``[n]`` or ``[2, n]`` in [-1, 1] (clipped).
        sample_rate: one that AAC knows.
    """

    def __init__(self, out: av.container.OutputContainer, sound: np.ndarray, sample_rate: int):
        self._out, self._sound, self._rate = out, np.atleast_2d(sound), sample_rate
        self._layout = LAYOUTS[len(self._sound)]
        self._audio = out.add_stream("aac", rate=sample_rate, layout=self._layout)
        self._audio.bit_rate = BIT_RATES[len(self._sound)]
        context = self._audio.codec_context
        context.flags = int(context.flags) | av.codec.context.Flags.bitexact.value
        self._second = 0

    def until(self, seconds: float) -> None:
        """Encodes all that begins to sound up to a moment."""
        while self._second <= seconds and self._second * self._rate < self._sound.shape[1]:
            first = self._second * self._rate
            self._second += 1
            block = np.clip(self._sound[:, first : first + self._rate], -1, 1).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format="fltp", layout=self._layout)
            frame.sample_rate, frame.pts, frame.time_base = self._rate, first, Fraction(1, self._rate)
            self._out.mux(self._audio.encode(frame))

    def end(self) -> None:
        """Encodes what is left."""
        self.until(self._sound.shape[1] / self._rate)
        self._out.mux(self._audio.encode(None))


@contextmanager
def written(path: str | os.PathLike[str]) -> Iterator[Path]:
    """:func:`mvgen.files.whole_file`, with what the disk has against it in one line."""
    try:
        with whole_file(path) as partial:
            yield partial
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        raise UserError(f"cannot write {os.fspath(path)}: {os.strerror(error.errno)}") from error


def check_channels(sound: np.ndarray) -> None:
    """Raises ``ValueError`` where a sound is neither ``[n]`` nor ``[1 or 2, n]``."""
    if sound.ndim not in (1, 2) or sound.ndim == 2 and len(sound) not in LAYOUTS:
        raise ValueError(f"sound must be [n] or [2, n], not {sound.shape}")


def write_wav(path: str | os.PathLike[str], sound: np.ndarray, sample_rate: int) -> None:
    """Writes 16-bit WAV, atomically. ``sound``: float32 ``[n]`` or ``[2, n]`` in [-1, 1] (clipped)."""
    check_channels(sound)
    with written(path) as partial, wave.open(str(partial), "wb") as file:
        file.setnchannels(len(np.atleast_2d(sound)))
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(_samples(np.atleast_2d(sound).T))


def _samples(sound: np.ndarray) -> bytes:
    """16 bits each, little-endian."""
    return np.rint(np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes()


class WavStream:
    """16-bit mono WAV of a length that is known beforehand, written piece by piece, so that it can be heard meanwhile.

    As a context it closes the file, or removes it where an error ended the work, and puts back what was there before.
    Unlike elsewhere the file has its name from the beginning.

    Args:
        out: a path, or a binary stream that need not be seekable.
        sample_rate: of the sound.
        samples: how many there will be; the header says so.
    """

    def __init__(self, out: str | os.PathLike[str] | IO[bytes], sample_rate: int, samples: int):
        self.path = Path(out) if isinstance(out, (str, os.PathLike)) else None
        self.left = samples
        self._before: Path | None = None
        try:
            if self.path is not None and self.path.is_file():
                self._before = self.path.with_name(f".{self.path.stem[:100]}.before-{os.getpid()}{self.path.suffix}")
                os.replace(self.path, self._before)
            self._out: IO[bytes] = open(out, "wb") if isinstance(out, (str, os.PathLike)) else out
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror}") from None
        size = 2 * samples
        # RIFF's header: chunks of 16 bytes that say the form (PCM, 1 channel, 16 bits), and of the samples.
        header = struct.pack(
            "<4sI4s4sIHHII", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 1, sample_rate, 2 * sample_rate
        )
        self._out.write(header + struct.pack("<HH4sI", 2, 16, b"data", size))

    def write(self, sound: np.ndarray) -> None:
        """The next piece, float32 ``[n]`` in [-1, 1] (clipped). Raises ``ValueError`` beyond the length."""
        if len(sound) > self.left:
            raise ValueError(f"{len(sound)} samples more, and {self.left} are left")
        self.left -= len(sound)
        self._out.write(_samples(sound))
        self._out.flush()

    def __enter__(self) -> WavStream:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.path is not None:
            self._out.close()
            if kind is not None or self.left:
                self.path.unlink(missing_ok=True)
                if self._before is not None:
                    os.replace(self._before, self.path)
            elif self._before is not None:
                self._before.unlink()
        if kind is None and self.left:
            raise ValueError(f"{self.left} samples are missing")
