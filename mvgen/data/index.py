"""How long every record of a folder is, kept beside the records, so that a run need not read them all to begin.

``mvgen_records.json`` holds it under ``index``: of each split, by the name of each shard, ``bytes`` (the length of each
serialised record) and ``frames`` (its length on the clock). It is checked against the size of each shard.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mvgen.clock import frames_of
from mvgen.data.record import RecordSpec, decode_record
from mvgen.data.tfrecord import FRAMING, TFRecordFile
from mvgen.errors import UserError
from mvgen.files import write_text

DESCRIPTION_FILE = "mvgen_records.json"
"""The JSON beside the shards: spec, what made the records, records in each split, and the index."""

Shard = dict[str, list[int]]
"""``bytes`` and ``frames`` of each record of a shard."""


def index_shards(paths: Iterable[Path], spec: RecordSpec, told: str = "") -> dict[str, Shard]:
    """Reads whole shards, every CRC checked, and says how long each record is.

    Args:
        paths: of the shards.
        spec: of their records.
        told: what the progress bar, shown where it takes long, is to say.

    Raises:
        RecordError: a record cannot be trusted.
    """
    files = {path.name: TFRecordFile(path) for path in paths}

    def length(place: tuple[str, int]) -> int:
        name, number = place
        return frames_of(len(decode_record(files[name].view(number), spec, ("tokens",))["tokens"]))

    places = [(name, number) for name, file in files.items() for number in range(len(file))]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        frames = list(tqdm(pool.map(length, places), told, len(places), delay=2, leave=False, disable=not told))
    found: dict[str, Shard] = {}
    first = 0
    for name, file in files.items():
        found[name] = {"bytes": file.lengths.tolist(), "frames": frames[first : first + len(file)]}
        first += len(file)
        file.close()
    return found


def kept_index(split: str, paths: list[Path], description: Mapping[str, Any]) -> dict[str, Shard] | None:
    """The index of a split that a folder's description holds; ``None`` where it holds none that fits the shards."""
    index = description.get("index", {}).get(split)
    try:
        told = {
            name: sum(shard["bytes"]) + FRAMING * len(shard["frames"])
            for name, shard in index.items()
            if len(shard["bytes"]) == len(shard["frames"])
        }
    except (AttributeError, KeyError, TypeError):
        return None
    return index if {path.name: path.stat().st_size for path in paths} == told else None


def make_index(folder: str, split: str, paths: list[Path], description: dict[str, Any]) -> dict[str, Shard]:
    """Reads all records of a split once, says so on stderr, and keeps their index in the folder where that can be.

    Raises:
        RecordError: a record cannot be trusted.
    """
    print(f"{folder}: {DESCRIPTION_FILE} has no index that fits the shards of split {split!r}; reading all its records "
          "once to make it", file=sys.stderr)  # fmt: skip
    index = index_shards(paths, RecordSpec.from_json(description["spec"]), f"indexing {split}")
    description.setdefault("index", {})[split] = index
    try:
        write_description(Path(folder), description)
    except UserError as error:
        print(f"warning: the index is not kept ({error}), so the next run makes it again", file=sys.stderr)
    return index


def write_description(folder: Path, description: Mapping[str, Any]) -> None:
    """Writes ``mvgen_records.json``, whole or not at all; the index on few lines, a shard's record on none.

    Raises:
        UserError: it cannot be written.
    """
    rest = json.dumps({name: value for name, value in description.items() if name != "index"}, indent=1)
    index = description.get("index")
    if index is not None:
        rest = rest[: rest.rindex("}")].rstrip() + ',\n "index": ' + json.dumps(index, separators=(",", ":")) + "\n}"
    write_text(folder / DESCRIPTION_FILE, rest + "\n")
