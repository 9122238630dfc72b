"""Bad input is answered by one clear line on stderr and a non-zero exit, never by a traceback."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

LAST_SEED = 2**32 - 1
"""The largest seed: random keys are made of 32 bits, and larger ones would repeat the results of smaller ones."""


class UserError(Exception):
    """Something the user can mend. The message is one line: what is wrong, where, what to do."""


class CommandParser(argparse.ArgumentParser):
    """Answers a wrong command line with one line, as every other bad input; options are written in full."""

    def __init__(self, **settings: Any):
        super().__init__(**{**settings, "allow_abbrev": False})

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see `{self.prog} --help`")


def in_range(name: str, value: float, low: float, high: float) -> None:
    """Raises ``UserError`` where a number is not between two others, both included; "not a number" never is.

    Args:
        name: of the option or field.
    """
    if not low <= value <= high:
        raise UserError(f"{name} {value}: it must be a number from {low:g} to {high:g}")


def seed_in_range(name: str, seed: int) -> None:
    """Raises ``UserError`` where a seed is none."""
    if not 0 <= seed <= LAST_SEED:
        raise UserError(f"{name} {seed}: it must be a whole number from 0 to {LAST_SEED}")


def finite_fields(fields: Mapping[str, Any], name: str = "config") -> None:
    """Raises ``UserError``, with the field's name, where a number in a configuration is infinite or none at all."""
    for key, value in fields.items():
        if isinstance(value, Mapping):
            finite_fields(value, f"{name}.{key}")
        elif isinstance(value, (list, tuple)):
            finite_fields({str(number): each for number, each in enumerate(value)}, f"{name}.{key}")
        elif isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{name}.{key} is {value}; it must be a finite number")


def run_command(command: Callable[[], int | None]) -> None:
    """Runs a command line's main function and exits.

    ``UserError`` becomes one line on stderr and exit status 2; ctrl-C exits 130; anything else is a bug and keeps its
    traceback. What a terminal cannot show, such as the names of files in another coding, is printed as escapes.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = command()
    except UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        status = 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        status = 130
    sys.exit(status or 0)


def without_extra(error: ModuleNotFoundError, extra: str, name: str) -> NoReturn:
    """What a module does when its own imports fail for want of an extra: says which, in one line.

    Args:
        error: what the import raised. One for a module of ours is a bug, and raised again.
        extra: the extra of ``setup.py`` that brings what is missing.
        name: the module's ``__name__``; a command exits with status 2, an import raises ``ImportError``.
    """
    missing = (error.name or "").partition(".")[0]
    if missing in ("", "mvgen", "data_prep"):
        raise error
    line = f"{missing} is not installed: it comes with `pip install 'mvgen[{extra}]'`"
    if name == "__main__":
        if {"-h", "--help"} & set(sys.argv[1:]):  # what it does is told all the same
            print(f"{sys.modules[name].__doc__}\n{line}, with which --help lists all options")
            sys.exit(0)
        print(f"error: {line}", file=sys.stderr)
        sys.exit(2)
    raise ImportError(line, name=error.name) from error
