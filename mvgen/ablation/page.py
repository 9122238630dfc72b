"""The page of an ablation: a table for each question and one plot, with chance levels, and how small it all was."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from ml_collections import ConfigDict

from mvgen.ablation.variants import QUESTIONS, SAME_AS_BASE, SHOWN_TOO, Variant
from mvgen.errors import UserError

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
HEAD = """# Alignment: what each choice does

How music follows the picture, and by which mechanism: every choice of the model changed alone, trained alike, measured
alike.

"""
MEASURES = (
    ("music", "Cross-entropy, nats a token (lower is better)", None),
    ("r1", "Retrieval R@1", "r1_chance"),
    ("offset", "Offset exact", "offset_chance"),
    ("onset_f", "Onset F of generated music", "onset_f_chance"),
)
INK, SOFT, LINE, ACCENT, SECOND, PAPER = "#1b1d22", "#646a75", "#e3e4e0", "#2f6f6a", "#c2602c", "#fbfbf9"


def write_page(
    path: str | os.PathLike[str],
    tried: Sequence[Variant],
    results: Sequence[Mapping[str, Any]],
    ceiling: Mapping[str, Any],
    config: ConfigDict,
    facts: Mapping[str, Any],
) -> None:
    """Writes the page and its plot (``NAME.svg`` beside it). Of an old page only what is between the marks changes.

    Args:
        path: the page.
        tried: all variants; those without a result are left out.
        results: what :func:`mvgen.ablation.measures.measure` gave, with ``variant``, ``seed``, ``seconds``.
        ceiling: onset F (``f``) of the codec's round trip and its ``chance``.
        config: the base.
        facts: ``records``, ``seconds`` of a window, ``config``.

    Raises:
        UserError: it cannot be written.
    """
    page = Path(path)
    rows = {variant.name: _rows(variant.name, results) for variant in tried}
    rows = {name: found for name, found in rows.items() if found}
    svg = page.with_suffix(".svg")
    text = "\n".join(_figures(tried, rows, ceiling, config, facts, svg.name))
    try:
        before = page.read_text(encoding="utf-8") if page.is_file() else ""
        head, begin, rest = before.partition(BEGIN)
        _, end, tail = rest.partition(END)
        if not (begin and end):
            head, tail = HEAD, "\n"
        _replace(page, f"{head}{BEGIN}\n{text}\n{END}{tail}")
        if rows:
            _replace(svg, plot(tried, rows, ceiling))
    except OSError as error:
        raise UserError(f"cannot write {page}: {error.strerror}") from None


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _rows(name: str, results: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted((result for result in results if result["variant"] == name), key=lambda result: result["seed"])


def _values(found: Sequence[Mapping[str, Any]], measure: str) -> list[float]:
    return [result["scores"][measure] for result in found if result["scores"].get(measure) is not None]


def _shown(found: Sequence[Mapping[str, Any]], measure: str) -> str:
    """The mean over seeds, and beside it the smallest and the largest."""
    values = _values(found, measure)
    if not values:
        return "-"
    spread = f" ({min(values):.2f} .. {max(values):.2f})" if len(values) > 1 else ""
    return f"{mean(values):.2f}{spread}"


def _order(tried: Sequence[Variant]) -> list[tuple[str, list[Variant]]]:
    return [(question, [variant for variant in tried if variant.question == question]) for question in QUESTIONS]


def _figures(
    tried: Sequence[Variant],
    rows: Mapping[str, list[Mapping[str, Any]]],
    ceiling: Mapping[str, Any],
    config: ConfigDict,
    facts: Mapping[str, Any],
    plot_name: str,
) -> list[str]:
    model, records, anything = config.model, facts["records"], next(iter(rows.values()), None)
    if anything is None:
        return ["No result yet."]
    scores = anything[0]["scores"]
    every = [result for found in rows.values() for result in found]
    seeds = sorted({result["seed"] for result in every})
    millions = sorted(result["parameters"] / 1e6 for result in every)
    minutes = sum(sum(result["seconds"].values()) for result in every) / 60
    windows, made = scores["windows"], scores["generated"]
    error = 100 * (0.25 / windows) ** 0.5
    lines = [
        f"Written by `python -m mvgen.ablate` from {facts['config']}: {len(every)} trainings, seeds "
        f"{', '.join(map(str, seeds))}, {minutes:.0f} minutes in all.",
        "",
        f"**How small this is**: width {model.width}, {millions[0]:.1f} to {millions[-1]:.1f} M parameters, "
        f"{config.train.steps} steps of {config.data.batch_size} windows of {facts['seconds']:g} s, {records['train']} "
        f"training records, codec {records['codec']}; measured on {windows} windows of {records['held_out']} held-out "
        f"records, with music generated for {made} of them. A share of {windows} windows is known to about "
        f"{error:.0f} percentage points (one standard error, at one half).",
        "",
        f"**Chance**: retrieval {_plain(scores['r1_chance'])}; offset, exact among 51 shifts, "
        f"{_plain(scores['offset_chance'])}. Onset F: beside each, the same against the notes of another window of the "
        f"same instrument. **Ceiling**: onset F of the codec's own round trip {_plain(ceiling['f'])} (chance "
        f"{_plain(ceiling['chance'])}). **Other picture**: the cross-entropy when another clip of the same instrument "
        "is seen; what is lost there is what the decoder took from the picture.",
        "",
        f"![each variant's four measures]({plot_name})",
        "",
        "*A dot a seed; orange: chance, in the first panel the other picture; grey: the base; dotted: the ceiling.*",
    ]
    columns = ["cross-entropy", "other picture", "R@1", "offset exact", "onset F", "its chance"]
    keys = ["music", "music_other", "r1", "offset", "onset_f", "onset_f_chance"]
    for question, group in _order(tried):
        shown = [(f"{variant.told}", rows[variant.name]) for variant in group if variant.name in rows]
        if SAME_AS_BASE.get(question) and "base" in rows:
            shown.insert(0, (f"{SAME_AS_BASE[question]} (base)", rows["base"]))
        if question in SHOWN_TOO and SHOWN_TOO[question][0] in rows:
            shown.append((SHOWN_TOO[question][1], rows[SHOWN_TOO[question][0]]))
        if not shown or (len(shown) == 1 and SAME_AS_BASE.get(question)):
            continue
        lines += [
            "",
            f"## {question}",
            "",
            f"| | {' | '.join(columns)} | minutes |",
            "|---|" + "---|" * (len(keys) + 1),
        ]
        for told, found in shown:
            spent = mean(result["seconds"]["train"] for result in found) / 60
            cells = [_shown(found, key) for key in keys]
            lines.append(f"| {told} | {' | '.join(cells)} | {spent:.1f} |")
    waiting = [f"{variant.name} ({variant.told})" for variant in tried if variant.name not in rows]
    if waiting:
        lines += ["", f"**Not tried so far**: {'; '.join(waiting)}. The same command goes on with them."]
    return lines


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def plot(tried: Sequence[Variant], rows: Mapping[str, list[Mapping[str, Any]]], ceiling: Mapping[str, Any]) -> str:
    """SVG: a row a variant, a panel a measure; a dot a seed, chance as an orange tick, the base as a line."""
    order: list[tuple[str, str | None]] = []  # label, variant
    for question, group in _order(tried):
        present = [variant for variant in group if variant.name in rows]
        if present:
            order.append((question, None))
            order += [(variant.told, variant.name) for variant in present]
    height = 0.6 + 0.2 * len(order)
    style: Any = {"svg.fonttype": "none", "svg.hashsalt": "ablation", "font.family": "sans-serif", "font.size": 8}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(10.5, height), layout="constrained", facecolor=PAPER)
        panels = figure.subplots(1, len(MEASURES), sharey=True)
        for axes, (key, title, chance) in zip(panels, MEASURES, strict=True):
            base = _values(rows.get("base", []), key)
            if base:
                axes.axvline(mean(base), color=LINE, linewidth=4, zorder=0)
            for at, (_, name) in enumerate(order):
                if name is None:
                    continue
                values = _values(rows[name], key)
                axes.plot(values, [at] * len(values), "o", color=ACCENT, markersize=4.5, alpha=0.8)
                compared = _values(rows[name], chance or "music_other")
                if compared:
                    axes.plot([mean(compared)], [at], "|", color=SECOND, markersize=8, markeredgewidth=1.8)
            if key == "onset_f" and ceiling.get("f") is not None:
                axes.axvline(ceiling["f"], color=SOFT, linewidth=0.8, linestyle=":")
            axes.set_title(title, fontsize=8, color=INK)
            axes.set_facecolor(PAPER)
            axes.tick_params(colors=SOFT, length=0)
            axes.grid(axis="x", color=LINE, linewidth=0.6)
            axes.spines[:].set_visible(False)
            if key != "music":
                axes.set_xlim(-0.03, 1.03)
        panels[0].set_yticks(range(len(order)), [label for label, _ in order])
        panels[0].set_ylim(len(order) - 0.5, -0.5)
        for label, (_, name) in zip(panels[0].get_yticklabels(), order, strict=True):
            label.set_color(SOFT if name else INK)
            label.set_fontweight("normal" if name else "bold")
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None}, facecolor=PAPER)
    return buffer.getvalue()
