"""Bad input is answered by one clear line on stderr and a non-zero exit, never by a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NoReturn


class UserError(Exception):
    """Something the user can mend. The message is one line: what is wrong, where, what to do."""


def run_command(command: Callable[[], int | None]) -> None:
    """Runs a command line's main function and exits.

    ``UserError`` becomes one line on stderr and exit status 2; ctrl-C exits 130; anything else is a bug and keeps its
    traceback.
    """
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
    line = f"{missing} is not installed: it comes with `pip install -e .[{extra}]`"
    if name == "__main__":
        print(f"error: {line}", file=sys.stderr)
        sys.exit(2)
    raise ImportError(line, name=error.name) from error
