"""Score tables: each number beside its chance level, its ceiling and its interval, by instrument."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from mvgen.evaluation.metrics.table import METRICS, OVERALL, shown

UNBOUNDED = (
    "psnr",
    "gain_over_still",
    "speed_ratio",
    "flow_magnitude",
    "warp_error",
    "d2m_coverage",
    "lag_value",
    "kl",
)
"""Metrics that have no end at 1, and so no bar."""
AGAINST_ORIGINAL = ("psnr", "gain_over_still", "ssim", "onset_f_sound", "note_f_sound", "beat_coverage", "beat_hit",
                    "d2m_coverage", "d2m_hit", "foley_accuracy", "foley_ap", "kl", "note_f_sound_basic_pitch",
                    "note_f_sound_swift_f0")  # fmt: skip
"""Metrics of which the original is the measure: its own score says nothing."""


@dataclass(frozen=True)
class Direction:
    """What was generated from what, and how it scores.

    Attributes:
        title: such as "Music from video".
        text: a sentence on what was compared.
        scores: what :func:`mvgen.evaluation.folders.evaluate_folders` returned.
        metrics: which of :data:`mvgen.evaluation.metrics.table.METRICS` to show, in this order.
        ceilings: further scores of the same clips that no model can pass, by name (such as "codec").
        headlines: (group, metric) of the numbers that are also shown large at the top.
    """

    title: str
    text: str
    scores: Mapping[str, Any]
    metrics: Sequence[str]
    ceilings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    headlines: Sequence[tuple[str, str]] = ()


def tile(direction: Direction, group: str, metric: str) -> str:
    """One large number with its chance level; empty where the scores do not hold it."""
    entry = direction.scores["summary"].get(group, {}).get(metric)
    if entry is None:
        return ""
    whose = "" if group == OVERALL else f"{escape(group)}: "
    beside = _beside(direction, group, metric, entry)
    return (
        f'<div class="tile"><div class="large">{shown(entry["mean"], metric)}</div>'
        f'<div class="what">{whose}{escape(METRICS[metric].title)}</div>'
        f"{_bar(metric, entry)}"
        f'<div class="beside">{beside}</div><div class="beside">{escape(direction.title)}</div></div>'
    )


def table(direction: Direction) -> str:
    """Rows are metrics, columns are instruments; each cell holds mean, interval, bar, chance and ceilings."""
    summary = direction.scores["summary"]
    groups = list(summary)
    head = "".join(f"<th>{escape(group)}</th>" for group in groups)
    rows = []
    for metric in direction.metrics:
        if not any(metric in summary[group] for group in groups):
            continue
        title, meaning, _ = METRICS[metric]
        cells = "".join(_cell(direction, group, metric) for group in groups)
        rows.append(
            f'<tr><th scope="row">{escape(title)}<span class="meaning">{escape(meaning)}</span></th>{cells}</tr>'
        )
    return (
        f'<div class="wide"><table><thead><tr><th></th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def conditions(scores: Mapping[str, Any]) -> str:
    """The frame rate, length and picture size without which the numbers mean nothing, as one sentence."""
    seconds = scores["seconds"]
    length = f"{seconds['shortest']:.1f} s"
    if seconds["longest"] - seconds["shortest"] > 0.05:
        length = f"{seconds['shortest']:.1f} to {seconds['longest']:.1f} s"
    sizes = ", ".join(f"{width} x {height}" for height, width in scores["picture_sizes"])
    pictures = f", pictures of {sizes} at {scores['frame_rate']} frames a second" if sizes else ""
    pairs = f"shuffled pairs {scores['shuffled_pairs']}, seed {scores['seed']}"
    return f"{scores['clips']} clips of {length}{pictures}; {pairs}."


def _cell(direction: Direction, group: str, metric: str) -> str:
    entry = direction.scores["summary"][group].get(metric)
    if entry is None:
        return '<td class="none">&ndash;</td>'
    low, high = shown(entry["low"], metric), shown(entry["high"], metric)
    return (
        f'<td><span class="mean">{shown(entry["mean"], metric)}</span>'
        f'<span class="interval" title="95 % bootstrap interval of the mean over {entry["clips"]} clips">'
        f"{low} &ndash; {high}</span>{_bar(metric, entry)}"
        f'<div class="beside">{_beside(direction, group, metric, entry)}</div></td>'
    )


def _beside(direction: Direction, group: str, metric: str, entry: Mapping[str, Any]) -> str:
    parts = []
    if entry["chance"] is not None:
        parts.append(f"chance&nbsp;{shown(entry['chance'], metric)}")
    for name, ceiling in direction.ceilings.items():
        other = ceiling["summary"].get(group, {}).get(metric)
        if other is not None:
            parts.append(f"{escape(name)}&nbsp;{shown(other['mean'], metric)}")
    # An original compared with itself is perfect by definition where the reference is the measure.
    if entry["original"] is not None and metric not in AGAINST_ORIGINAL:
        parts.append(f"original&nbsp;{shown(entry['original'], metric)}")
    return " &middot; ".join(parts)


def _bar(metric: str, entry: Mapping[str, Any]) -> str:
    """A bar from 0 to 1 with the chance level as a tick."""
    if metric in UNBOUNDED:
        return ""
    filled = 100 * min(1.0, max(0.0, entry["mean"]))
    tick = ""
    if entry["chance"] is not None:
        tick = f'<u style="left:{100 * min(1.0, max(0.0, entry["chance"])):.1f}%"></u>'
    return f'<div class="bar"><i style="width:{filled:.1f}%"></i>{tick}</div>'
