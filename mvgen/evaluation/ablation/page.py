"""The page of an ablation: a table and a plot, each variant's gain beside the spread over seeds, and its verdict."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import matplotlib
from matplotlib.figure import Figure

from mvgen.errors import UserError
from mvgen.evaluation.ablation.variants import BASE, PARTS, Variant
from mvgen.files import write_text

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
HEAD = """# Alignment: what each part of the method brings

Every part of the base configuration switched off alone, trained alike at full length, measured alike.

"""
INK, SOFT, LINE, ACCENT, SECOND, PAPER = "#1b1d22", "#646a75", "#e3e4e0", "#2f6f6a", "#c2602c", "#fbfbf9"


class Column(NamedTuple):
    """A figure of a set: which set, which measure, how it is headed, and which way is better (1 higher, -1 lower)."""

    set: str
    measure: str
    title: str
    better: int = 1


FIRST = (
    Column("plain", "cross_entropy", "cross-entropy", -1),
    Column("plain", "video_to_music_r1", "R@1"),
    Column("plain", "offset", "offset"),
    Column("plain", "onset_f", "onset F"),
    Column("plain", "note_f", "note F"),
)
"""Columns of the plain set; changed sets add their onset F and note F."""
DECIDING = ("onset_f", "note_f")
"""What a part must bring to stay: music that starts when it should, and the right notes."""


def columns_of(sets: Sequence[str]) -> list[Column]:
    """Every column of a page about these sets, the plain one first."""
    return [*FIRST, *(Column(name, "note_f", f"note F, {name}") for name in sets if name != "plain")]


Results = Mapping[str, list[Mapping[str, Any]]]
"""By variant, what was measured from each seed."""


def write_page(
    path: str | os.PathLike[str], tried: Sequence[Variant], results: Sequence[Mapping[str, Any]], facts: str
) -> None:
    """Writes the page and its plot (``NAME.svg`` beside it). Of an old page only what is between the marks changes.

    Args:
        path: the page.
        tried: all variants; those without a result are named as missing.
        results: of each training ``variant``, ``seed``, ``seconds`` and ``scores``
            (:func:`mvgen.evaluation.ablation.measures.measure`).
        facts: how it was made, in Markdown.

    Raises:
        UserError: it cannot be written.
    """
    page = Path(path)
    rows = {variant.name: _of(variant.name, results) for variant in tried}
    rows = {name: found for name, found in rows.items() if found}
    text = "\n".join([facts, "", *figures(tried, rows, page.with_suffix(".svg").name)])
    try:
        before = page.read_text(encoding="utf-8") if page.is_file() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {page}: {error}") from None
    head, begin, rest = before.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        head, tail = HEAD, "\n"
    write_text(page, f"{head}{BEGIN}\n{text}\n{END}{tail}")
    if rows:
        write_text(page.with_suffix(".svg"), plot(tried, rows))


def _of(name: str, results: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted((result for result in results if result["variant"] == name), key=lambda result: result["seed"])


def values(found: Sequence[Mapping[str, Any]], column: Column, part: str = "mean") -> list[float]:
    """A figure from each seed that has it."""
    got = [result["scores"].get(column.set, {}).get(column.measure, {}).get(part) for result in found]
    return [value for value in got if value is not None]


class Gain(NamedTuple):
    """What a part brings in one figure: its mean with the part less its mean without (positive is better), the spread
    over seeds (the larger of the two ranges; ``None`` for one seed), and how many seeds both have."""

    gain: float
    spread: float | None
    seeds: int

    @property
    def verdict(self) -> str:
        """ "ahead" or "behind" by more than the spread over seeds, else "level"; "?" for one seed."""
        if self.spread is None:
            return "?"
        return "level" if abs(self.gain) <= self.spread else "ahead" if self.gain > 0 else "behind"


def gain_of(base: Sequence[Mapping[str, Any]], off: Sequence[Mapping[str, Any]], column: Column) -> Gain | None:
    """What the base has over a variant without a part, over the seeds that both have."""
    seeds = {result["seed"] for result in base} & {result["seed"] for result in off}
    with_it, without = (values([r for r in found if r["seed"] in seeds], column) for found in (base, off))
    if not with_it or len(with_it) != len(without):
        return None
    spread = max(max(found) - min(found) for found in (with_it, without)) if len(with_it) > 1 else None
    return Gain(column.better * (mean(with_it) - mean(without)), spread, len(with_it))


def verdict(base: Sequence[Mapping[str, Any]], off: Sequence[Mapping[str, Any]]) -> str:
    """Whether a part has earned its place: ahead in a deciding figure of the plain set, and behind in none."""
    found = [gain_of(base, off, column) for column in FIRST if column.measure in DECIDING]
    words = {gain.verdict for gain in found if gain is not None}
    if not words or "?" in words:
        return "one seed"
    return "behind" if "behind" in words else "ahead" if "ahead" in words else "level"


def _cell(found: Sequence[Mapping[str, Any]], column: Column) -> str:
    """The mean over seeds, and beside it the smallest and the largest."""
    got = values(found, column)
    if not got:
        return "-"
    spread = f" ({min(got):.2f} .. {max(got):.2f})" if len(got) > 1 else ""
    return f"{mean(got):.2f}{spread}"


def _sets(rows: Results) -> list[str]:
    return list(dict.fromkeys(name for found in rows.values() for result in found for name in result["scores"]))


def figures(tried: Sequence[Variant], rows: Results, plot_name: str) -> list[str]:
    """The part of the page between its marks, line by line."""
    if BASE not in rows:
        return ["**The base has not been measured yet.** The same command goes on."]
    columns, base = columns_of(_sets(rows)), rows[BASE]
    lines = [f"![each variant's figures]({plot_name})", "",
             "*A dot a seed; orange: chance; grey: the base; dotted: the codec's ceiling.*", "",
             f"| | {' | '.join(column.title for column in columns)} | gain, note F | verdict | seeds | minutes |",
             "|---|" + "---|" * (len(columns) + 4)]  # fmt: skip
    note_f = next(column for column in FIRST if column.measure == "note_f")

    def row(told: str, found: Sequence[Mapping[str, Any]], variant: Variant | None) -> str:
        gain = gain_of(base, found, note_f) if variant else None
        shown = "" if gain is None else f"{gain.gain:+.3f}" + ("" if gain.spread is None else f" ({gain.spread:.3f})")
        judged = verdict(base, found) if variant else ""
        minutes = mean(result["seconds"]["train"] for result in found) / 60
        cells = [_cell(found, column) for column in columns]
        return f"| {told} | {' | '.join(cells)} | {shown} | {judged} | {len(found)} | {minutes:.1f} |"

    lines.append(row("**base**", base, None))
    chances = [values(base, column, "chance") for column in columns]
    lines.append(f"| *chance* | {' | '.join(f'{mean(c):.2f}' if c else '-' for c in chances)} | | | | |")
    ceilings = [values(base, column, "ceiling") for column in columns]
    lines.append(f"| *ceiling (codec)* | {' | '.join(f'{mean(c):.2f}' if c else '-' for c in ceilings)} | | | | |")
    for part in PARTS:
        for variant in tried:
            if variant.part == part and variant.name in rows:
                lines.append(row(variant.told, rows[variant.name], variant))
    waiting = [f"{variant.name} ({variant.told})" for variant in tried if variant.name not in rows]
    if waiting:
        lines += ["", f"**Not tried so far**: {'; '.join(waiting)}. The same command goes on with them."]
    return lines


def plot(tried: Sequence[Variant], rows: Results) -> str:
    """SVG: a row a variant, a panel a figure; a dot a seed, chance as an orange tick, the base as a line."""
    order = [(variant.told, variant.name) for part in ("", *PARTS) for variant in tried
             if variant.part == part and variant.name in rows]  # fmt: skip
    columns = columns_of(_sets(rows))
    style: Any = {"svg.fonttype": "none", "svg.hashsalt": "ablation", "font.family": "sans-serif", "font.size": 8}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(3 + 1.25 * len(columns), 0.9 + 0.22 * len(order)), layout="constrained")
        figure.set_facecolor(PAPER)
        for axes, column in zip(figure.subplots(1, len(columns), sharey=True), columns, strict=True):
            base = values(rows.get(BASE, []), column)
            if base:
                axes.axvline(mean(base), color=LINE, linewidth=4, zorder=0)
            for at, (_, name) in enumerate(order):
                got = values(rows[name], column)
                axes.plot(got, [at] * len(got), "o", color=ACCENT, markersize=4.5, alpha=0.8)
                chance = values(rows[name], column, "chance")
                if chance:
                    axes.plot([mean(chance)], [at], "|", color=SECOND, markersize=8, markeredgewidth=1.8)
            ceiling = values(rows.get(BASE, []), column, "ceiling")
            if ceiling:
                axes.axvline(mean(ceiling), color=SOFT, linewidth=0.8, linestyle=":")
            axes.set_title(column.title, fontsize=8, color=INK)
            axes.set_facecolor(PAPER)
            axes.tick_params(colors=SOFT, length=0)
            axes.grid(axis="x", color=LINE, linewidth=0.6)
            axes.spines[:].set_visible(False)
            if column.measure != "cross_entropy":
                axes.set_xlim(-0.03, 1.03)
        first = figure.axes[0]
        first.set_yticks(range(len(order)), [label for label, _ in order])
        first.set_ylim(len(order) - 0.5, -0.5)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None}, facecolor=PAPER)
    return buffer.getvalue()
