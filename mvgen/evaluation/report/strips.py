"""Every clip's score as a dot, beside mean, interval, chance and original: inline SVG in the page's own colours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from mvgen.evaluation.metrics.table import METRICS, OVERALL, shown
from mvgen.evaluation.report.scores import AGAINST_ORIGINAL

WIDTH, ROW, LEFT, RIGHT, TOP, BOTTOM = 520.0, 46.0, 92.0, 14.0, 8.0, 24.0


def strip(metric: str, summary: Mapping[str, Any], clips: Sequence[Mapping[str, Any]], bounded: bool) -> str:
    """One row an instrument (or one in all), one dot a clip; empty where the metric applies to no clip.

    Args:
        metric: its key. summary, clips: ``summary`` and ``per_clip`` of the scores.
        bounded: whether its axis is 0 to 1; otherwise it spans what there is.
    """
    groups = [group for group in summary if group != OVERALL and metric in summary[group]]
    groups = groups or [group for group in (OVERALL,) if metric in summary.get(group, {})]
    if not groups:
        return ""
    dots = {
        group: [
            (clip["name"], clip["scores"][metric])
            for clip in clips
            if group in (OVERALL, clip["instrument"]) and clip["scores"].get(metric) is not None
        ]
        for group in groups
    }
    beside = [summary[group][metric][key] for group in groups for key in ("low", "high", "chance", "original")]
    low, high = _span([value for group in groups for _, value in dots[group]] + beside, bounded)
    height = TOP + ROW * len(groups) + BOTTOM

    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (min(max(value, low), high) - low) / (high - low)

    marks = []
    for tick in range(5):
        value = low + (high - low) * tick / 4
        marks.append(f'<path class="grid" d="M{x(value):.1f} {TOP}V{height - BOTTOM}"/>')
        label = shown(value, metric) if not bounded else f"{value:g}"
        marks.append(f'<text x="{x(value):.1f}" y="{height - 7}" text-anchor="middle">{label}</text>')
    for row, group in enumerate(groups):
        entry, middle = summary[group][metric], TOP + ROW * (row + 0.5)
        marks.append(f'<text class="row" x="0" y="{middle + 4:.1f}">{escape(group[:14])}</text>')
        marks.append(
            f'<rect class="interval" x="{x(entry["low"]):.1f}" y="{middle - 15:.1f}" '
            f'width="{max(1.5, x(entry["high"]) - x(entry["low"])):.1f}" height="30" rx="3"/>'
        )
        for number, (name, value) in enumerate(dots[group]):
            # The golden ratio spreads any number of dots evenly, the same in every page.
            aside = ((number * 0.618034) % 1.0 - 0.5) * 22
            marks.append(
                f'<circle cx="{x(value):.1f}" cy="{middle + aside:.1f}" r="3">'
                f"<title>{escape(str(name))}: {shown(value, metric)}</title></circle>"
            )
        marks.append(f'<path class="mean" d="M{x(entry["mean"]):.1f} {middle - 16:.1f}v32"/>')
        if entry["chance"] is not None:
            marks.append(f'<path class="chance" d="M{x(entry["chance"]):.1f} {middle - 18:.1f}v36"/>')
        if entry["original"] is not None and metric not in AGAINST_ORIGINAL:
            at = x(entry["original"])
            marks.append(f'<path class="original" d="M{at:.1f} {middle - 5:.1f}l5 5l-5 5l-5 -5z"/>')
    return (
        f'<svg class="strip" viewBox="0 0 {WIDTH:.0f} {height:.0f}" role="img" '
        f'aria-label="{escape(METRICS[metric].title)}, clip by clip">{"".join(marks)}</svg>'
    )


def _span(values: Sequence[float | None], bounded: bool) -> tuple[float, float]:
    """The ends of the axis."""
    if bounded:
        return 0.0, 1.0
    there = [value for value in values if value is not None and math.isfinite(value)]
    low, high = min(there), max(there)
    margin = 0.06 * (high - low) or 0.5 * abs(high) or 1.0
    # What cannot be negative keeps its zero where it is near.
    return (0.0 if 0 <= low < 0.4 * high else low - margin), high + margin


KEY = (
    '<p class="soft key-line"><svg class="mark" viewBox="0 0 14 14"><circle cx="7" cy="7" r="3"/></svg> a clip '
    '<svg class="mark" viewBox="0 0 14 14"><rect class="interval" x="1" y="1" width="12" height="12" rx="2"/>'
    '<path class="mean" d="M7 0v14"/></svg> mean and its 95&nbsp;% interval '
    '<svg class="mark" viewBox="0 0 14 14"><path class="chance" d="M7 0v14"/></svg> chance '
    '<svg class="mark" viewBox="0 0 14 14"><path class="original" d="M7 2l5 5l-5 5l-5 -5z"/></svg> '
    "the original's own</p>"
)
"""What the marks are."""

STYLE = """
.strip, .mark { overflow: visible; } .mark { width: 14px; height: 14px; vertical-align: -2px; margin-left: .7em; }
.strip text { font: 11px system-ui, sans-serif; fill: var(--ink-soft); } .strip text.row { font-size: 12.5px;
  fill: var(--ink); text-transform: capitalize; }
.strip .grid { stroke: var(--line); stroke-width: 1; }
.strip circle, .mark circle { fill: var(--accent); fill-opacity: .42; }
.strip circle:hover { fill-opacity: 1; }
.interval[rx] { fill: var(--accent-soft); } .mean[d] { stroke: var(--accent); stroke-width: 3; }
.chance[d] { stroke: var(--second); stroke-width: 2; stroke-dasharray: 3 2; }
.original[d] { fill: var(--card); stroke: var(--ink-soft); stroke-width: 1.5; }
.panels.strips { grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); }
.panel .meaning { margin: -.4rem 0 .6rem; }
details { margin: 1rem 0; } summary { cursor: pointer; font-weight: 550; padding: .4rem 0; }
.clips td, .clips th { padding: .3rem .6rem; min-width: 0; font-size: .84rem; white-space: nowrap; }
.clips thead th { white-space: normal; min-width: 5.5rem; vertical-align: bottom; text-transform: none; }
.clips td { background: color-mix(in srgb, var(--accent) calc(var(--v, 0) * 34%), transparent); }
"""
"""What these plots add to the page's style."""
