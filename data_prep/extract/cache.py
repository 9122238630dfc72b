"""Costly results, kept per clip under a key made of content and settings.

A key is a hash of the file's bytes, of the settings that matter to this result and of a format number: a second run
redoes nothing, a killed run goes on, another flow setting leaves tokens alone, and a changed file is a new file.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import socket
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mvgen.errors import UserError

FORMAT = 5
"""Raised whenever the code that makes cached results changes what it makes."""

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""What says that the disk written to is at fault, not the clip."""


def disk_error(error: BaseException) -> str | None:
    """Why the disk cannot be written to, when that is what an error says; None for any other error.

    Also where a library has put the error into the text of one of its own, as Beam does.
    """
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        return os.strerror(error.errno)
    text = str(error)
    return next((os.strerror(number) for number in DISK_ERRORS if f"[Errno {number}]" in text), None)


class Cache:
    """A folder of results. Safe for several processes and machines: results appear whole or not at all.

    While a result is made it lies beside its place as ``.HOST.PID.NUMBER.ENDING``, so that what killed processes left
    can be told from what is in the making.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = Path(folder)

    def place(self, content: str, kind: str, settings: Mapping[str, Any], ending: str) -> Path:
        """Where the result of this kind for this content and these settings lies, or would lie."""
        told = json.dumps([FORMAT, content, kind, dict(settings)], sort_keys=True)
        key = hashlib.sha256(told.encode()).hexdigest()[:40]
        return self.folder / key[:2] / f"{key}-{kind}{ending}"

    def array(self, place: Path) -> np.ndarray | None:
        """A kept array, as a read-only map of its file; None where there is none, or none that can be read."""
        try:
            return np.load(place, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError):
            place.unlink(missing_ok=True)
            return None

    def keep_array(self, place: Path, array: np.ndarray) -> None:
        """Keeps an array."""
        self.keep(place, lambda path: _save(path, array))

    def array_or(self, place: Path, make: Callable[[], np.ndarray]) -> np.ndarray:
        """The kept array of a place (:meth:`array`), or else the one that ``make`` gives, which is kept then."""
        kept = self.array(place)
        if kept is None:
            kept = make()
            self.keep_array(place, kept)
        return kept

    def keep(self, place: Path, make: Callable[[Path], None]) -> None:
        """Keeps the file that ``make`` writes at the path that it is given (with the ending of ``place``).

        What is kept already stays as it is: the key says all that it depends on.
        """
        if place.exists():
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = place.with_name(f".{_host()}.{os.getpid()}.{uuid.uuid4().hex}{place.suffix}")
        try:
            make(partial)
            os.replace(partial, place)
        finally:
            partial.unlink(missing_ok=True)

    def check(self) -> None:
        """Raises ``UserError`` where results cannot be kept: each clip would be refused for the cache's fault."""
        place = self.folder
        while not os.path.lexists(place) and place != place.parent:
            place = place.parent
        if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
            raise UserError(f"{self.folder} cannot be written; name another folder with --cache")

    def clear_leftovers(self) -> None:
        """Takes away what processes of this machine that are no more left half-made."""
        for path in self.folder.glob(f"*/.{_host()}.*"):
            process = path.name.removeprefix(f".{_host()}.").split(".")[0]
            if process.isdigit() and not _alive(int(process)):
                path.unlink(missing_ok=True)


def _host() -> str:
    return "".join(char if char.isalnum() or char == "-" else "-" for char in socket.gethostname())


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # another user's
    try:
        # One that was killed, and that whoever adopted it has not taken note of yet, writes no more.
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return True
    return state not in "ZX"


def _save(path: Path, array: np.ndarray) -> None:
    array = np.ascontiguousarray(array)
    with open(path, "wb") as file:
        # Not np.save: on a full disk it raises an error that does not say so.
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(array.data)
