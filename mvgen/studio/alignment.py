"""A plot of how sound and movement lie together: the onsets of the sound over the movement of the picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mvgen import clock
from mvgen.inference.comparison import onsets_of
from mvgen.media import read_picture_and_flow

FRAME, FLOW = (128, 128), (16, 16)
INK, QUIET, ACCENT = "#1e2026", "#969ba5", "#ce402c"


def movement(video: str, seconds: float | None = None) -> np.ndarray:
    """Mean length of the optical flow of each frame, in pixels at 16 x 16, float ``[frames]``."""
    frames = None if seconds is None else clock.whole_frames(seconds)
    flow = read_picture_and_flow(video, FRAME, FLOW, frames=frames)[1]
    assert flow is not None
    return np.linalg.norm(flow.astype(np.float32), axis=-1).mean(axis=(1, 2))


def draw_alignment(path: Path, motion: np.ndarray, sound: np.ndarray, rate: int) -> int:
    """Draws the onsets of a sound ``[n]`` or ``[2, n]`` over the movement of a picture, PNG; returns their number."""
    times = np.arange(len(motion)) / clock.FRAME_RATE
    onsets = onsets_of(sound, rate) if np.any(sound) else np.zeros(0)
    figure = Figure(figsize=(8, 2.6), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.fill_between(times, motion, color=QUIET, alpha=0.35, linewidth=0)
    axes.plot(times, motion, color=INK, linewidth=1.2, label="movement")
    top = float(motion.max(initial=0.0)) or 1.0
    axes.vlines(onsets, 0, 1.08 * top, color=ACCENT, linewidth=1, label="onsets of the sound")
    axes.set_xlim(0, max(float(times[-1]) if len(times) else 0.0, 1 / clock.FRAME_RATE))
    axes.set_ylim(0, 1.6 * top)
    axes.set_yticks([])
    axes.set_xlabel("seconds", color=INK)
    axes.tick_params(colors=INK)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.legend(loc="upper right", ncols=2, frameon=False, fontsize=9)
    figure.savefig(path)
    return len(onsets)
