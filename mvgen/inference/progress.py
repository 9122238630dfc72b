"""How far a long work is, told to whoever asks: a bar in a terminal, or a function of the caller's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
Progress = bool | Callable[[int, int], None]
"""True: a bar on stderr. False: nothing is told. A function is called with how many of how many steps are done, before
each step and at the end; what it raises ends the work, and nothing is left of it."""


def told(items: Sequence[Item], what: str, progress: Progress) -> Iterator[Item]:
    """The items, one after another, while it is told how far they are.

    Args:
        what: is being made, for the bar.
    """
    if not callable(progress):
        yield from tqdm(items, what, disable=not progress)
        return
    for done, item in enumerate(items):
        progress(done, len(items))
        yield item
    progress(len(items), len(items))
