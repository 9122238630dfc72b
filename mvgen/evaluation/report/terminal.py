"""What an evaluation of folders found, as lines of text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from mvgen.evaluation.metrics.table import lines


def report_lines(scores: dict[str, Any]) -> Iterable[str]:
    """What :func:`mvgen.evaluation.folders.evaluate_folders` returned, as lines of text for a terminal."""
    seconds = scores["seconds"]
    sizes = ", ".join(f"{width}x{height}" for height, width in scores["picture_sizes"]) or "no picture"
    rates = ", ".join(f"{rate:g}" for rate in scores["native_frame_rates"]) or "-"
    yield (
        f"{scores['clips']} clips of {seconds['shortest']:.2f} to {seconds['longest']:.2f} s; pictures compared at "
        f"{sizes}, {scores['frame_rate']} frames/s (own rates: {rates})"
    )
    yield (
        f"chance: the same score over shuffled pairs {scores['shuffled_pairs']} (seed {scores['seed']}); "
        "original: the original's own score"
    )
    if scores["only_in_reference"]:
        yield f"without a generated video: {_some(scores['only_in_reference'])}"
    if scores["only_in_generated"]:
        yield f"without an original: {_some(scores['only_in_generated'])}"
    for entry in scores["refused"]:
        yield f"refused {entry['name']}: {entry['reason']}"
    yield ""
    yield from lines(scores["summary"])
    if scores["loris"]:
        yield ""
    yield from _loris_lines(scores)
    yield ""
    yield from scores["weighted"]["lines"]
    yield from scores.get("readers", {}).get("lines", ())


def _loris_lines(scores: dict[str, Any]) -> Iterable[str]:
    for group, values in scores["loris"].items():
        yield f"LORIS, {group}: " + ", ".join(f"{name.upper()} {_short(value)}" for name, value in values.items())


def _short(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "-"


def _some(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
