"""What a run has told of itself so far, read again from ``metrics.jsonl``: losses, evaluations, learning by heart."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

METRICS_FILE = "metrics.jsonl"


def read_history(workdir: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """All lines of ``WORKDIR/metrics.jsonl``; empty when there is none. A last line cut short by a kill is left out."""
    path = Path(workdir) / METRICS_FILE
    lines = path.read_text().splitlines() if path.is_file() else []
    history = []
    for number, line in enumerate(lines):
        try:
            history.append(json.loads(line))
        except ValueError:
            if number != len(lines) - 1:
                raise
    return history


class Evaluation(NamedTuple):
    """An evaluation on held-out records, and what was learned on before it.

    Attributes:
        step: steps done.
        held_out: the whole loss; infinite where it was not finite.
        training: mean of the whole loss over the training steps since the evaluation before; NaN where there are none.
    """

    step: int
    held_out: float
    training: float


def evaluations(history: Sequence[dict[str, Any]]) -> list[Evaluation]:
    """The evaluations of :func:`read_history`, in order."""
    found: list[Evaluation] = []
    since: list[float] = []
    for line in history:
        if "eval/loss" in line:
            held_out = line["eval/loss"]
            training = sum(since) / len(since) if since else math.nan
            found.append(Evaluation(line["step"], math.inf if held_out is None else held_out, training))
            since = []
        elif line.get("loss") is not None:
            since.append(line["loss"])
    return found


def lowest(found: Sequence[Evaluation], steps: Collection[int]) -> int | None:
    """Of these steps the one with the lowest held-out loss, the first of equals; ``None`` where none was evaluated."""
    among = [each for each in found if each.step in steps and math.isfinite(each.held_out)]
    return min(among, key=lambda each: each.held_out).step if among else None


def by_heart(found: Sequence[Evaluation]) -> str:
    """What to say where, since the best evaluation, training loss fell and held-out loss rose; else nothing.

    The two losses are each compared with themselves alone: training has augmentation and dropped conditions, which
    evaluation has not.
    """
    best = min(found, key=lambda each: each.held_out, default=None)
    if best is None or not (found[-1].held_out > best.held_out and found[-1].training < best.training):
        return ""
    return (
        f"learning by heart: since step {best.step} the loss of training clips fell from {best.training:.3f} to "
        f"{found[-1].training:.3f}, that of held-out clips rose from {best.held_out:.3f} to {found[-1].held_out:.3f}; "
        "more clips, or a lower config.optimizer.learning_rate, help"
    )
