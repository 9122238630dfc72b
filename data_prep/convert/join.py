"""A picture and the sound that belongs to it out of two files, as one file that all else can read."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import ffmpeg
import imageio_ffmpeg
import numpy as np

from mvgen.errors import UserError
from mvgen.media import native_sound, probe
from mvgen.media.container import OPEN_OPTIONS

SECONDS_ALLOWED = 600.0
"""Before ffmpeg is taken to hang: nothing is encoded."""


def join(picture: Path, sound: Path, target: Path) -> None:
    """Writes ``target`` (.mov): the picture's stream as it is, with the sound of the other file, both from t = 0.

    The sound is kept at its own rate, as 24-bit samples. The same files always give the same bytes.

    Raises:
        UserError: a file is missing, has no picture or no sound, or cannot be read.
    """
    for path in (picture, sound):
        if not path.is_file():
            raise UserError(f"{path}: no such file")
    if not probe(picture).has_picture:
        raise UserError(f"{picture} has no picture")
    info = probe(sound)
    if not info.has_sound:
        raise UserError(f"{sound} has no sound")
    raw = target.with_name(f"{target.name}.sound")
    try:
        _join(picture, sound, raw, 1 if info.channels == 1 else 2, target)
    finally:
        raw.unlink(missing_ok=True)


def _join(picture: Path, sound: Path, raw: Path, channels: int, target: Path) -> None:
    # Read as all sound is, so that what ffmpeg would read otherwise (joined recordings, jitter) is whole.
    sides = [native_sound(sound, side=side) for side in ((None,) if channels == 1 else (0, 1))]
    with open(raw, "wb") as file:
        file.write(np.stack([side for side, _ in sides], axis=1).astype("<f4").tobytes())
    output = ffmpeg.output(
        ffmpeg.input("file:" + os.path.abspath(picture), **OPEN_OPTIONS)["V:0"],  # not cover art
        ffmpeg.input("file:" + os.path.abspath(raw), format="f32le", ar=sides[0][1], ac=channels)["a:0"],
        os.path.abspath(target),
        **{
            "c:v": "copy",
            "c:a": "pcm_s24le",
            "map_metadata": -1,
            "fflags": "+bitexact",
            "flags": "+bitexact",
            "loglevel": "error",
        },
    ).global_args("-nostdin", "-hide_banner")
    command = ffmpeg.compile(output, cmd=imageio_ffmpeg.get_ffmpeg_exe(), overwrite_output=True)
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS_ALLOWED, check=False)
    except subprocess.TimeoutExpired:
        raise UserError(f"{picture}: ffmpeg took too long to join it with {sound.name}") from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise UserError(f"{picture} cannot be joined with {sound.name}: {lines[0] if lines else done.returncode}")
