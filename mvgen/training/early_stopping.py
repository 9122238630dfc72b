"""Early stopping: a run ends when held-out loss has not fallen for so many evaluations, and its best state is kept.

That is the criterion UP of Prechelt, "Early stopping - but when?" (1998), over single evaluations. The losses are those
of ``metrics.jsonl``, so a run that was stopped and goes on decides as one that was not.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from mvgen.training.history import Evaluation, by_heart, evaluations, lowest, read_history


class EarlyStopping:
    """Watches the evaluations of a run.

    Args:
        patience: evaluations in a row without a lower loss that end the run; 0: none do, and nothing is watched.
        workdir: of the run, whose earlier evaluations count.
        newest: steps of its newest checkpoint; what was evaluated later is done again.
    """

    def __init__(self, patience: int, workdir: Path, newest: int):
        self.patience = patience
        known = evaluations(read_history(workdir)) if patience else []
        self.found = [each for each in known if each.step <= newest]

    def take(self, step: int, held_out: float, training: float) -> bool:
        """Takes an evaluation; whether it is the best so far. See :class:`mvgen.training.history.Evaluation`."""
        self.forget_after(step - 1)
        self.found.append(Evaluation(step, held_out, training))
        return bool(self.patience) and self.best() == step

    def best(self, among: Collection[int] | None = None) -> int | None:
        """The step of the lowest held-out loss, of all or of these steps; ``None`` where there is none."""
        return lowest(self.found, {each.step for each in self.found} if among is None else among)

    def is_over(self) -> bool:
        """Whether the run is to end."""
        best = self.best()
        since = [each for each in self.found if best is not None and each.step > best]
        return bool(self.patience) and len(since) >= self.patience

    def forget_after(self, step: int) -> None:
        """Drops evaluations of later steps, which are taken anew."""
        self.found = [each for each in self.found if each.step <= step]

    def warning(self) -> str:
        """That the run learns by heart, where it does."""
        return by_heart(self.found) if self.patience else ""

    def summary(self) -> str:
        """What the run reached, in two lines, and how it is told beside chance; empty where nothing was evaluated."""
        best = next((each for each in self.found if each.step == self.best()), None)
        if best is None:
            return ""
        first, last = self.found[0], self.found[-1]
        before = f"{first.held_out:.3f} before the first step, " if first.step == 0 else ""
        end = f", {last.held_out:.3f} at step {last.step}" if last is not best else ""
        kept = "what it began with, so these steps taught it nothing" if best.step == 0 else "kept, and used from here"
        return (
            f"held-out loss {before}{best.held_out:.3f} at step {best.step} ({kept}){end}\n"
            "beside chance: the same command with --mode=eval"
        )


def best_saved(workdir: Path, steps: Collection[int]) -> int | None:
    """Of the saved steps of a run that stops early the one with the lowest held-out loss, if one was evaluated."""
    return lowest(evaluations(read_history(workdir)), steps)
