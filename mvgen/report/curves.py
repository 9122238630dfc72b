"""Loss curves as inline SVG that takes its colours and its font from the page around it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure

# Stand-ins that matplotlib writes into the SVG and that the page's own colours then replace.
INK, TRAIN, HELD_OUT, LINE = "#010203", "#010204", "#010205", "#010206"
COLOURS = {INK: "var(--ink-soft)", TRAIN: "var(--accent)", HELD_OUT: "var(--second)", LINE: "var(--line)"}
PANELS = (
    ("prior", "Prior: cross-entropy of the tokens given each frame alone"),
    ("music", "Music: cross-entropy of the tokens"),
    ("video", "Video: flow matching"),
    ("align", "Alignment: contrastive and matching"),
    ("loss", "All together"),
    ("clip_accuracy", "Right clip found in the batch"),
    ("shift_accuracy", "Right time shift found"),
    ("match_accuracy", "Match told from mismatch"),
)
"""Metrics that are drawn, where a history holds them, and their titles."""


def curves(history: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Title and inline SVG of each metric of a run's history (lines of ``metrics.jsonl``): training and held-out."""
    drawn = []
    for metric, title in PANELS:
        train = _points(history, metric)
        held_out = _points(history, f"eval/{metric}")
        if len(train) + len(held_out) > 1:
            drawn.append((title, _panel(metric, train, held_out)))
    return drawn


def _points(history: Sequence[Mapping[str, Any]], metric: str) -> list[tuple[float, float]]:
    return [(line["step"], line[metric]) for line in history if isinstance(line.get(metric), (int, float))]


def _panel(name: str, train: list[tuple[float, float]], held_out: list[tuple[float, float]]) -> str:
    # Text stays text (in the page's font), and ids differ from panel to panel of the one page.
    style: Any = {"svg.fonttype": "none", "svg.hashsalt": name, "font.family": "sans-serif", "font.size": 9}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(4.2, 2.4), layout="constrained")
        axes = figure.subplots()
        if train:
            axes.plot(*zip(*train, strict=True), color=TRAIN, linewidth=1.4)
        if held_out:
            axes.plot(*zip(*held_out, strict=True), color=HELD_OUT, linewidth=1.4, marker="o", markersize=3.5)
        axes.set_xlabel("step", color=INK)
        axes.tick_params(colors=INK, labelcolor=INK, length=0)
        axes.grid(color=LINE, linewidth=0.7)
        axes.spines[:].set_visible(False)
        axes.margins(x=0.01)
        values = sorted(value for _, value in train[len(train) // 50 :] + held_out)
        # The first few steps are far above all others and would flatten the rest.
        if len(values) > 20:
            top = values[int(0.985 * (len(values) - 1))]
            axes.set_ylim(values[0] - 0.05 * (top - values[0]) - 1e-9, top + 0.08 * (top - values[0]) + 1e-9)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    for stand_in, colour in COLOURS.items():
        svg = svg.replace(stand_in, colour)
    return svg
