"""One run at a time in a folder. The lock is the kernel's (``flock``): it ends with the process, however that ends."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mvgen.errors import UserError

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
"""What file systems answer that know no locks."""


@contextmanager
def locked(place: Path, what: str, instead: str) -> Iterator[bool]:
    """Holds the lock file ``place``, and takes it away at the end; a file that a killed run left there is no lock.

    Gives False where the file system knows no locks, so that nothing is known of others.

    Args:
        place: the lock file; its folder exists.
        what: what the lock is about, for the message.
        instead: what else the user may do than wait, for the message.

    Raises:
        UserError: another run holds it. OSError: the file cannot be made.
    """
    try:
        while True:
            lock = os.open(place, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # The run that held it may have taken the file away between the opening and the locking.
                if _same(lock, place):
                    break
            except BlockingIOError:
                process = os.read(lock, 32).decode(errors="replace").strip()
                os.close(lock)
                raise UserError(f"another run (process {process or 'unknown'}) is writing {what}; wait until it has "
                                f"ended, or {instead}") from None  # fmt: skip
            except BaseException:
                os.close(lock)
                raise
            os.close(lock)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        place.unlink(missing_ok=True)
        yield False
        return
    try:
        os.truncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
        yield True
    finally:
        place.unlink(missing_ok=True)
        os.close(lock)


def _same(handle: int, place: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(place))
    except FileNotFoundError:
        return False
