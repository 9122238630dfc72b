"""Where a run's time goes, over all its starts: how much of it moved the model on.

``WORKDIR/goodput.jsonl`` gets one line each time something is reported: the step, the time by the clock on the wall,
and the seconds since the line before by what they went into. *Goodput* is the share of all time since the first start
that went into steps which count: not setting up, waiting for data, compiling, saving or evaluating, not the time
between a kill and the next start, and not steps that a kill lost, which were done again.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FILE = "goodput.jsonl"
KINDS = ("init", "compile", "data", "train", "save", "evaluate")
"""``train``: the steps themselves, with the waiting for their numbers."""


class Goodput:
    """Keeps the log of one start. Create it where there is one (process 0); ``workdir`` ``None``: nothing is kept.

    Args:
        workdir: where ``goodput.jsonl`` is.
        clock: seconds since whenever, for tests.
        wall: seconds since 1970, for tests.
    """

    def __init__(
        self,
        workdir: str | os.PathLike[str] | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ):
        self._clock, self._wall = clock, wall
        self._last = clock()
        self._spent = dict.fromkeys(KINDS, 0.0)
        self._path = None if workdir is None else Path(workdir) / FILE

    def spent(self, kind: str) -> None:
        """All time since the last call went into this."""
        now = self._clock()
        self._spent[kind] += now - self._last
        self._last = now

    @contextmanager
    def on(self, kind: str, rest: str = "train") -> Iterator[None]:
        """What happens inside is of this kind, what happened before it of the kind ``rest``."""
        self.spent(rest)
        try:
            yield
        finally:
            self.spent(kind)

    def write(self, step: int, event: str = "") -> None:
        """Writes a line: ``step`` is the last one done; ``event``: "start", "rollback", "end", or nothing."""
        line: dict[str, Any] = {"time": round(self._wall(), 3), "step": step}
        if event:
            line["event"] = event
        line |= {kind: round(seconds, 4) for kind, seconds in self._spent.items() if seconds}
        self._spent = dict.fromkeys(KINDS, 0.0)
        if self._path is not None:
            try:
                with open(self._path, "a") as file:
                    file.write(json.dumps(line) + "\n")
            except OSError:
                pass  # a full disk must not end the run for the sake of its log


def summary(workdir: str | os.PathLike[str]) -> dict[str, float]:
    """Seconds by kind, ``lost`` (steps done and lost), ``down`` (between two starts), ``total`` and ``goodput``.

    ``starts`` is how often the run was started. Empty where there is no log. A line cut short by a kill is left out.
    """
    path = Path(workdir) / FILE
    if not path.is_file():
        return {}
    lines = []
    for text in path.read_text().splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    found = dict.fromkeys((*KINDS, "lost", "down"), 0.0)
    starts, before = 0, None
    # Of lines not known to be lost: the last step, and the seconds that its steps took.
    counted: list[tuple[int, float]] = []
    for line in lines:
        spent = {kind: line.get(kind, 0.0) for kind in KINDS}
        if line.get("event") in ("start", "rollback"):
            starts += line["event"] == "start"
            # What this start does not account for, it was not there.
            if before is not None and line["event"] == "start":
                found["down"] += max(0.0, line["time"] - before - sum(spent.values()))
            while counted and counted[-1][0] > line["step"]:
                found["lost"] += counted.pop()[1]
        if spent["train"]:
            counted.append((line["step"], spent["train"]))
        for kind, seconds in spent.items():
            found[kind] += seconds
        before = line["time"]
    total = sum(found[kind] for kind in KINDS) + found["down"]
    return {**found, "starts": starts, "total": total,
            "goodput": (found["train"] - found["lost"]) / total if total else 0.0}  # fmt: skip


def told(found: dict[str, float]) -> str:
    """The summary in a line."""
    parts = [f"{kind} {found[kind]:.1f} s" for kind in (*KINDS, "lost", "down") if found[kind] >= 0.05]
    of = f"{found['total']:.1f} s in {found['starts']:.0f} start(s)"
    return f"goodput {found['goodput']:.1%} of {of}: {', '.join(parts)}"
