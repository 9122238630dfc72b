"""A plot as inline SVG that takes its colours and its font from the page around it."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Stand-ins that matplotlib writes into the SVG and that the page's own colours then replace.
INK, TRAIN, HELD_OUT, LINE = "#010203", "#010204", "#010205", "#010206"
COLOURS = {INK: "var(--ink-soft)", TRAIN: "var(--accent)", HELD_OUT: "var(--second)", LINE: "var(--line)"}


def panel(name: str, size: tuple[float, float], draw: Callable[[Axes], None]) -> str:
    """The SVG of what ``draw`` draws; ``size`` is width and height in inches, ``name`` that of no other on the page."""
    # Text stays text (in the page's font), and ids differ from panel to panel of the one page.
    style: Any = {"svg.fonttype": "none", "svg.hashsalt": name, "font.family": "sans-serif", "font.size": 9}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        draw(axes)
        axes.tick_params(colors=INK, labelcolor=INK, length=0)
        axes.spines[:].set_visible(False)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    for stand_in, colour in COLOURS.items():
        svg = svg.replace(stand_in, colour)
    return svg
