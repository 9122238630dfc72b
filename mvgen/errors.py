"""Bad input is answered by one clear line on stderr and a non-zero exit, never by a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable


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
