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
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mvgen.errors import UserError

LONGEST_NAME = 255
"""Bytes of a file's name, on nearly all file systems."""
LEAST_FREE = 1 << 20
"""Bytes that must be free where a result is to be written."""


def check_output(
    option: str,
    out: str | os.PathLike[str],
    endings: Sequence[str] = (),
    inputs: Iterable[str | os.PathLike[str]] = (),
    size: int = LEAST_FREE,
) -> None:
    """Whether a result can be written, asked before the work that makes it.

    Args:
        option: what gave the name, for the message.
        out: a file, there or not.
        endings: what its name must end with, if anything.
        inputs: files that it must not replace.
        size: bytes that it may take.

    Raises:
        UserError: it has another ending, is a folder or no plain file, is one of the inputs, its name is too long, its
            folder is not there or may not be written, or the disk is full.
    """
    path = Path(out)
    told = f"{option} {path}"
    if endings and path.suffix.lower() not in endings:
        raise UserError(f"{told}: end its name with {' or '.join(endings)}")
    if len(os.fsencode(path.name)) > LONGEST_NAME:
        raise UserError(f"{told}: its name is longer than {LONGEST_NAME} bytes")
    if not path.name or path.is_dir():
        raise UserError(f"{told} is a folder; name a file in it")
    if not path.parent.is_dir():
        raise UserError(f"{told} cannot be written: the folder {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise UserError(f"{told} cannot be written: the folder {path.parent} may not be written")
    if path.exists():
        if not path.is_file():
            raise UserError(f"{told} is not a plain file; name another")
        if not os.access(path, os.W_OK):
            raise UserError(f"{told} cannot be written: it is there already, and protected")
        for each in inputs:
            if os.path.exists(each) and os.path.samefile(path, each):
                raise UserError(f"{told} is also an input, {os.fspath(each)}; name another file, it would be replaced")
    free = shutil.disk_usage(path.parent).free
    if free < size:
        raise UserError(f"{told}: {free / 1e6:.1f} MB are free there, {size / 1e6:.1f} MB are needed")


def make_folder(option: str, out: str | os.PathLike[str]) -> None:
    """Makes a folder for results, and those above it, before the work.

    Args:
        option: what gave the name, for the message.

    Raises:
        UserError: it cannot be made, or not be written.
    """
    if os.path.isfile(out):
        raise UserError(f"{option} {os.fspath(out)} is a file; name a folder")
    try:
        os.makedirs(out, exist_ok=True)
    except OSError as error:
        raise UserError(f"{option} {os.fspath(out)}: the folder cannot be made: {error.strerror}") from None
    if not os.access(out, os.W_OK | os.X_OK):
        raise UserError(f"{option} {os.fspath(out)}: the folder cannot be written")


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
    ending = f".partial-{os.getpid()}{target.suffix}"
    # However long its name is, the one beside it is a name, too.
    stem = os.fsdecode(os.fsencode(target.stem)[: LONGEST_NAME - 1 - len(os.fsencode(ending))])
    partial = target.with_name(f".{stem}{ending}")
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


def plain_name(name: str) -> str:
    """A name as all its spellings have it: an accented letter can be one character or two (NFC, NFD).

    Also where the locale knows no accented letters, and their bytes came through as they are.
    """
    try:
        name = os.fsencode(name).decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        pass  # of a text, not of the disk
    return unicodedata.normalize("NFC", name)


def as_spelled(path: str) -> str:
    """A path as the disk spells its last name: accented letters may be one character or two (NFC, NFD), and look alike.

    The same path where it exists, or where nothing in its folder is canonically equal.
    """
    if os.path.lexists(path) or path.isascii():
        return path
    folder, name = os.path.split(path)
    wanted = plain_name(name)
    try:
        names = os.listdir(folder or ".")
    except OSError:
        return path
    return next((os.path.join(folder, each) for each in names if plain_name(each) == wanted), path)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes UTF-8 text, whole or not at all; what is none (names of files in another coding) as escapes.

    Raises:
        UserError: it cannot be written.
    """
    try:
        with whole_file(path) as partial:
            partial.write_text(text, encoding="utf-8", errors="backslashreplace")
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
