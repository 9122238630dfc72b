"""A video in one standard form: MP4, H.264 yuv420p at constant 25 frames a second, AAC at 44.1 kHz.

A product for people and for evaluation. Records are not made from it: their frames and tokens come straight from the
source, decoded and resampled once, and a lossy copy in between would only blur both. It is made from what
:mod:`mvgen.media` reads, so that a source that ffmpeg would read otherwise comes out the same here as in the records.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from fractions import Fraction
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile

import ffmpeg
import imageio_ffmpeg
import numpy as np

from data_prep.extract.cache import DISK_ERRORS
from mvgen.clock import FRAME_RATE, STANDARD_SAMPLE_RATE, frame_start, samples_of
from mvgen.errors import UserError
from mvgen.media import MediaInfo, native_sound, probe
from mvgen.media.picture import stream_picture
from mvgen.media.sound import cut, resample

SECONDS_ALLOWED = 60.0
"""After the last frame, before ffmpeg is taken to hang."""
_running: set[subprocess.Popen[bytes]] = set()


def standardise(
    source: str | os.PathLike[str], target: Path, frames: int, quality: int = 20, height: int = 360
) -> None:
    """Writes the standard form of the first ``frames`` frames of a video, on the same clock as records.

    Frame i shows what is on display at the middle of its 1/25 s (:func:`mvgen.clock.source_frames`); t = 0 is where the
    picture starts; sound missing there is silence; both streams end together. A mix of many channels that is louder
    than full scale is turned down as a whole.

    Args:
        target: a file ending in .mp4, written in place (the caller moves it).
        frames: whole frames that the source's picture and sound cover.
        quality: x264's constant rate factor.
        height: of the copy at most, in pixels; smaller pictures keep their size.

    Raises:
        UserError: picture or sound is missing, the source cannot be read, or ffmpeg fails. OSError: the disk is full.
    """
    info = probe(source)
    if not info.has_picture or not info.has_sound:
        raise UserError(f"{os.fspath(source)} has no {'sound' if info.has_picture else 'picture'}")
    raw = target.with_name(f"{target.name}.sound")
    try:
        channels = _write_sound(source, raw, 1 if info.channels == 1 else 2, frames)
        text, status = _encoded(source, _size(info, height), frames, raw, channels, target, quality)
    finally:
        raw.unlink(missing_ok=True)
    if status:
        for number in DISK_ERRORS:
            if os.strerror(number) in text:
                raise OSError(number, os.strerror(number), os.fspath(target))
        reason = (text.splitlines() or [f"it ends with status {status}"])[0]
        raise UserError(f"{os.fspath(source)}: ffmpeg cannot standardise it: {reason}")


def _size(info: MediaInfo, height: int) -> tuple[int, int]:
    """(height, width) of the copy: even, with square pixels, the picture upright."""
    shrunk = min(Fraction(1), Fraction(height, info.height))
    wide = info.width * (Fraction(info.aspect) if info.width else 1)
    return max(2, int(info.height * shrunk / 2) * 2), max(2, int(wide * shrunk / 2) * 2)


def _write_sound(source: str | os.PathLike[str], raw: Path, channels: int, frames: int) -> int:
    """Writes the sound of so many frames as bare float32 samples at the standard rate; returns its channels."""
    sides = []
    for side in (None,) if channels == 1 else (0, 1):
        sound, rate = native_sound(source, side=side)
        seconds = frame_start(frames)
        piece = cut(resample(sound, rate, STANDARD_SAMPLE_RATE), STANDARD_SAMPLE_RATE, 0, seconds)
        sides.append(piece[: samples_of(frames, STANDARD_SAMPLE_RATE)])
    both = np.stack(sides, axis=1)
    both /= max(1.0, float(np.abs(both).max(initial=0.0)))
    with open(raw, "wb") as file:
        file.write(both.astype("<f4").tobytes())
    return channels


def _encoded(
    source: str | os.PathLike[str], size: tuple[int, int], frames: int, raw: Path, channels: int, target: Path,
    quality: int,
) -> tuple[str, int]:  # fmt: skip
    """Runs ffmpeg over the pictures and the sound; what it says, and its status."""
    command = _command(size, raw, channels, target, quality)
    pictures = stream_picture(source, size)
    with TemporaryFile() as told:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=told) as process:
            _running.add(process)
            assert process.stdin is not None
            try:
                for picture in islice(pictures, frames):
                    process.stdin.write(picture.data)
            except BrokenPipeError:
                pass  # it has ended, and says why
            except BaseException:
                process.kill()
                raise
            finally:
                with suppress(BrokenPipeError):
                    process.stdin.close()
            try:
                process.wait(SECONDS_ALLOWED)
            except subprocess.TimeoutExpired:
                process.kill()
                raise UserError(f"{os.fspath(source)}: ffmpeg took too long to standardise it") from None
            finally:
                _running.discard(process)
        told.seek(0)
        return told.read().decode(errors="replace").strip(), process.returncode


def _command(size: tuple[int, int], raw: Path, channels: int, target: Path, quality: int) -> list[str]:
    height, width = size
    picture = ffmpeg.input(
        "pipe:0", format="rawvideo", pix_fmt="rgb24", video_size=(width, height), framerate=FRAME_RATE
    ).filter("scale", out_color_matrix="bt601", out_range="tv", flags="area")
    sound = ffmpeg.input(f"file:{os.path.abspath(raw)}", format="f32le", ar=STANDARD_SAMPLE_RATE, ac=channels)
    output = ffmpeg.output(
        picture,
        sound,
        f"file:{os.path.abspath(target)}",
        **{
            "format": "mp4",
            "c:v": "libx264",
            # Half the work of superfast for twice the bytes; and no macroblock tree (mvgen.media.write.REPRODUCIBLE).
            "preset": "ultrafast",
            "crf": quality,
            "pix_fmt": "yuv420p",
            "colorspace": "smpte170m",
            "color_primaries": "smpte170m",
            "color_trc": "smpte170m",
            "threads": 1,  # clips are converted side by side, and x264's result depends on the number of threads
            "c:a": "aac",
            "aac_coder": "fast",  # at this rate no worse to hear than the default, in half the time
            "b:a": "192k",
            "map_metadata": -1,
            "fflags": "+bitexact",
            "flags": "+bitexact",
            "movflags": "+faststart",
            "loglevel": "error",
        },
    ).global_args("-nostdin", "-hide_banner")
    return ffmpeg.compile(output, cmd=imageio_ffmpeg.get_ffmpeg_exe(), overwrite_output=True)


def stop_ffmpeg() -> None:
    """Ends every ffmpeg that this process waits for: it would go on writing when this process has gone."""
    for process in list(_running):
        process.kill()
