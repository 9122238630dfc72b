"""A folder that is built aside and takes its place whole, by one run at a time.

Beside the target ``OUT`` stand, while a run is at work, ``OUT.lock`` and ``OUT.partial-PID``; ``OUT.old-PID`` for the
moment of the exchange. A run that is killed leaves them behind; the next one takes them away.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mvgen.data.records import DESCRIPTION_FILE
from mvgen.errors import UserError
from mvgen.files import locked


@contextmanager
def replacing_folder(out: str | os.PathLike[str]) -> Iterator[Path]:
    """A new folder beside ``out`` to build in; at the end it takes the place of ``out``, after an error it vanishes.

    Where ``out`` is a link, what it leads to is replaced.

    Raises:
        UserError: ``out`` exists and is neither empty nor a folder of records, so replacing it would destroy something;
            another run is at work on it; or nothing can be written there.
    """
    target = Path(os.path.realpath(out))
    try:
        made = _parents(target)
    except OSError as error:
        raise UserError(f"{out} cannot be made: {error.strerror}") from None
    try:
        with ExitStack() as stack:
            try:
                place = target.with_name(f"{target.name}.lock")
                alone = stack.enter_context(locked(place, os.fspath(out), "name another folder with --out"))
            except OSError as error:
                raise UserError(f"{out} cannot be made: {error.strerror}") from None
            if alone:
                _clear_leftovers(target)
            if target.exists() and not (target / DESCRIPTION_FILE).is_file():
                if not target.is_dir() or any(target.iterdir()):
                    raise UserError(f"{out} exists and is not a folder of records; name another folder with --out")
            partial = target.with_name(f"{target.name}.partial-{os.getpid()}")
            old = target.with_name(f"{target.name}.old-{os.getpid()}")
            try:
                partial.mkdir()
            except OSError as error:
                raise UserError(f"{out} cannot be made: {error.strerror}") from None
            try:
                yield partial
                if target.exists():
                    os.replace(target, old)
                os.replace(partial, target)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
                shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        for parent in made:
            if not any(parent.iterdir()):
                parent.rmdir()
        raise


def _parents(target: Path) -> list[Path]:
    """Makes the folder that ``target`` lies in; returns what had to be made, the deepest first."""
    missing = [parent for parent in target.parents if not parent.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    return missing


def _clear_leftovers(target: Path) -> None:
    """Takes away what killed runs left. Between its two renamings a run leaves no target, but the old one: put back."""
    named = re.compile(re.escape(target.name) + r"\.(partial|old)-\d+")
    left = [path for path in target.parent.iterdir() if named.fullmatch(path.name) and path.is_dir()]
    for path in left:
        if not target.exists() and path.name.startswith(f"{target.name}.old-"):
            os.replace(path, target)
        else:
            shutil.rmtree(path, ignore_errors=True)
