"""What :mod:`mvgen.evaluation.robustness` measured, as tables in Markdown."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from mvgen.files import write_text

TITLES = {
    "video_to_music_r1": "R@1, picture to music",
    "music_to_video_r1": "R@1, music to picture",
    "offset": "offset within a frame",
    "belonging": "belonging, ROC area",
    "onset_f": "onset F",
    "note_f": "note F",
}
"""Every measure, in the order of the columns."""


def write_robustness(path: str | os.PathLike[str], results: Mapping[str, Any]) -> None:
    """Writes the tables, complete or not at all. Raises ``UserError`` where they cannot be written."""
    write_text(path, "\n".join(robustness_lines(results)) + "\n")


def robustness_lines(results: Mapping[str, Any]) -> Iterator[str]:
    """The page, line by line.

    Args:
        results: ``seconds``, ``seed``, ``sampling``, and ``sets``: of each ``windows``, ``generated``,
            ``same_pictures`` and ``measures`` (:meth:`mvgen.evaluation.robustness.Measured.summary`).
    """
    sets = results["sets"]
    first = next(iter(sets.values()))
    yield (
        f"{first['windows']} windows of {results['seconds']:g} s a set; music generated for {first['generated']} of "
        f"them ({_drawn(results['sampling'])}). In brackets 95 % intervals (bootstrap over windows). Chance: for "
        "retrieval one in all windows, for the offset 3 of 51 shifts, for generated music the notes of another window "
        "of the same instrument. Ceiling: the record's own tokens, decoded."
    )
    yield ""
    yield from _table("", sets, lambda found: _interval(found, 2))
    reference = first["measures"]
    yield from _row("*chance, first row*", [_number(reference[name]["chance"], 3) for name in TITLES])
    yield from _row("*ceiling, first row*", [_number(reference[name]["ceiling"], 2) for name in TITLES])
    changed = {name: found for name, found in sets.items() if found is not first}
    if changed:
        yield ""
        yield "Change from the first row, window by window:"
        yield ""
        yield from _table("", changed, lambda found: _interval(found["change"], 2, signed=True))
        same = [name for name, found in changed.items() if found["same_pictures"]]
        if same:
            yield ""
            yield (
                f"*{', '.join(same)}*: the pictures are those of the first row, to the bit, and so is the music made "
                "for them; only what is heard differs."
            )
    instruments = list(reference["onset_f"]["instruments"])
    yield ""
    yield f"By instrument ({' / '.join(instruments)}; gap between the best and the worst):"
    yield ""
    yield from _table("", sets, lambda one: f"{_instruments(one, instruments, 'mean')} ({_number(one['gap'], 2)})")
    yield ""
    yield "Chance and ceiling of generated music in each set; chance by instrument:"
    yield ""
    yield "| | onset F: chance | ceiling | note F: chance | ceiling |"
    yield "|---|---|---|---|---|"
    for name, found in sets.items():
        cells = []
        for measure in ("onset_f", "note_f"):
            entry = found["measures"][measure]
            cells += [f"{_number(entry['chance'], 2)} ({_instruments(entry, instruments, 'chance')})"]
            cells += [_number(entry["ceiling"], 2)]
        yield from _row(name, cells)


def _table(corner: str, sets: Mapping[str, Any], shown: Callable[[Any], str]) -> Iterator[str]:
    yield from _row(corner, list(TITLES.values()))
    yield "|---" * (1 + len(TITLES)) + "|"
    for name, found in sets.items():
        yield from _row(name, [shown(found["measures"][measure]) for measure in TITLES])


def _row(head: str, cells: Sequence[str]) -> Iterator[str]:
    yield f"| {head} | " + " | ".join(cells) + " |"


def _interval(found: Mapping[str, Any], digits: int, signed: bool = False) -> str:
    sign = "+" if signed else ""
    return f"{_number(found['mean'], digits, sign)} [{_number(found['low'], digits)}, {_number(found['high'], digits)}]"


def _instruments(found: Mapping[str, Any], instruments: Sequence[str], part: str) -> str:
    return " / ".join(_number(found["instruments"].get(name, {}).get(part), 2) for name in instruments)


def _number(value: float | None, digits: int, sign: str = "") -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:{sign}.{digits}f}"


def _drawn(sampling: Mapping[str, Any]) -> str:
    drawn = "greedy" if not sampling["temperature"] else f"temperature {sampling['temperature']:g}"
    return f"{drawn}, guidance {sampling['guidance']:g}"
