"""Loss curves as inline SVG that takes its colours and its font from the page around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from mvgen.evaluation.report.panel import HELD_OUT, INK, LINE, TRAIN, panel

PANELS = (
    ("token_head", "Token head: cross-entropy of the tokens given each frame alone"),
    ("music", "Music: cross-entropy of the tokens"),
    ("video", "Video: flow matching"),
    ("align", "Alignment: InfoNCE"),
    ("loss", "All together"),
    ("clip_accuracy", "Right clip found in the batch"),
    ("shift_accuracy", "Right time shift found"),
    ("belonging_auc", "True pairs told from others"),
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
    def draw(axes: Axes) -> None:
        if train:
            axes.plot(*zip(*train, strict=True), color=TRAIN, linewidth=1.4)
        if held_out:
            axes.plot(*zip(*held_out, strict=True), color=HELD_OUT, linewidth=1.4, marker="o", markersize=3.5)
        axes.set_xlabel("step", color=INK)
        axes.grid(color=LINE, linewidth=0.7)
        axes.margins(x=0.01)
        values = sorted(value for _, value in train[len(train) // 50 :] + held_out)
        # The first few steps are far above all others and would flatten the rest.
        if len(values) > 20:
            top = values[int(0.985 * (len(values) - 1))]
            axes.set_ylim(values[0] - 0.05 * (top - values[0]) - 1e-9, top + 0.08 * (top - values[0]) + 1e-9)

    return panel(name, (4.2, 2.4), draw)
