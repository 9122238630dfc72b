"""Draws docs/recital.png: the instruments of Recital at work, their notes and sound beneath, on one time axis.

    python docs/draw_recital.py

Each picture stands over the moment that it shows (its middle); the notes and the wave under it are those that the
programs played. Everything follows from a seed, so the same versions draw the same picture.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, Rectangle
from PIL import Image

from data_prep.recital.compose import compose
from data_prep.recital.film import film
from data_prep.recital.play import play
from data_prep.recital.score import Score

PAGE, INK, QUIET = "#FAF8F3", "#22303C", "#5D6A75"
PICTURE, SOUND, LATENT = "#D9572B", "#12758A", "#6A4C93"  # the colours of docs/draw_architecture.py

WIDTH, MARGIN, LABEL = 1440, 28, 132
COLUMNS, STEP = 6, 0.24  # pictures in a row, seconds between them
HEIGHT_OF_PICTURE, HEIGHT_OF_NOTES, HEIGHT_OF_WAVE, GAP = 152, 82, 40, 34
ROWS = (  # instrument, index of the clip (seed 0), where the row begins, what moves in it, whether it is footage
    ("keyboard", 25, 2.4, "hands travel,\nkeys go down", False),
    ("strings", 25, 2.4, "the bow strokes,\na finger stops", False),
    ("drums", 16, 3.4, "sticks swing\nand hit", False),
    ("guitar", 11, 2.0, "footage:\na finger plucks", True),
    ("marimba", 13, 2.0, "footage:\nmallets fall", True),
)
DRUM_NAMES = {36: "kick", 38: "snare", 42: "hi-hat", 45: "tom", 49: "crash"}
SAMPLE_RATE = 32_000


def draw_pictures(ax: Axes, score: Score, start: float, top: float) -> None:
    """Six moments of the film, each over its place on the time axis."""
    column = (WIDTH - 2 * MARGIN - LABEL) / COLUMNS
    times = start + (np.arange(COLUMNS) + 0.5) * STEP
    width = round(column) - 8
    # Drawn at the size shown, so that no pixel is resized again.
    for i, picture in enumerate(film(score, times, (HEIGHT_OF_PICTURE, width + width % 2))):
        left = MARGIN + LABEL + i * column + 4
        image = ax.imshow(
            picture, extent=(left, left + width, top + HEIGHT_OF_PICTURE, top), interpolation="antialiased"
        )
        style = "round,pad=0,rounding_size=6"
        frame = FancyBboxPatch(
            (left, top), width, HEIGHT_OF_PICTURE, boxstyle=style, facecolor="none", edgecolor=QUIET, linewidth=0.8
        )
        ax.add_patch(frame)
        image.set_clip_path(frame)
        middle = left + width / 2
        bottom = top + HEIGHT_OF_PICTURE + 10 + HEIGHT_OF_NOTES + HEIGHT_OF_WAVE
        ax.plot([middle, middle], [top + HEIGHT_OF_PICTURE, bottom], color=LATENT, linewidth=0.9, linestyle=(0, (2, 3)))


def draw_notes(ax: Axes, score: Score, start: float, top: float) -> None:
    """The notes as bars: time to the right, pitch upwards (for drums, a line for each piece)."""
    left, width = MARGIN + LABEL, WIDTH - 2 * MARGIN - LABEL
    seconds = COLUMNS * STEP
    ax.add_patch(
        Rectangle((left, top), width, HEIGHT_OF_NOTES, facecolor="white", edgecolor="#E3DDD1", linewidth=0.8, zorder=0)
    )
    shown = [note for note in score.notes if note.offset > start and note.onset < start + seconds]
    drums = score.instrument == "drums"
    lines = (
        sorted({note.pitch for note in shown})
        if drums
        else list(range(min(n.pitch for n in shown) - 1, max(n.pitch for n in shown) + 2))
    )
    line = HEIGHT_OF_NOTES / len(lines)
    thick = max(0.8 * line, 7.0)
    for note in shown:
        middle = top + HEIGHT_OF_NOTES - (lines.index(note.pitch) + 0.5) * line
        ends = note.onset + 0.06 if drums else note.offset
        x0, x1 = (left + width * min(1.0, max(0.0, (t - start) / seconds)) for t in (note.onset, ends))
        if x1 > x0:
            strength = 0.4 + 0.6 * note.velocity / 127
            ax.add_patch(
                Rectangle((x0, middle - thick / 2), x1 - x0, thick, facecolor=PICTURE, alpha=strength, linewidth=0)
            )
    if drums:
        for i, pitch in enumerate(lines):
            ax.text(
                left - 8,
                top + HEIGHT_OF_NOTES - (i + 0.5) * line,
                DRUM_NAMES[pitch],
                fontsize=10,
                color=QUIET,
                ha="right",
                va="center",
            )


def draw_sound(ax: Axes, score: Score, start: float, top: float) -> None:
    """The wave, as the loudest sample of each small stretch."""
    left, width = MARGIN + LABEL, WIDTH - 2 * MARGIN - LABEL
    sound = np.abs(play(score, SAMPLE_RATE)[round(start * SAMPLE_RATE) :][: round(COLUMNS * STEP * SAMPLE_RATE)])
    peaks = np.array([stretch.max() for stretch in np.array_split(sound, width // 4)])
    peaks = peaks / peaks.max() * HEIGHT_OF_WAVE / 2
    x = left + (np.arange(len(peaks)) + 0.5) * width / len(peaks)
    ax.vlines(
        x, top + HEIGHT_OF_WAVE / 2 - peaks - 0.5, top + HEIGHT_OF_WAVE / 2 + peaks + 0.5, color=SOUND, linewidth=1.6
    )


def main() -> None:
    """Writes the picture beside this program."""
    plt.rcParams["font.family"] = "DejaVu Sans"
    row_height = HEIGHT_OF_PICTURE + 10 + HEIGHT_OF_NOTES + HEIGHT_OF_WAVE + GAP
    height = MARGIN + len(ROWS) * row_height - GAP + MARGIN
    figure = plt.figure(figsize=(WIDTH / 100, height / 100), dpi=100, facecolor=PAGE)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.axis("off")
    for row, (instrument, index, start, moves, footage) in enumerate(ROWS):
        score = compose(0, index, instrument, footage=footage)
        top = MARGIN + row * row_height
        ax.text(MARGIN, top + 4, instrument, fontsize=14.5, color=INK, weight="bold", va="top")
        ax.text(MARGIN, top + 34, moves, fontsize=11, color=QUIET, va="top", linespacing=1.4)
        draw_pictures(ax, score, start, top)
        notes_top = top + HEIGHT_OF_PICTURE + 10
        ax.text(
            MARGIN, notes_top + HEIGHT_OF_NOTES / 2, "notes", fontsize=11, color=PICTURE, weight="bold", va="center"
        )
        draw_notes(ax, score, start, notes_top)
        ax.text(
            MARGIN,
            notes_top + HEIGHT_OF_NOTES + HEIGHT_OF_WAVE / 2,
            "sound",
            fontsize=11,
            color=SOUND,
            weight="bold",
            va="center",
        )
        draw_sound(ax, score, start, notes_top + HEIGHT_OF_NOTES)
    ax.set(xlim=(0, WIDTH), ylim=(height, 0), aspect="auto")  # images move the limits
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    # 256 colours are enough for it, at a third of the size.
    Image.fromarray(pixels).quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.FLOYDSTEINBERG).save(
        Path(__file__).parent / "recital.png", optimize=True
    )


if __name__ == "__main__":
    main()
