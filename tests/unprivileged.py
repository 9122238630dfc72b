"""Work done as a user without rights: root, as which tests often run, may read and write everything."""

from __future__ import annotations

import os
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65_534


@contextmanager
def open_folder() -> Iterator[Path]:
    """A new folder that every user may enter and write (pytest's own is for its user alone)."""
    folder = Path(tempfile.mkdtemp(prefix="mvgen-test-"))
    folder.chmod(0o777)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def as_nobody(work: Callable[[], object]) -> str:
    """Runs a function in a process of a user without rights; returns ``TypeName: message`` of what it raised, or ""."""
    receiving, sending = os.pipe()
    child = os.fork()
    if not child:
        told = ""
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            work()
        except BaseException as error:
            told = f"{type(error).__name__}: {error}"
            traceback.print_exc()
        os.write(sending, told.encode("utf-8", "backslashreplace"))
        os._exit(0)
    os.close(sending)
    with os.fdopen(receiving, "rb") as pipe:
        told = pipe.read().decode()
    os.waitpid(child, 0)
    return told
