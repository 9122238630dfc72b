"""The page of ``python -m mvgen.evaluate --report``: two folders compared, every score with its plot, every clip."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from mvgen.evaluation.metrics.table import METRICS, OVERALL, shown
from mvgen.evaluation.report.page import Fact, write_page
from mvgen.evaluation.report.scores import UNBOUNDED, Direction, conditions, table, tile
from mvgen.evaluation.report.strips import KEY, STYLE, strip

SECTIONS = (
    ("Sound", "What is heard against what was played.",
     ("onset_f", "note_f", "pitch_right", "onset_f_sound", "note_f_sound", "beat_coverage", "beat_hit", "d2m_coverage",
      "d2m_hit", "foley_accuracy", "foley_ap", "kl")),
    ("Picture and sound together", "Whether motion and music of the same video meet.",
     ("av_align", "beat_alignment", "lag_within_frame", "change_lag_within_frame", "lag_value")),
    ("Picture", "What is seen against what was filmed.",
     ("places_right", "gain_over_still", "speed_ratio", "psnr", "ssim", "flicker", "warp_error", "flow_magnitude")),
)  # fmt: skip
"""Title, a sentence, and the scores that stand under it."""
HEADLINES = ("onset_f", "note_f", "onset_f_sound", "note_f_sound", "places_right", "change_lag_within_frame", "ssim")
MOST_HEADLINES = 5


def write_evaluation(path: str | os.PathLike[str], scores: Mapping[str, Any]) -> None:
    """Writes what :func:`mvgen.evaluation.folders.evaluate_folders` returned as one HTML file that needs no network.

    Raises:
        UserError: the folder does not exist or cannot be written to.
    """
    overall = scores["summary"][OVERALL]
    whole = Direction("all clips", "", scores, tuple(METRICS))
    title = f"{Path(scores['generated']).name} against {Path(scores['reference']).name}"
    parts = [f"<h1>{escape(title)}</h1>", f'<p class="lead">{escape(conditions(scores))}</p>', _facts(scores)]
    headlines = [metric for metric in HEADLINES if metric in overall][:MOST_HEADLINES]
    tiles = "".join(tile(whole, OVERALL, metric) for metric in headlines)
    if tiles:
        parts.append(
            f'<div class="tiles">{tiles}</div><p class="soft">The orange tick on a bar is the chance level.</p>'
        )
    for name, text, metrics in SECTIONS:
        there = [metric for metric in metrics if metric in overall]
        if there:
            parts += [f"<h2>{name}</h2><p>{text}</p>", KEY, _strips(scores, there)]
            parts.append(
                f"<details><summary>In numbers</summary>{table(Direction(name, text, scores, there))}</details>"
            )
    parts += [_sets(scores), _refused(scores), _clips(scores, [metric for metric in METRICS if metric in overall])]
    parts.append(_reading([metric for metric in METRICS if metric in overall]))
    write_page(path, title, "\n".join(parts), style=STYLE)


def _facts(scores: Mapping[str, Any]) -> str:
    rates = ", ".join(f"{rate:g}" for rate in scores["native_frame_rates"]) or "-"
    facts = [
        Fact("reference", str(scores["reference"])),
        Fact("generated", str(scores["generated"])),
        Fact("frame rates of the generated files", rates),
        Fact("intervals", f"95 % percentile bootstrap over clips, 1000 draws, seed {scores['seed']}"),
        Fact("chance", f"mean over three shuffles of the pairs, {scores['shuffled_pairs']}, seed {scores['seed']}"),
    ]
    return f"<dl>{''.join(f'<div><dt>{escape(a)}</dt><dd>{escape(b)}</dd></div>' for a, b in facts)}</dl>"


def _strips(scores: Mapping[str, Any], metrics: Sequence[str]) -> str:
    panels = []
    for metric in metrics:
        drawn = strip(metric, scores["summary"], scores["per_clip"], metric not in UNBOUNDED)
        title, meaning, _ = METRICS[metric]
        panels.append(
            f'<div class="panel"><h3>{escape(title)}</h3><p class="meaning">{escape(meaning)}</p>{drawn}</div>'
        )
    return f'<div class="panels strips">{"".join(panels)}</div>'


def _sets(scores: Mapping[str, Any]) -> str:
    """What is one number for a whole set: LORIS' means and deviations, and what needs weights."""
    parts = []
    if scores["loris"]:
        names = list(next(iter(scores["loris"].values())))
        head = "".join(f"<th>{name.upper()}</th>" for name in names)
        rows = "".join(
            f'<tr><th scope="row">{escape(group)}</th>'
            + "".join(f"<td>{shown(values[name], 'beat_hit')}</td>" for name in names)
            + "</tr>"
            for group, values in scores["loris"].items()
        )
        parts.append(
            "<h3>LORIS: means and deviations of beat coverage and hit, and F1 of the means</h3>"
            f'<div class="wide"><table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
        )
    told = [line for part in ("weighted", "readers") for line in scores.get(part, {}).get("lines", ())]
    lines = "".join(f"<li>{escape(line)}</li>" for line in told)
    if lines:
        parts.append(f"<h3>With weights</h3><ul>{lines}</ul>")
    return "<h2>Of the whole set</h2>" + "".join(parts) if parts else ""


def _refused(scores: Mapping[str, Any]) -> str:
    left_out = [f"{entry['name']}: {entry['reason']}" for entry in scores["refused"]]
    left_out += [f"{name}: no generated video" for name in scores["only_in_reference"]]
    left_out += [f"{name}: no original" for name in scores["only_in_generated"]]
    if not left_out:
        return ""
    return f"<h2>Left out</h2><ul>{''.join(f'<li>{escape(line)}</li>' for line in left_out)}</ul>"


def _clips(scores: Mapping[str, Any], metrics: Sequence[str]) -> str:
    head = "".join(f"<th>{escape(METRICS[metric].title)}</th>" for metric in metrics)
    rows = []
    for clip in scores["per_clip"]:
        cells = []
        for metric in metrics:
            value = clip["scores"].get(metric)
            tint = "" if value is None or metric in UNBOUNDED else f' style="--v:{min(1.0, max(0.0, value)):.2f}"'
            cells.append(f"<td{tint}>{shown(value, metric).replace('-', '&minus;') if value is not None else ''}</td>")
        rows.append(f'<tr><th scope="row">{escape(clip["name"])}</th>{"".join(cells)}</tr>')
    return (
        f"<h2>Every clip</h2><details><summary>{len(rows)} clips, score by score</summary>"
        f'<div class="wide"><table class="clips"><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></details>"
    )


def _reading(metrics: Sequence[str]) -> str:
    items = "".join(
        f"<li><b>{escape(METRICS[metric].title)}</b>: {escape(METRICS[metric].meaning)}</li>" for metric in metrics
    )
    return (
        "<h2>How to read the numbers</h2><p>A number means something only beside its <b>chance</b> level (the same "
        "score with each clip paired with another of its instrument) and beside the same score of the <b>original</b> "
        "itself. A score that does not apply to a clip is left out of the mean.</p>"
        f"<ul>{items}</ul><p>Exact definitions: docs/metrics.md.</p>"
    )
