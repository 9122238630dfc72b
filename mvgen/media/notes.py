"""Notes: what a reader did to a file that is not quite as it should be, in a line for the user.

They go through Python's ``logging`` (logger ``mvgen.media``), hence to stderr where a program says nothing else;
:func:`collected` takes those of a stretch of work, as ``convert`` does to write them into its manifest.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

_logger = logging.getLogger("mvgen.media")


def note(line: str) -> None:
    """Tells the user, who need do nothing: what was found, where, and what was made of it."""
    _logger.warning("note: %s", " ".join(line.split()))


@contextmanager
def collected() -> Iterator[list[str]]:
    """The notes of a ``with`` block, each once, without "note: "; none of them is printed."""
    lines: list[str] = []

    def take(record: logging.LogRecord) -> bool:
        line = record.getMessage().removeprefix("note: ")
        if line not in lines:
            lines.append(line)
        return False

    _logger.addFilter(take)
    try:
        yield lines
    finally:
        _logger.removeFilter(take)
