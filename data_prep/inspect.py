"""Every record of a folder read and checked, and what they hold in numbers.

Checked: shards all there and as many records as described; every CRC; every feature, its size, and that all cover the
same time; codes within the codebook; finite flow and times; notes within the record; ids that repeat; sources that lie
in both splits.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm

from mvgen.clock import TOKEN_RATE
from mvgen.errors import UserError
from mvgen.records import (
    Record,
    RecordError,
    RecordSpec,
    TFRecordFile,
    decode_record,
    read_description,
    shard_paths,
)

THUMBNAILS = 24
"""First frames that the report shows."""
FLOW_EDGES = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, float("inf"))
"""Edges of the histogram of flow magnitudes, pixels a frame."""


@dataclass
class Findings:
    """What an inspection found.

    Attributes:
        bad: one line for each fault.
        records, seconds, sources: of each split.
        counts: how often each code occurs, int64 ``[codebooks, codebook_size]``.
        flow_histogram: of flow magnitudes, over :data:`FLOW_EDGES` (pixels a frame).
        flow_largest: the largest magnitude.
        labels: records with each label.
        notes: how many are known.
        thumbnails: (clip id, first frame) of the first records.
    """

    counts: np.ndarray
    bad: list[str] = field(default_factory=list)
    records: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    sources: dict[str, set[str]] = field(default_factory=dict)
    flow_histogram: np.ndarray = field(default_factory=lambda: np.zeros(len(FLOW_EDGES) - 1, np.int64))
    flow_largest: float = 0.0
    labels: Counter[str] = field(default_factory=Counter)
    notes: int = 0
    thumbnails: list[tuple[str, np.ndarray]] = field(default_factory=list)

    def perplexity(self) -> np.ndarray:
        """``exp`` of the entropy of each codebook's codes, float ``[codebooks]``."""
        share = self.counts / np.maximum(1, self.counts.sum(axis=1, keepdims=True))
        return np.exp(-np.sum(share * np.log(np.where(share > 0, share, 1.0)), axis=1))


def faults(record: Record, spec: RecordSpec) -> Iterator[str]:
    """What is wrong with the values of a record whose sizes are right."""
    tokens = record["tokens"]
    if tokens.min() < 0 or tokens.max() >= spec.codebook_size:
        yield f"codes from {tokens.min()} to {tokens.max()}, outside the codebook of {spec.codebook_size}"
    for name in ("flow", "semantic", "latents", "start_seconds"):
        if name in record and not np.isfinite(record[name]).all():
            yield f"{name} holds numbers that are not finite"
    if record["start_seconds"] < 0:
        yield f"it starts at {record['start_seconds']} s"
    notes = record["notes"]
    seconds = len(tokens) / TOKEN_RATE
    if not np.isfinite(notes).all():
        yield "notes hold numbers that are not finite"
    elif len(notes):
        # A millisecond of grace for float32.
        if notes[:, 0].min() < -1e-3 or notes[:, 1].max() > seconds + 1e-3 or (notes[:, 1] < notes[:, 0]).any():
            yield f"a note lies outside its {seconds:.2f} s, or ends before it begins"
        if notes[:, 2].min() < 0 or notes[:, 2].max() > 127:
            yield "a note has a pitch outside 0 to 127"
    if not record["clip_id"] or not record["source_id"]:
        yield "clip_id or source_id is empty"


def inspect_folder(folder: str | os.PathLike[str]) -> tuple[Findings, RecordSpec]:
    """Reads every record of every split.

    Raises:
        UserError: not a folder of records.
    """
    description = read_description(folder)
    spec = RecordSpec.from_json(description["spec"])
    found = Findings(counts=np.zeros((spec.codebooks, spec.codebook_size), np.int64))
    seen: dict[str, str] = {}
    bar = tqdm(total=sum(description["splits"].values()), desc="inspect", unit="record")
    for split, expected in description["splits"].items():
        found.sources[split] = set()
        try:
            paths = shard_paths(folder, split)
        except UserError as error:
            found.bad.append(str(error))
            paths = []
        stored = 0
        for path in paths:
            try:
                file = TFRecordFile(path)
            except RecordError as error:
                found.bad.append(str(error))
                continue
            stored += len(file)
            for number in range(len(file)):
                bar.update()
                where = f"{path}: record {number}"
                try:
                    record = decode_record(file[number], spec)
                except RecordError as error:
                    found.bad.append(str(error))
                    continue
                except ValueError as error:
                    found.bad.append(f"{where}: {error}")
                    continue
                found.bad += [f"{where} ({record['clip_id']}): {fault}" for fault in faults(record, spec)]
                if record["clip_id"] in seen:
                    found.bad.append(f"{where}: clip_id {record['clip_id']!r} is also {seen[record['clip_id']]}")
                seen[record["clip_id"]] = where
                _count(found, split, record, spec)
        if stored != expected:
            found.bad.append(f"{folder}: split {split} holds {stored} readable records, not {expected} as described")
    bar.close()
    splits = list(found.sources)
    for number, one in enumerate(splits):
        for other in splits[number + 1 :]:
            for source in sorted(found.sources[one] & found.sources[other]):
                found.bad.append(f"{folder}: source {source!r} lies in both {one} and {other}")
    return found, spec


def _count(found: Findings, split: str, record: Record, spec: RecordSpec) -> None:
    found.records[split] += 1
    found.seconds[split] += len(record["tokens"]) / TOKEN_RATE
    found.sources[split].add(record["source_id"])
    found.notes += len(record["notes"])
    found.labels.update(label for label in record["labels"].split(",") if label)
    for book in range(spec.codebooks):
        codes = record["tokens"][:, book]
        valid = codes[(codes >= 0) & (codes < spec.codebook_size)]
        found.counts[book] += np.bincount(valid, minlength=spec.codebook_size)
    if "flow" in record:
        magnitude = np.linalg.norm(record["flow"].astype(np.float32), axis=-1)
        magnitude = magnitude[np.isfinite(magnitude)]
        found.flow_histogram += np.histogram(magnitude, FLOW_EDGES)[0]
        found.flow_largest = max(found.flow_largest, float(magnitude.max(initial=0)))
    if "frames" in record and len(found.thumbnails) < THUMBNAILS:
        found.thumbnails.append((record["clip_id"], record["frames"][0].copy()))


def summary(found: Findings, spec: RecordSpec) -> list[tuple[str, str]]:
    """Name and value of everything worth a line."""
    lines = [
        (
            f"{split} records",
            f"{found.records[split]} ({found.seconds[split]:.1f} s, {len(found.sources[split])} sources)",
        )
        for split in found.sources
    ]
    used = (found.counts > 0).sum(axis=1)
    perplexity = found.perplexity()
    lines += [("labels", ", ".join(f"{name} {count}" for name, count in sorted(found.labels.items())) or "none")]
    lines += [("notes known", str(found.notes))]
    lines += [
        (f"codebook {book}", f"{used[book]} of {spec.codebook_size} entries in use, perplexity {perplexity[book]:.0f}")
        for book in range(spec.codebooks)
    ]
    total = max(1, int(found.flow_histogram.sum()))
    still = found.flow_histogram[0] / total
    lines += [("flow", f"largest {found.flow_largest:.2f} pixels a frame, {still:.0%} still (below 0.01)")]
    return lines
