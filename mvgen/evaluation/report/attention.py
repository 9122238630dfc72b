"""What attention looks at over time, as inline SVG that takes its colours and its font from the page around it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from mvgen import clock
from mvgen.evaluation.report.panel import INK, panel
from mvgen.models.attention_maps import on_diagonal, shade

TITLES = {
    "decoder": ("tokens look at the picture", "picture, s", "sound, s"),
}
DARK = (0x4A / 255, 0x9A / 255, 0x92 / 255)  # between the accents of the light page and the dark one


def attention_panels(maps: Mapping[str, np.ndarray]) -> list[tuple[str, str]]:
    """Title and inline SVG of each map.

    Args:
        maps: ``CLIP/decoder`` to what :func:`mvgen.models.attention_maps.attention_maps` gives.
    """
    panels = []
    for name, weights in maps.items():
        clip, _, kind = name.rpartition("/")
        if kind in TITLES:
            share, even = on_diagonal(weights)
            title = f"{clip}: {TITLES[kind][0]}, {share:.0%} within 0.1 s (if even: {even:.0%})"
            panels.append((title, _panel(name, weights, *TITLES[kind][1:])))
    return panels


def _panel(name: str, weights: np.ndarray, across: str, down: str) -> str:
    seconds = clock.frames_of(max(weights.shape)) / clock.FRAME_RATE
    cells = np.empty((*weights.shape, 4))
    cells[..., :3], cells[..., 3] = DARK, shade(weights)  # transparent where nothing is seen, on any page

    def draw(axes: Axes) -> None:
        axes.imshow(cells, extent=(0, seconds, seconds, 0), interpolation="nearest", aspect="equal")
        axes.set_xlabel(across, color=INK)
        axes.set_ylabel(down, color=INK)

    return panel(name, (3.4, 3.4), draw)
