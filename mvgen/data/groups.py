"""Tables that say which clips belong together, and what is played in them: CSV with the columns clip, group, labels."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mvgen.errors import UserError

COLUMNS = ("clip", "group", "labels")
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Told:
    """What a table says of a clip.

    Attributes:
        group: clips of one group (one source, one player) are never split apart.
        labels: what is played, the family first: it is what scores are told by.
    """

    group: str
    labels: tuple[str, ...]

    @property
    def family(self) -> str:
        """The first label."""
        return self.labels[0] if self.labels else UNKNOWN


def read_groups(path: str | Path) -> dict[str, Told]:
    """A table by clip: the name of its file without the ending. An empty group is the clip's own; labels are parted
    by ``;``.

    Raises:
        UserError: it cannot be read, lacks a column, or names a clip twice.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            missing = [column for column in COLUMNS if column not in (rows.fieldnames or ())]
            if missing:
                raise UserError(f"{path} has no column {missing[0]!r}; its first line must be {','.join(COLUMNS)}")
            found: dict[str, Told] = {}
            for row in rows:
                clip, group, labels = (str(row[column] or "").strip() for column in COLUMNS)
                if not clip or clip in found:
                    raise UserError(f"{path}, line {rows.line_num}: {'names no clip' if not clip else clip + ' again'}")
                found[clip] = Told(group or clip, tuple(word.strip() for word in labels.split(";") if word.strip()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as a table of clips: {error}") from None
    return found


def told_of(clip: str, table: Mapping[str, Told]) -> Told:
    """What a table says of a clip; of one that it does not name, that it is a group of its own."""
    return table.get(clip, Told(clip, ()))
