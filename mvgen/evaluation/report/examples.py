"""Clips to watch: the original and what was generated for it, side by side, and the notes asked for and heard."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from urllib.parse import quote

import numpy as np

from mvgen.evaluation.metrics.clips import Clip, Heard
from mvgen.evaluation.metrics.notes import transcribe
from mvgen.evaluation.metrics.scores import pitch_readers
from mvgen.media import read_sound
from mvgen.media.onsets import SAMPLE_RATE


@dataclass(frozen=True)
class Film:
    """One video to play, and what it is."""

    caption: str
    path: Path


@dataclass(frozen=True)
class Example:
    """One clip: its films side by side, and if its notes are known, what was asked for and what is heard.

    Attributes:
        name: of the clip.
        instrument: what plays.
        films: the original first.
        known: onset s, offset s, MIDI pitch, ``[N, 3]``; ``None`` if unknown.
        heard: notes heard in the generated music, ``[M, 3]``; pitch NaN where only the onset was read.
        seconds: length of the clip.
    """

    name: str
    instrument: str
    films: Sequence[Film]
    known: np.ndarray | None = None
    heard: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    seconds: float = 0.0


def choose_examples(
    clips: Mapping[str, Clip],
    folders: Mapping[str, Path],
    music: str | None = None,
    per_instrument: int = 2,
) -> list[Example]:
    """The first clips of each instrument by name, not the best ones.

    Args:
        clips: what is known of each clip, by name (:func:`mvgen.evaluation.folders.read_manifest`).
        folders: caption and folder of each film to show, the original first; files are named ``NAME.mp4``.
        music: the caption of the folder whose sound is transcribed beside the known notes.
        per_instrument: how many clips of each.

    Returns:
        Examples of which at least the first film exists; films that do not exist are left out.
    """
    readers = pitch_readers(list(clips.values()))
    taken: dict[str, int] = {}
    examples = []
    for name, clip in sorted(clips.items()):
        films = [Film(caption, Path(folder) / f"{name}.mp4") for caption, folder in folders.items()]
        if taken.get(clip.instrument, 0) >= per_instrument or not films[0].path.is_file():
            continue
        taken[clip.instrument] = taken.get(clip.instrument, 0) + 1
        heard, seconds = np.zeros((0, 3)), 0.0
        if music is not None and (path := Path(folders[music]) / f"{name}.mp4").is_file():
            sound = Heard(read_sound(path, SAMPLE_RATE))
            seconds = sound.seconds
            if clip.pitched:
                heard = transcribe(sound.sound, sound.onsets, readers[clip.instrument], max(1, clip.voices))
            else:
                heard = np.stack([sound.onsets, sound.onsets + 0.05, np.full(len(sound.onsets), np.nan)], axis=1)
        present = [film for film in films if film.path.is_file()]
        examples.append(Example(name, clip.instrument, present, clip.notes, heard, seconds))
    return examples


def figure(example: Example, page_folder: Path) -> str:
    """The example as HTML; videos are linked by paths relative to the page's folder."""
    films = "".join(
        f'<figure><video controls loop playsinline preload="metadata" src="{_link(film.path, page_folder)}"></video>'
        f"<figcaption>{escape(film.caption)}</figcaption></figure>"
        for film in example.films
    )
    roll = piano_roll(example) if example.known is not None and len(example.known) else ""
    return (
        f'<article><h3>{escape(example.name)} <span class="tag">{escape(example.instrument)}</span></h3>'
        f'<div class="films">{films}</div>{roll}</article>'
    )


def piano_roll(example: Example) -> str:
    """Known notes as bars and heard ones as dots (ticks where only the onset was read), inline SVG over time."""
    if example.known is None:
        return ""
    known, heard = example.known, example.heard
    seconds = max(example.seconds, float(known[:, 1].max()))
    rows = np.unique(known[:, 2])
    if np.isfinite(heard[:, 2]).any():  # pitches: a row for each semitone; drums: a row for each piece
        every = np.concatenate([known[:, 2], heard[:, 2]])
        rows = np.arange(np.nanmin(every), np.nanmax(every) + 1)
    width, height, left = 1080.0, 96.0, 0.0
    step = height / len(rows)

    def x(time: float) -> float:
        return left + (width - left) * time / seconds

    def y(pitch: float) -> float:
        return height - step * (float(np.searchsorted(rows, pitch)) + 1)

    marks = [
        f'<rect x="{x(on):.1f}" y="{y(pitch) + 0.1 * step:.1f}" width="{max(2.0, x(off) - x(on)):.1f}" '
        f'height="{0.8 * step:.1f}" rx="1.5"/>'
        for on, off, pitch in known[:, :3]
    ]
    radius = min(4.0, max(2.2, 0.5 * step))
    for onset, _, pitch in heard:
        if np.isfinite(pitch):
            marks.append(f'<circle cx="{x(onset):.1f}" cy="{y(pitch) + step / 2:.1f}" r="{radius:.1f}"/>')
        else:
            marks.append(f'<path d="M{x(onset):.1f} 0V{height:.0f}"/>')
    ticks = "".join(f'<path class="second" d="M{x(t):.1f} 0V{height:.0f}"/>' for t in range(1, int(seconds) + 1))
    key = "dots: notes" if np.isfinite(heard[:, 2]).any() else "lines: onsets"
    key = f", {key} heard in the generated music" if len(heard) else ""
    return (
        f'<svg class="roll" viewBox="0 0 {width:.0f} {height:.0f}" role="img" preserveAspectRatio="none" '
        f'aria-label="notes over time">{ticks}{"".join(marks)}</svg>'
        f'<p class="key">bars: notes played in the original{key}; a grid line a second</p>'
    )


def _link(path: Path, folder: Path) -> str:
    return quote(os.path.relpath(path.resolve(), folder.resolve()).replace(os.sep, "/"))
