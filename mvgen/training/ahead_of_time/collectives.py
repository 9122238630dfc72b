"""What devices send each other in a step, read from the compiled program's text.

Bytes are those that one device sends over its links, by the ring algorithms' count (Chan et al. 2007): of ``n`` devices
that gather or scatter a whole of ``s`` bytes each sends ``s (n - 1) / n``, for a sum that all are to have twice that,
in an all-to-all of ``s`` bytes a device as much as for a gather, in a permutation ``s``. What stands in a loop counts
as often as the loop runs.
"""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict

import numpy as np

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
SIZES = {
    "pred": 1, "s4": 0.5, "u4": 0.5, "s8": 1, "u8": 1, "f8e4m3fn": 1, "f8e5m2": 1, "s16": 2, "u16": 2, "f16": 2,
    "bf16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8,
}  # fmt: skip
_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{$")
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\]")
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.\-]+) = (.*?) ([a-z][\w\-]*)\(")
_CALLED = re.compile(
    r"(?:calls|to_apply|body|condition|branch_computations|called_computations)=(?:\{([^}]*)\}|(%?[\w.\-]+))"
)
_MESH_GROUPS = re.compile(
    r"replica_groups=mesh\[([^\]]+)\](?:, device_ids=\(\[([\d,]+)\](?:T\(([\d,]+)\))?\))? \{([^}]*)\}"
)
_CONDITION = re.compile(r"condition=%?([\w.\-]+)")
_LIMIT = re.compile(r"= s32\[\][^ ]* constant\((\d+)\)")
_TRIPS = re.compile(r'"?known_trip_count"?[:=]\s*\{\s*"?n"?[:=]\s*"?(\d+)')


@dataclasses.dataclass(frozen=True)
class Collective:
    """All collectives of a kind together.

    Attributes:
        count: how often devices begin one in a step.
        wire: bytes that one device sends to others of its slice.
        network: bytes that it sends between slices.
    """

    count: int = 0
    wire: float = 0.0
    network: float = 0.0


def array_bytes(text: str) -> float:
    """Bytes of all arrays in a shape's text, such as ``(f32[4,8]{1,0}, u8[])``."""
    total = 0.0
    for kind, sides in _ARRAY.findall(text):
        if kind in SIZES:
            total += SIZES[kind] * float(np.prod([int(side) for side in sides.split(",") if side] or [1]))
    return total


def groups_of(line: str, devices: int) -> np.ndarray:
    """The groups of devices that take part in a collective together, ``[groups, members]``."""
    if found := re.search(r"replica_groups=\[(\d+),(\d+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", line):
        shape = [int(side) for side in found[3].split(",")]
        numbers = np.arange(np.prod(shape)).reshape(shape)
        if found[4]:
            numbers = numbers.transpose([int(axis) for axis in found[4].split(",")])
        return numbers.reshape(int(found[1]), int(found[2]))
    if found := _MESH_GROUPS.search(line):
        sizes = [int(size) for size in re.findall(r"=(\d+)", found[1])]
        names = re.findall(r"'([^']+)'=", found[1])
        numbers = np.arange(np.prod(sizes))
        if found[2]:
            order = [int(axis) for axis in found[3].split(",")] if found[3] else range(found[2].count(",") + 1)
            numbers = numbers.reshape([int(side) for side in found[2].split(",")]).transpose(list(order)).reshape(-1)
        numbers = numbers.reshape(sizes)
        # An axis, or a part of one: 'axis':(before)size.
        together, shape = [], []
        parts = {name: (before, size) for name, before, size in re.findall(r"'([^']+)'(?::\((\d+)\)(\d+))?", found[4])}
        for name, size in zip(names, sizes, strict=True):
            before, own = parts.get(name, ("1", "1"))
            inner = int(own) if own else size
            outer = int(before) if before else 1
            shape += [outer, inner, size // (outer * inner)]
            together.append(len(shape) - 2)
        spread = numbers.reshape(shape)
        return np.moveaxis(spread, together, range(-len(together), 0)).reshape(
            -1, int(np.prod([shape[axis] for axis in together]))
        )
    if found := re.search(r"(?:replica_groups|source_target_pairs)=\{(\{[\d,{} ]*\})\}", line):
        rows = [[int(number) for number in row.split(",")] for row in re.findall(r"\{([\d, ]+)\}", found[1])]
        if rows and len({len(row) for row in rows}) == 1:
            return np.array(rows)
    return np.arange(devices)[None]


def _trips(line: str, bodies: dict[str, list[str]]) -> float:
    """How often a loop runs: as the compiler says, or what its condition counts up to; 1 where neither tells."""
    if found := _TRIPS.search(line):
        return float(found[1])
    condition = _CONDITION.search(line)
    limits = [found[1] for each in bodies.get(condition[1] if condition else "", []) if (found := _LIMIT.search(each))]
    return float(limits[0]) if len(limits) == 1 else 1.0


def collectives(text: str, devices: int, slices: int = 1) -> dict[str, Collective]:
    """Every kind of collective in a compiled program.

    Args:
        text: of the optimised HLO module.
        devices: on which it runs.
        slices: into which these fall, in order.
    """
    bodies: dict[str, list[str]] = {}
    entry, name = "", ""
    for line in text.splitlines():
        if found := _COMPUTATION.match(line):
            name = found[1]
            bodies[name] = []
            entry = name if line.startswith("ENTRY") else entry
        elif name:
            bodies[name].append(line)
    times: dict[str, float] = defaultdict(float)

    def visit(computation: str, often: float) -> None:
        times[computation] += often
        for line in bodies[computation]:
            trips = _trips(line, bodies) if " while(" in line else 1.0
            for several, called in _CALLED.findall(line):
                for each in (several or called).split(", "):
                    if each.lstrip("%") in bodies:
                        visit(each.lstrip("%"), often * trips)

    if entry:
        visit(entry, 1.0)
    per_slice = devices // slices
    found_all: dict[str, Collective] = {}
    for computation, often in times.items():
        for line in bodies[computation]:
            parts = _INSTRUCTION.match(line)
            if parts is None:
                continue
            kind = parts[3].removesuffix("-start")
            if kind not in KINDS or parts[3].endswith("-done"):
                continue
            groups = groups_of(line, devices)
            members = groups.shape[1]
            if members < 2:
                continue
            made = array_bytes(parts[2])
            if parts[3].endswith("-start"):  # its result holds the input beside the output
                made *= members / (members + 1) if kind == "all-gather" else 0.5
            share = (members - 1) / members
            sent = {
                "all-gather": made * share, "all-reduce": 2 * made * share, "reduce-scatter": made * (members - 1),
                "all-to-all": made * share, "collective-permute": made,
            }[kind]  # fmt: skip
            across = len(np.unique(groups[0] // per_slice)) > 1
            before = found_all.get(kind, Collective())
            found_all[kind] = Collective(
                before.count + round(often),
                before.wire + (0.0 if across else sent * often),
                before.network + (sent * often if across else 0.0),
            )
    return found_all
