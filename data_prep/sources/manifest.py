"""Lines that say what a clip is: read from JSONL or CSV, made from a folder, carried into the records' manifest."""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.sources.table import KNOWN, read_rows
from mvgen.errors import UserError
from mvgen.files import as_spelled, plain_name

MANIFEST_FILE = "manifest.jsonl"
SPLITS = ("train", "test")
LONGEST_NAME = 200
"""Bytes of a clip id: with an ending and a number it must still be a file's name."""


@dataclass(frozen=True)
class Clip:
    """One input video.

    Attributes:
        clip_id: unique in the collection; names files, so it holds no slash.
        path: absolute path of the file.
        source_id: the performance or video it was cut from. Clips of one source are never split apart.
        labels: instruments or other words.
        licence: as given; empty when unknown.
        split: "train" or "test" when forced, else None.
        notes: (onset s, offset s, MIDI pitch) for each known note, from the start of the picture.
        extra: further keys of the line, carried along.
        sound: absolute path of the file whose sound belongs to this picture; None where the video has its own.
        root: the folder that the file must lie in once links are followed; None where its path was given in full.
    """

    clip_id: str
    path: Path
    source_id: str
    labels: tuple[str, ...] = ()
    licence: str = ""
    split: str | None = None
    notes: tuple[tuple[float, float, float], ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    sound: Path | None = None
    root: Path | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        # Names of files may hold bytes that are no UTF-8; in records and hashes they are written as escapes.
        object.__setattr__(self, "source_id", self.source_id.encode("utf-8", "backslashreplace").decode())

    def notes_between(self, start: float, end: float) -> np.ndarray:
        """Notes that begin in ``[start, end)`` seconds, as records hold them: float32 ``[N, 3]``, times from ``start``.

        A note that goes on after the end is cut there.
        """
        rows = [(on - start, min(off, end) - start, pitch) for on, off, pitch in self.notes if start <= on < end]
        return np.array(sorted(rows), np.float32).reshape(-1, 3)


def read_manifest(path: Path) -> list[Clip]:
    """Clips of a manifest (:mod:`data_prep.sources.table` says how it may be written); paths in it are relative to it.

    Only ``path`` must be given. ``clip_id`` is by default the path without its ending, ``source_id`` the clip id.

    Raises:
        UserError: the file or a line of it cannot be understood; the line is named.
    """
    try:
        rows = list(read_rows(path))
    except (OSError, csv.Error) as error:
        raise UserError(f"{path} is not a readable manifest: {error}") from None
    if not rows:
        raise UserError(f"{path} lists no clip")
    return [_clip(row, path, where) for where, row in rows]


def _clip(row: dict[str, Any], manifest: Path, where: str) -> Clip:
    given = row.get("path")
    if not isinstance(given, str) or not given:
        raise UserError(f"{where} names no path; its columns are {', '.join(map(str, row)) or 'none'}")
    if "\0" in given:
        raise UserError(f"{where}: its path holds a zero byte")
    split = row.get("split") or None
    split = split.lower() if isinstance(split, str) else split
    if split not in (None, *SPLITS):
        raise UserError(f"{where}: split is {split!r}; it can be {' or '.join(SPLITS)}")
    labels = row.get("labels") or ()
    if isinstance(labels, str):
        # In a table, one cell holds them all.
        labels = labels.replace(",", ";").split(";") if manifest.suffix.lower() != ".jsonl" else [labels]
    if not isinstance(labels, (list, tuple)):
        raise UserError(f"{where}: labels are {labels!r}; they must be text or a list of texts")
    clip_id = file_name(str(row.get("clip_id") or Path(given).with_suffix("").as_posix()))
    return Clip(
        clip_id=clip_id,
        path=Path(as_spelled(str((manifest.parent / given).absolute()))),
        source_id=str(row.get("source_id") or clip_id),
        labels=tuple(str(label).strip() for label in labels),
        licence=str(row.get("licence") or row.get("license") or ""),
        split=split,
        notes=_notes(row.get("notes") or (), where),
        extra={key: value for key, value in row.items() if key not in KNOWN},
        sound=Path(as_spelled(str((manifest.parent / str(row["sound"])).absolute()))) if row.get("sound") else None,
        root=None if Path(given).is_absolute() else manifest.parent.absolute(),
    )


def _notes(rows: Any, where: str) -> tuple[tuple[float, float, float], ...]:
    if isinstance(rows, str):  # in a table
        try:
            rows = json.loads(rows)
        except ValueError as error:
            raise UserError(f"{where}: its notes are not JSON: {error}") from None
    try:
        notes = tuple((float(row[0]), float(row[1]), float(row[2])) for row in rows)
    except (TypeError, ValueError, IndexError, KeyError):
        raise UserError(f"{where}: each note must be [onset seconds, offset seconds, MIDI pitch, ...]") from None
    if any(not all(map(math.isfinite, note)) for note in notes):
        raise UserError(f"{where}: a note holds a number that is not finite")
    return notes


def file_name(text: str) -> str:
    """A clip id out of any text: no separators of paths, no leading dot, no control characters, not too long a name."""
    text = plain_name(text)  # so that two spellings of one name are one id
    kept = "".join("_" if char in '/\\:*?"<>|' or not char.isprintable() else char for char in text)
    kept = kept.strip().lstrip(".") or "clip"
    if len(kept.encode()) <= LONGEST_NAME:
        return kept
    digest = hashlib.sha256(kept.encode()).hexdigest()[:16]
    return kept.encode()[: LONGEST_NAME - 17].decode(errors="ignore") + "-" + digest


def result_line(clip: Clip, outcome: Mapping[str, Any], split: str | None) -> dict[str, Any]:
    """The line of the records' manifest for a clip: what it was, and what became of it."""
    return {
        "clip_id": clip.clip_id,
        "status": outcome["status"],
        "reason": outcome["reason"],
        **({"damage": outcome["damage"]} if outcome.get("damage") else {}),
        "path": str(clip.path),
        **({"sound": str(clip.sound)} if clip.sound else {}),
        "source_id": clip.source_id,
        "split": split,
        "labels": list(clip.labels),
        "licence": clip.licence,
        "records": outcome.get("records", 0),
        "seconds": outcome.get("seconds", 0.0),
        "sha256": outcome.get("sha256", ""),
        "notes": [list(note) for note in clip.notes],
        **({"notes_estimated_by": by} if (by := outcome.get("notes_estimated_by")) else {}),
        **{key: value for key, value in clip.extra.items() if key not in ("records", "seconds", "sha256")},
    }
