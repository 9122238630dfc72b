"""``python -m data_prep folds``: records in folds for cross-validation, whole groups of clips left out at a time.

    python -m data_prep folds --records DIR --groups TABLE.csv --out FOLDS [--folds 4]

The table has the columns clip, group, labels (docs/real.md). Clips of one group (one source, one player) are in the
test split of the same fold; each family of instruments (the first label) is spread over the folds. FOLDS/fold-0 and so
on are folders of records like any other: what is in the test split of one is in the train split of the others.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.convert.write import write_records
from mvgen.clock import TOKEN_RATE
from mvgen.data.groups import Told, read_groups
from mvgen.data.records import Record, RecordSource, read_description
from mvgen.errors import UserError
from mvgen.files import make_folder

SEGMENT = re.compile(r"-\d{4}$")


@dataclass(frozen=True)
class Part:
    """One group of clips.

    Attributes:
        name: of the group.
        family: the first label of its clips, by which groups are spread.
        seconds: what its records last.
    """

    name: str
    family: str
    seconds: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--records", required=True, metavar="DIR", help="folder of records, of whatever splits")
    parser.add_argument("--groups", required=True, metavar="FILE.csv", help="table of clip, group, labels")
    parser.add_argument("--out", required=True, metavar="DIR", help="where fold-0, fold-1 and so on go")
    parser.add_argument("--folds", type=int, default=4, metavar="N", help="how many (%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    if args.folds < 2:
        raise UserError(f"--folds {args.folds}: at least 2")
    table = read_groups(args.groups)
    description = read_description(args.records)
    sources = [RecordSource(args.records, split) for split in description["splits"]]
    fold_of = dealt(parts_of(sources, table), args.folds)
    for name in sorted({told.group for told in table.values()} - set(fold_of)):
        print(f"note: no record is of group {name}")
    make_folder("--out", args.out)
    for fold in range(args.folds):
        folder = Path(args.out) / f"fold-{fold}"
        lines: list[dict[str, Any]] = []
        made = {**description.get("made_by", {}), "fold": fold, "folds": args.folds}
        counts = write_records(folder, relabelled(sources, table, fold_of, fold, lines), sources[0].spec, made, lines)
        print(f"{folder}: {counts['train']} train, {counts['test']} test records")
    return 0


def told_of_record(record: Record, table: Mapping[str, Told]) -> Told:
    """What the table says of the clip that a record is of, or is one of several segments of (``CLIP-0003``).

    Of a clip that it does not name: that it belongs to its source.
    """
    for name in (record["clip_id"], SEGMENT.sub("", record["clip_id"])):
        if name in table:
            return table[name]
    return Told(record["source_id"], tuple(label for label in record["labels"].split(",") if label))


def parts_of(sources: Sequence[RecordSource], table: Mapping[str, Told]) -> list[Part]:
    """The groups that records are of."""
    seconds: dict[str, float] = defaultdict(float)
    family: dict[str, str] = {}
    for source in sources:
        for number in range(len(source)):
            record = source.view(number)
            told = told_of_record(record, table)
            seconds[told.group] += len(record["tokens"]) / TOKEN_RATE
            family.setdefault(told.group, told.family)
    return [Part(name, family[name], seconds[name]) for name in sorted(seconds)]


def dealt(parts: Sequence[Part], folds: int) -> dict[str, int]:
    """The fold of each group: the longest of each family first, each into the fold that has least of the family so far,
    and of several such into that which has least in all.

    Raises:
        UserError: there are fewer groups than folds.
    """
    if len(parts) < folds:
        raise UserError(f"{len(parts)} groups of clips cannot be dealt into {folds} folds")
    of_family: dict[tuple[str, int], float] = defaultdict(float)
    of_all = [0.0] * folds
    found: dict[str, int] = {}
    for part in sorted(parts, key=lambda part: (-part.seconds, part.name)):
        fold = min(range(folds), key=lambda fold: (of_family[part.family, fold], of_all[fold], fold))
        of_family[part.family, fold] += part.seconds
        of_all[fold] += part.seconds
        found[part.name] = fold
    return found


def relabelled(
    sources: Sequence[RecordSource],
    table: Mapping[str, Told],
    fold_of: Mapping[str, int],
    fold: int,
    lines: list[dict[str, Any]],
) -> Iterator[tuple[str, Record]]:
    """All records with their groups for sources and the table's labels, and the split of each; ``lines`` grows by one
    a record for the manifest."""
    for source in sources:
        for number in range(len(source)):
            record = source[number]
            told = told_of_record(record, table)
            split = "test" if fold_of[told.group] == fold else "train"
            labels = ",".join(told.labels)
            lines.append(
                {"clip_id": record["clip_id"], "source_id": told.group, "labels": labels.split(","), "path": "",
                 "status": "used", "reason": "", "split": split, "records": 1}
            )  # fmt: skip
            yield split, {**record, "source_id": told.group, "labels": labels}
