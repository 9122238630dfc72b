"""Performances of Recital to try the studio with, made by program when it starts."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mvgen.media import probe, read_picture, read_sound, write_wav

INSTRUMENTS = ("keyboard", "strings", "drums")
SECONDS, SEED = 6, 7
RATE = 44_100


@dataclass(frozen=True)
class Example:
    """One performance: the video with its sound, its first frame, and its sound alone."""

    video: Path
    image: Path
    sound: Path


def make_examples(folder: Path) -> list[Example]:
    """One performance of each instrument in a folder; those that are there already are taken.

    None, with a line that says why, where Recital cannot be made here: it needs the extra ``prep``.
    """
    videos = sorted(folder.glob("*.mp4"))
    if not videos:
        print("making examples (--no-examples leaves them out)", file=sys.stderr)
        # By its command: nothing of mvgen imports data_prep.
        command = ["recital", "--out", str(folder), "--clips", str(len(INSTRUMENTS)), "--seed", str(SEED),
                   "--instruments", ",".join(INSTRUMENTS), "--seconds", str(SECONDS)]  # fmt: skip
        made = subprocess.run([sys.executable, "-m", "data_prep", *command], capture_output=True, text=True)
        if made.returncode:
            why = (made.stderr.strip().splitlines() or ["it failed"])[-1]
            print(f"no examples: {why.removeprefix('error: ')}", file=sys.stderr)
            return []
        videos = sorted(folder.glob("*.mp4"))
    return [_parts(video) for video in videos]


def _parts(video: Path) -> Example:
    image, sound = video.with_suffix(".png"), video.with_suffix(".wav")
    if not image.is_file():
        info = probe(video)
        frame = read_picture(video, (info.height, info.width), frames=1)[0]
        Image.fromarray(np.ascontiguousarray(frame)).save(image)
    if not sound.is_file():
        write_wav(sound, read_sound(video, RATE), RATE)
    return Example(video, image, sound)
