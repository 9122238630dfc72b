"""Every record of a folder read and checked, and what they hold in numbers.

Checked: shards all there and as many records as described; every CRC; every feature, its size, and that all cover the
same time; codes within the codebook; finite flow and times; notes within the record; ids that repeat; sources, and the
same contents under other names, that lie in both splits. Counted: how codes are used, how much moves, what is silent.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm

from mvgen.clock import TOKEN_RATE, tokens_of
from mvgen.data.records import (
    Record,
    RecordError,
    RecordSpec,
    TFRecordFile,
    decode_record,
    read_description,
    shard_paths,
)
from mvgen.errors import UserError

SAMPLES = 12
"""Records that the report shows, at most."""
SAMPLE_FRAMES = 8
"""Moments of each that are shown as pictures."""
CONSTANT = 0.95
"""A record of which this share of tokens repeats the one before holds silence, or one unchanging sound."""
FLOW_EDGES = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, float("inf"))
"""Edges of the histogram of flow magnitudes, pixels a frame."""


@dataclass(frozen=True)
class Sample:
    """One record as the report shows it.

    Attributes:
        clip_id, split, labels, notes, tokens: as in the record.
        frames: uint8 ``[n, H, W, 3]`` at :data:`SAMPLE_FRAMES` moments, evenly apart; None where there are no pixels.
        flow: float32 ``[n, h, w, 2]`` at the same moments, or None.
        motion: mean length of the flow of each frame, float ``[T]``; empty where there is no flow.
    """

    clip_id: str
    split: str
    labels: str
    tokens: np.ndarray
    notes: np.ndarray
    frames: np.ndarray | None
    flow: np.ndarray | None
    motion: np.ndarray


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
        landmarks: how many points times frames there are; landmarks_seen: in how many of them the point is seen.
        flow_percentiles: 95th percentile of the magnitudes of each record, pixels a frame; ``flow_percentile``: the
            median of those.
        silent: ids of records that hold silence or one unchanging sound (see :data:`CONSTANT`).
        duplicates: a line for each record whose picture or sound is, to the bit, that of another.
        samples: records to show: of each label and split some.
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
    landmarks: int = 0
    landmarks_seen: int = 0
    flow_percentiles: list[float] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)

    @property
    def flow_percentile(self) -> float:
        """See above; 0 where there is no flow."""
        return float(np.median(self.flow_percentiles)) if self.flow_percentiles else 0.0

    def dead(self) -> np.ndarray:
        """Entries of each codebook that occur nowhere, int ``[codebooks]``."""
        return (self.counts == 0).sum(axis=1)

    def perplexity(self) -> np.ndarray:
        """``exp`` of the entropy of each codebook's codes, float ``[codebooks]``."""
        share = self.counts / np.maximum(1, self.counts.sum(axis=1, keepdims=True))
        return np.exp(-np.sum(share * np.log(np.where(share > 0, share, 1.0)), axis=1))


def faults(record: Record, spec: RecordSpec) -> Iterator[str]:
    """What is wrong with the values of a record whose sizes are right."""
    tokens = record["tokens"]
    if tokens.min() < 0 or tokens.max() >= spec.codebook_size:
        yield f"codes from {tokens.min()} to {tokens.max()}, outside the codebook of {spec.codebook_size}"
    for name in ("flow", "semantic", "latents", "landmarks", "start_seconds"):
        if name in record and not np.isfinite(record[name]).all():
            yield f"{name} holds numbers that are not finite"
    if "landmarks" in record:
        yield from _landmark_faults(record["landmarks"].astype(np.float32))
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


def _landmark_faults(landmarks: np.ndarray) -> Iterator[str]:
    places, seen = landmarks[..., :2], landmarks[..., 2]
    if (seen < 0).any() or (seen > 1).any():
        yield f"landmarks have confidences from {seen.min():g} to {seen.max():g}, outside 0 to 1"
    if (np.abs(places - 0.5).max(axis=-1) > 0.5)[seen > 0].any():
        yield "a landmark that is seen lies outside the picture (0 to 1)"


def inspect_folder(folder: str | os.PathLike[str]) -> tuple[Findings, RecordSpec]:
    """Reads every record of every split.

    Raises:
        UserError: not a folder of records.
    """
    description = read_description(folder)
    spec = RecordSpec.from_json(description["spec"])
    found = Findings(counts=np.zeros((spec.codebooks, spec.codebook_size), np.int64))
    seen: dict[str, str] = {}
    contents: dict[str, tuple[str, str]] = {}
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
                _compare(found, split, record, where, contents)
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
    if "landmarks" in record:
        found.landmarks += record["landmarks"][..., 2].size
        found.landmarks_seen += int((record["landmarks"][..., 2] > 0).sum())
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
        if len(magnitude):
            found.flow_percentiles.append(float(np.percentile(magnitude, 95)))
    if _is_constant(record["tokens"]):
        found.silent.append(record["clip_id"])
    # Of each label and split a few, so that a large collection is seen in its breadth.
    alike = sum(sample.labels == record["labels"] and sample.split == split for sample in found.samples)
    if len(found.samples) < SAMPLES and alike < 3:
        found.samples.append(_sample(split, record))


def _is_constant(tokens: np.ndarray) -> bool:
    return len(tokens) > 1 and float((tokens[1:] == tokens[:-1]).all(axis=1).mean()) >= CONSTANT


def _compare(found: Findings, split: str, record: Record, where: str, contents: dict[str, tuple[str, str]]) -> None:
    """Notes what this record shares, to the bit, with one before it. Silence and stills are shared by chance."""
    told = []
    if not _is_constant(record["tokens"]):
        told.append(("sound", record["tokens"]))
    for name in ("frames", "latents"):
        if name in record and (record[name][1:] != record[name][:-1]).any():
            told.append(("picture", record[name]))
    for kind, array in told:
        key = f"{kind} {hashlib.sha256(array.tobytes()).hexdigest()}"
        if key not in contents:
            contents[key] = (record["clip_id"], split)
            continue
        other, other_split = contents[key]
        line = f"the {kind} of {record['clip_id']} ({split}) is that of {other} ({other_split})"
        found.duplicates.append(line)
        if split != other_split:
            found.bad.append(f"{where}: {line}: the same in both splits")


def _sample(split: str, record: Record) -> Sample:
    frames = len(record["tokens"]) // tokens_of(1)
    shown = np.linspace(0, frames - 1, min(SAMPLE_FRAMES, frames)).round().astype(int)
    flow = record["flow"].astype(np.float32) if "flow" in record else None
    motion = np.zeros(0) if flow is None else np.hypot(flow[..., 0], flow[..., 1]).mean(axis=(1, 2))
    return Sample(
        clip_id=record["clip_id"],
        split=split,
        labels=record["labels"],
        tokens=record["tokens"].copy(),
        notes=record["notes"].copy(),
        frames=record["frames"][shown].copy() if "frames" in record else None,
        # The first frame of a record has no flow.
        flow=None if flow is None else flow[np.maximum(shown, min(1, frames - 1))],
        motion=motion,
    )


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
    told = f"95 % below {found.flow_percentile:.2f}, largest {found.flow_largest:.2f} pixels a frame"
    lines += [("flow", f"{told}, {still:.0%} still (below 0.01)")]
    if spec.landmarks:
        share = found.landmarks_seen / max(1, found.landmarks)
        lines += [("landmarks", f"{len(spec.landmarks)} points, seen in {share:.0%} of frames")]
    lines += [("silent", _named(found.silent)), ("duplicates", _named(found.duplicates))]
    return lines


def _named(items: list[str], most: int = 3) -> str:
    if not items:
        return "none"
    return f"{len(items)}: {', '.join(items[:most])}" + (" ..." if len(items) > most else "")
