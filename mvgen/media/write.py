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
        sound: float32 ``[n]`` in [-1, 1] (clipped), or None for a silent film.
        sample_rate: of ``sound``: one that AAC knows (8000 to 96000).
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
    if sound is not None and sound.ndim != 1:
        raise ValueError(f"sound must be [n], not {sound.shape}")
    height, width = first.shape[0] * scale, first.shape[1] * scale
    # yuv420p has one colour for 2 x 2 pixels: an odd side gets its last row or column once more.
    odd = ((0, height % 2), (0, width % 2), (0, 0))
    options = {"movflags": "faststart", "fflags": "+bitexact"}
    # An absolute path behind "file:" cannot be taken for a protocol, whatever colons it holds.
    with _written(path) as partial, av.open(f"file:{partial.absolute()}", "w", format="mp4", options=options) as out:
        video = out.add_stream("libx264", rate=FRAME_RATE)
        video.width, video.height, video.pix_fmt = width + odd[1][1], height + odd[0][1], "yuv420p"
        video.time_base = Fraction(1, FRAME_RATE)
        # A fixed number of threads: x264's result depends on it.
        parameters = f"sliced-threads=0:{REPRODUCIBLE}"
        video.options = {"crf": str(quality), "preset": "veryfast", "threads": "2", "x264-params": parameters}
        context = video.codec_context
        context.flags = int(context.flags) | av.codec.context.Flags.bitexact.value
        # BT.601 throughout, and said so: what readers assume for small pictures, and never wrong for large ones.
        context.colorspace, context.color_range, context.color_primaries, context.color_trc = 6, 1, 6, 6
        audio = None
        if sound is not None:
            audio = out.add_stream("aac", rate=sample_rate, layout="mono")
            audio.bit_rate = 160_000
            audio.codec_context.flags = int(audio.codec_context.flags) | av.codec.context.Flags.bitexact.value
        number = 0
        for number, frame in enumerate(chain([first], frames)):
            big = np.pad(frame.repeat(scale, 0).repeat(scale, 1), odd, mode="edge")
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(big), format="rgb24")
            picture = picture.reformat(format="yuv420p", dst_colorspace="ITU601", dst_color_range="MPEG", threads=1)
            picture.pts, picture.time_base = number, Fraction(1, FRAME_RATE)
            out.mux(video.encode(picture))
            if audio is not None and sound is not None:
                # Interleaved with the picture, a second at a time, so that players need not seek.
                if number % FRAME_RATE == 0:
                    _encode_sound(out, audio, sound, sample_rate, number // FRAME_RATE)
        out.mux(video.encode(None))
        if audio is not None and sound is not None:
            for second in range(-(-(number + 1) // FRAME_RATE), -(-len(sound) // sample_rate)):
                _encode_sound(out, audio, sound, sample_rate, second)
            out.mux(audio.encode(None))


@contextmanager
def _written(path: str | os.PathLike[str]) -> Iterator[Path]:
    """:func:`mvgen.files.whole_file`, with what the disk has against it in one line."""
    try:
        with whole_file(path) as partial:
            yield partial
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        raise UserError(f"cannot write {os.fspath(path)}: {os.strerror(error.errno)}") from error


def _encode_sound(
    out: av.container.OutputContainer, audio: av.AudioStream, sound: np.ndarray, sample_rate: int, second: int
) -> None:
    first = second * sample_rate
    block = np.clip(sound[first : first + sample_rate], -1, 1).astype(np.float32)
    if not len(block):
        return
    frame = av.AudioFrame.from_ndarray(block[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = sample_rate, first, Fraction(1, sample_rate)
    out.mux(audio.encode(frame))


def write_wav(path: str | os.PathLike[str], sound: np.ndarray, sample_rate: int) -> None:
    """Writes 16-bit mono WAV, atomically. ``sound``: float32 ``[n]`` in [-1, 1] (clipped)."""
    if sound.ndim != 1:
        raise ValueError(f"sound must be [n], not {sound.shape}")
    with _written(path) as partial, wave.open(str(partial), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(_samples(sound))


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
