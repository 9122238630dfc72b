"""Two performances side by side in one film: their pictures, below them the waves of their sounds with the onsets, and
a line that moves with the time. The left one's sound is on the left channel, the right one's on the right."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mvgen import clock
from mvgen.media import probe, write_video
from mvgen.media.loudness import brought_to
from mvgen.media.onsets import SAMPLE_RATE as ONSET_RATE
from mvgen.media.onsets import onset_strength, pick_onsets
from mvgen.media.picture import stream_picture
from mvgen.media.sound import resample

RATE = clock.STANDARD_SAMPLE_RATE
SIDE = 480
"""Pixels of a panel's longer side, and of its width."""
WAVE, MARGIN, TITLE = 112, 16, 36
"""Pixels: the height of a wave, what is left free between things, the height of a title."""
LOUDNESS = -19.0
"""LUFS of each side: neither is to win by being louder."""
PAPER, INK, QUIET, ACCENT = (255, 255, 255), (30, 32, 38), (150, 155, 165), (206, 64, 44)


@dataclass(frozen=True)
class Performance:
    """One side.

    Attributes:
        title: what stands above it.
        video: a file; its picture is seen.
        sound: float32 ``[n]`` or ``[2, n]`` at ``RATE``; None where there is none.
    """

    title: str
    video: str
    sound: np.ndarray | None


def onsets_of(sound: np.ndarray, rate: int = RATE) -> np.ndarray:
    """Onset times in seconds of a sound ``[n]`` or ``[2, n]``; see :mod:`mvgen.media.onsets`."""
    mono = sound if sound.ndim == 1 else sound.mean(axis=0)
    return pick_onsets(onset_strength(resample(mono.astype(np.float32), rate, ONSET_RATE)))


def panel_size(video: str) -> tuple[int, int]:
    """(height, width), even, of a film in its panel: whole, its longer side :data:`SIDE` pixels."""
    info = probe(video)
    width, height = info.width * info.aspect, info.height
    factor = SIDE / max(width, height)
    return 2 * max(1, round(height * factor / 2)), 2 * max(1, round(width * factor / 2))


def write_comparison(path: str | os.PathLike[str], left: Performance, right: Performance, seconds: float) -> None:
    """Writes the film of a comparison, MP4 at 25 frames a second with both sounds, each on its own channel.

    Args:
        path: ends in .mp4; replaced atomically.
        left, right: the original, and the other.
        seconds: of both.

    Raises:
        UserError: a picture cannot be read, or the file cannot be written.
    """
    frames = clock.whole_frames(seconds)
    count = clock.samples_of(frames, RATE)
    sounds = [_mono(side.sound, count) for side in (left, right)]
    sizes = [panel_size(side.video) for side in (left, right)]
    ground = _ground([left.title, right.title], sounds, max(height for height, _ in sizes), seconds)
    films = [stream_picture(side.video, size) for side, size in zip((left, right), sizes, strict=True)]
    level = [brought_to(sound, RATE, LOUDNESS) for sound in sounds]
    write_video(path, _frames(ground, films, sizes, frames, seconds), np.stack(level), RATE)


def _mono(sound: np.ndarray | None, count: int) -> np.ndarray:
    if sound is None:
        return np.zeros(count, np.float32)
    mono = (sound if sound.ndim == 1 else sound.mean(axis=0))[:count]
    return np.pad(mono, (0, count - len(mono))).astype(np.float32)


def _frames(
    ground: np.ndarray, films: list[Iterator[np.ndarray]], sizes: list[tuple[int, int]], frames: int, seconds: float
) -> Iterator[np.ndarray]:
    """The ground with both pictures and the line of the time, frame by frame; the last picture stays."""
    canvas = ground.copy()
    tallest = max(height for height, _ in sizes)
    foot = slice(ground.shape[0] - MARGIN - WAVE, ground.shape[0] - MARGIN)
    for number, pictures in zip(range(frames), _for_ever(films), strict=False):
        canvas[foot] = ground[foot]
        for place, (picture, (height, width)) in enumerate(zip(pictures, sizes, strict=True)):
            left = MARGIN + place * (SIDE + MARGIN)
            if picture is not None:
                top, inset = TITLE + (tallest - height) // 2, left + (SIDE - width) // 2
                canvas[top : top + height, inset : inset + width] = picture
            at = left + min(SIDE - 2, round(number / clock.FRAME_RATE / seconds * SIDE))
            canvas[foot, at : at + 2] = INK
        yield canvas


def _for_ever(films: list[Iterator[np.ndarray]]) -> Iterator[list[np.ndarray | None]]:
    last: list[np.ndarray | None] = [None] * len(films)
    for pictures in zip_longest(*films):
        last = [before if picture is None else picture for picture, before in zip(pictures, last, strict=True)]
        yield last
    while True:
        yield last


def _ground(titles: list[str], sounds: list[np.ndarray], tallest: int, seconds: float) -> np.ndarray:
    """What does not move: titles and waves with their onsets, uint8 ``[height, width, 3]``."""
    width = 3 * MARGIN + 2 * SIDE
    page = Image.new("RGB", (width, TITLE + tallest + MARGIN + WAVE + MARGIN), PAPER)
    draw = ImageDraw.Draw(page)
    big, small = ImageFont.load_default(18), ImageFont.load_default(13)
    top = TITLE + tallest + MARGIN
    for place, (title, sound) in enumerate(zip(titles, sounds, strict=True)):
        left = MARGIN + place * (SIDE + MARGIN)
        draw.text((left, 8), title, INK, big)
        told = f"{('left', 'right')[place]} ear"
        onsets = onsets_of(sound) if np.any(sound) else np.zeros(0)
        told += f", {len(onsets)} onsets" if np.any(sound) else ", silent"
        draw.text((left + SIDE - draw.textlength(told, small), 12), told, QUIET, small)
        for onset in onsets:
            at = left + round(onset / seconds * SIDE)
            draw.line((at, top, at, top + WAVE), ACCENT)
        for column, (low, high) in enumerate(_wave(sound)):
            draw.line((left + column, top + WAVE * (0.5 - 0.42 * high), left + column, top + WAVE * (0.5 - 0.42 * low)),
                      QUIET)  # fmt: skip
    return np.array(page)


def _wave(sound: np.ndarray) -> np.ndarray:
    """The lowest and the highest sample of each pixel's stretch, ``[SIDE, 2]``, the loudest at 1."""
    loudest = np.abs(sound).max(initial=0.0) or 1.0
    pieces = np.array_split(sound / loudest, SIDE)
    return np.array([(piece.min(initial=0.0), piece.max(initial=0.0)) for piece in pieces])
