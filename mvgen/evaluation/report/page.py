"""The page: facts, headline numbers, clips to watch, scores with chance levels, retrieval, loss curves."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mvgen.evaluation.metrics.table import METRICS
from mvgen.evaluation.report.attention import attention_panels
from mvgen.evaluation.report.curves import curves
from mvgen.evaluation.report.examples import Example, figure
from mvgen.evaluation.report.scores import Direction, conditions, table, tile
from mvgen.evaluation.report.style import SCRIPT, STYLE
from mvgen.files import write_text


class Fact(NamedTuple):
    """A name and what it is, such as the command, the seed, or how long training took."""

    name: str
    text: str


def write_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    lead: str,
    facts: Sequence[Fact] = (),
    directions: Sequence[Direction] = (),
    examples: Sequence[Example] = (),
    retrieval: Mapping[str, float] | None = None,
    history: Sequence[Mapping[str, Any]] = (),
    attention: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Writes one HTML file that needs no network; films are linked by relative paths, all else is inside.

    Args:
        path: the HTML file; it appears whole or not at all.
        title: of the page. lead: one sentence under it.
        facts: what the run was.
        directions: what was generated, with scores.
        examples: clips to watch.
        retrieval: what :func:`mvgen.evaluation.metrics.retrieval.retrieval` returned.
        history: lines of ``metrics.jsonl``.
        attention: ``CLIP/decoder`` to maps (:func:`mvgen.models.attention_maps.attention_maps`).

    Raises:
        UserError: the folder does not exist or cannot be written to.
    """
    write_page(
        path, title, _body(Path(path).parent, title, lead, facts, directions, examples, retrieval, history, attention)
    )


def write_page(path: str | os.PathLike[str], title: str, body: str, style: str = "") -> None:
    """Writes a whole HTML file around ``body``, in the house's style and what ``style`` adds to it.

    Raises:
        UserError: the folder does not exist or cannot be written to.
    """
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}{style}</style></head>\n<body><main>\n{body}\n</main><script>{SCRIPT}</script></body></html>\n"
    )
    write_text(path, page)


def _body(
    folder: Path,
    title: str,
    lead: str,
    facts: Sequence[Fact],
    directions: Sequence[Direction],
    examples: Sequence[Example],
    retrieval: Mapping[str, float] | None,
    history: Sequence[Mapping[str, Any]],
    attention: Mapping[str, np.ndarray] | None,
) -> str:
    parts = [f"<h1>{escape(title)}</h1>", f'<p class="lead">{escape(lead)}</p>']
    if facts:
        items = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in facts)
        parts.append(f"<dl>{items}</dl>")
    tiles = [tile(direction, *headline) for direction in directions for headline in direction.headlines]
    tiles += _retrieval_tiles(retrieval)
    if any(tiles):
        parts.append(f'<div class="tiles">{"".join(tiles)}</div>')
        parts.append('<p class="soft">The orange tick on a bar is the chance level.</p>')
    if examples:
        parts.append("<h2>Watch and listen</h2>")
        parts.append(
            "<p>Held-out clips that training has not seen: the first of each instrument by name, not the best ones. "
            "The notes are known, because the performances are composed by program.</p>"
        )
        parts += [figure(example, folder) for example in examples]
    for direction in directions:
        parts.append(f"<h2>{escape(direction.title)}</h2><p>{escape(direction.text)}</p>")
        parts.append(table(direction))
        parts.append(f'<p class="soft">{escape(conditions(direction.scores))}</p>')
    if retrieval:
        parts.append("<h2>Retrieval in the coordinated space</h2>")
        parts.append(_retrieval_table(retrieval))
    maps = "".join(
        f'<div class="panel"><h3>{escape(name)}</h3>{svg}</div>' for name, svg in attention_panels(attention or {})
    )
    if maps:
        parts.append("<h2>Where attention looks</h2>")
        parts.append(
            "<p>The first window of the first clip of each instrument. Each row is a time that attends, each column a "
            "time that is attended to; the diagonal is the same time. Means over layers and heads, each row against "
            "its largest value. What lies farther off than the model's attention window is hidden from it; if even: "
            "the share that even attention over all that is not hidden would have.</p>"
        )
        parts.append(f'<div class="panels">{maps}</div>')
    panels = "".join(f'<div class="panel"><h3>{escape(name)}</h3>{svg}</div>' for name, svg in curves(history))
    if panels:
        parts.append("<h2>Learning</h2>")
        parts.append(
            '<p class="soft"><span class="swatch" style="background:var(--accent);margin-left:0"></span>training'
            '<span class="swatch" style="background:var(--second)"></span>held-out</p>'
        )
        parts.append(f'<div class="panels">{panels}</div>')
    parts.append(_reading(directions))
    return "\n".join(parts)


def _reading(directions: Sequence[Direction]) -> str:
    """How to read the numbers; nothing where there are none."""
    if not directions:
        return ""
    met = list(dict.fromkeys(metric for direction in directions for metric in direction.metrics))
    items = "".join(
        f"<li><b>{escape(METRICS[metric].title)}</b>: {escape(METRICS[metric].meaning)}</li>" for metric in met
    )
    return (
        "<h2>How to read the numbers</h2><p>Large: the mean over held-out clips, with its 95 % bootstrap interval. "
        "<b>Chance</b>: the same score with each clip paired with another one of the same instrument. "
        "<b>Codec</b>: the original sound after one round trip through the codec, which no music made of its tokens "
        "can be expected to pass. <b>Original</b>: the same score of the original itself.</p>"
        f"<ul>{items}</ul><p>Exact definitions: docs/metrics.md.</p>"
    )


def _retrieval_tiles(retrieval: Mapping[str, float] | None) -> list[str]:
    if not retrieval:
        return []
    value, chance = retrieval["video_to_music_r1"], retrieval["chance_r1"]
    return [
        f'<div class="tile"><div class="large">{value:.2f}</div><div class="what">Retrieval R@1, video to music</div>'
        f'<div class="bar"><i style="width:{100 * value:.1f}%"></i><u style="left:{100 * chance:.1f}%"></u></div>'
        f'<div class="beside">chance&nbsp;{chance:.3f} &middot; pool of {retrieval["clips"]:.0f} clips</div>'
        '<div class="beside">Coordinated latent space</div></div>'
    ]


def _retrieval_table(retrieval: Mapping[str, float]) -> str:
    head = "<th></th><th>R@1</th><th>R@5</th><th>R@10</th><th>median rank</th>"
    rows = []
    for name, key in (("Video to music", "video_to_music"), ("Music to video", "music_to_video")):
        cells = "".join(
            f'<td><span class="mean">{retrieval[f"{key}_r{at}"]:.2f}</span>'
            f'<div class="beside">chance&nbsp;{retrieval[f"chance_r{at}"]:.3f}</div></td>'
            for at in (1, 5, 10)
        )
        rank = f'<td><span class="mean">{retrieval[f"{key}_median_rank"]:.1f}</span>'
        rank += f'<div class="beside">chance&nbsp;{(retrieval["clips"] + 1) / 2:.1f}</div></td>'
        rows.append(f'<tr><th scope="row">{name}</th>{cells}{rank}</tr>')
    offset = ""
    if "offset_right" in retrieval:
        offset = (
            f"<p>True offset found within a clip, among shifts of a second either way: "
            f"{retrieval['offset_right']:.2f} of clips (chance {retrieval['chance_offset']:.3f}).</p>"
        )
    return (
        f'<p class="soft">The pool is all {retrieval["clips"]:.0f} held-out clips; ties count against us.</p>'
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>{offset}'
    )
