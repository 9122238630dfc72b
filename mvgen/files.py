"""Files that are whole or not there, hashes of them, and locks.

Nothing of mvgen writes a file under its own name before all of it is written: a run that is killed leaves the old file
or the new one. A lock is the kernel's (``flock``): it ends with the process, however that ends.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mvgen.errors import UserError


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A name beside ``path`` to write to, of the same ending; it takes the place of ``path``, or vanishes after an
    error.

    Raises:
        OSError: it cannot be written. UserError: the folder is not there.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise UserError(f"cannot write {target}: the folder {target.parent} does not exist")
    partial = target.with_name(f".{target.stem}.partial-{os.getpid()}{target.suffix}")
    try:
        yield partial
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def whole_folder(out: str | os.PathLike[str]) -> Iterator[Path]:
    """A new folder to write into that gets its name ``out`` only when all of it is there.

    Raises:
        UserError: ``out`` is there already, or cannot be written.
    """
    out = Path(out)
    if out.exists():
        raise UserError(f"{out} is there already; name a new folder for --out")
    partial = out.with_name(f"{out.name}.partial-{os.getpid()}")
    try:
        partial.mkdir(parents=True)
        yield partial
        os.replace(partial, out)
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes UTF-8 text, whole or not at all. Raises ``UserError`` where it cannot be written."""
    try:
        with whole_file(path) as partial:
            partial.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {os.fspath(path)}: {error.strerror}") from error


def write_json(path: str | os.PathLike[str], data: Any) -> None:
    """Writes strict JSON, whole or not at all: numbers that are not finite become ``null``, arrays lists.

    Raises:
        UserError: it cannot be written.
    """
    write_text(path, json.dumps(_plain(data), indent=1, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    """Python's own types, with ``None`` for numbers that are not finite."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(entry) for entry in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def file_hash(path: str | os.PathLike[str]) -> str:
    """sha256 of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


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


def preset(name: str, kind: str = "") -> Path:
    """The configuration file that a name stands for: a path, or a preset of mvgen's own, from any folder.

    Args:
        name: a path; or a preset's name, with or without ``configs/`` before it and ``.py`` behind it.
        kind: the sub-folder of presets, such as ``data``.

    Raises:
        UserError: there is neither; the presets are named.
    """
    given = Path(name)
    if given.is_file():
        return given
    package = Path(__file__).resolve().parent
    # In an installed package they lie within it, in a checkout beside it.
    folder = next((at for at in (package / "configs", package.parent / "configs") if at.is_dir()), package) / kind
    known = sorted(path.stem for path in folder.glob("*.py"))
    inside = given.parts[1:] if given.parts[:1] == ("configs",) else given.parts
    inside = inside[1:] if kind and inside[:1] == (kind,) else inside
    if len(inside) == 1 and given.suffix in ("", ".py") and Path(inside[0]).stem in known:
        return folder / f"{Path(inside[0]).stem}.py"
    raise UserError(f"--config={name} is neither a file nor a preset; presets are {', '.join(known)}")
