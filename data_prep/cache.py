"""Costly results, kept per clip under a key made of content and settings.

A key is a hash of the file's bytes, of the settings that matter to this result and of a format number: a second run
redoes nothing, a killed run goes on, another flow setting leaves tokens alone, and a changed file is a new file.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

FORMAT = 1
"""Raised whenever the code that makes cached results changes what it makes."""


def file_hash(path: str | os.PathLike[str]) -> str:
    """sha256 of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


class Cache:
    """A folder of results. Safe for several processes: results appear whole or not at all."""

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

    def keep(self, place: Path, make: Callable[[Path], None]) -> None:
        """Keeps the file that ``make`` writes at the path that it is given (with the ending of ``place``)."""
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = place.with_name(f".{uuid.uuid4().hex}{place.suffix}")
        try:
            make(partial)
            os.replace(partial, place)
        finally:
            partial.unlink(missing_ok=True)


def _save(path: Path, array: np.ndarray) -> None:
    with open(path, "wb") as file:
        np.save(file, np.ascontiguousarray(array), allow_pickle=False)
