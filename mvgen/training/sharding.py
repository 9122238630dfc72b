"""Where every array lives: a mesh of devices, and one table that says how each parameter is split over it.

The mesh has four axes, each of which may be one device long: ``data`` splits the batch; ``fsdp`` splits the batch too,
and the parameters with it (each device keeps a share and gathers the rest when needed); ``context`` splits long
sequences inside attention (:mod:`mvgen.models.context`); ``tensor`` splits heads and hidden units (Megatron's way: the
first matrix of a pair by its outputs, the second by its inputs). With all but ``data`` at 1 it is plain data
parallelism, what ``pmap`` did.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from mvgen.errors import UserError

AXES = ("data", "fsdp", "context", "tensor")
"""From the outside in: neighbours along ``tensor`` speak most with each other."""
Arrays = dict[str, jax.Array]
"""A batch on the devices, or metrics."""
BATCH = P(("data", "fsdp"))
"""How a batch is split: along its first axis."""

RULES: tuple[tuple[str, P], ...] = (
    # Into heads and hidden units: kernels are [inputs, outputs].
    (r"(^|/)(q|k|v|fc1)/kernel$", P("fsdp", "tensor")),
    (r"(^|/)(q|k|v|fc1)/bias$", P("tensor")),
    # Out of them.
    (r"(^|/)(attention|cross|space|time|sound)/out/kernel$", P("tensor", "fsdp")),
    (r"(^|/)fc2/kernel$", P("tensor", "fsdp")),
    # Into logits over a codebook, and embeddings [entries, width].
    (r"(^|/)heads/\d+/kernel$", P("fsdp", "tensor")),
    (r"(^|/)embeddings/\d+/embedding$", P("tensor", "fsdp")),
    # The other projections: their output goes into the residual stream, which tensor does not split.
    (r"(^|/)(patches|merge\d*|join|flow|semantic|landmarks|project_(video|audio))/kernel$", P("fsdp", None)),
    (r"(^|/)(verdict|condition|locked|two|text|read|scale)/kernel$", P("fsdp", None)),
    (r"(^|/)(noisy|image|level[12]|modulation|base|points|denoiser/out)/kernel$", P("fsdp", None)),
    (r"(^|/)(cells|find|layers|audio|given|first|heard|memory|places)/kernel$", P("fsdp", None)),
    # Small vectors and the patches' places: every device has them whole.
    (r"(^|/)norm\w*/(scale|bias)$", P()),
    (r"/bias$", P()),
    (r"(^|/)(log_scale|no_video|no_audio|place|modulation_offset)$", P()),
    (r"(^|/)movement/(offset|strength|softness|near)$", P()),
)
"""Regular expression over a parameter's path, and how its last axes are split. The first that matches holds."""


MOMENTS = re.compile(r"/\d+/(mu|nu)/")
"""Between a part and its parameters stands Adam's name of a moment; moments lie where their parameters lie."""


def make_mesh(
    data: int = -1,
    fsdp: int = 1,
    tensor: int = 1,
    context: int = 1,
    *,
    devices: Sequence[jax.Device] | None = None,
    slices: int = 1,
) -> Mesh:
    """A mesh with the axes of ``AXES``.

    Args:
        data: devices along ``data``; -1 takes all that the other axes leave.
        fsdp: devices along ``fsdp``.
        tensor: devices along ``tensor``.
        context: devices along ``context``.
        devices: by default all devices of all hosts.
        slices: of so many pods, which speak with each other through the slower data-centre network; ``data`` alone
            runs over them.

    Raises:
        UserError: the axes do not multiply to the number of devices.
    """
    count = jax.device_count() if devices is None else len(devices)
    told = f"data {data}, fsdp {fsdp}, context {context}, tensor {tensor}"
    if min(fsdp, tensor, context) < 1 or (data < 1 and data != -1):
        raise UserError(f"config.mesh is {told}; sizes start at 1 (data may be -1)")
    within = fsdp * context * tensor
    if data == -1:
        data = max(1, count // within)
    if data * within != count:
        works = "set config.mesh.data to -1" if count % within == 0 else f"fsdp x context x tensor must divide {count}"
        raise UserError(
            f"config.mesh asks for {data} x {fsdp} x {context} x {tensor} devices (data x fsdp x context x tensor), "
            f"and there are {count}; {works}"
        )
    shape, types = (data, fsdp, context, tensor), (AxisType.Auto,) * 4
    if slices == 1:
        return jax.make_mesh(shape, AXES, axis_types=types, devices=devices)
    if data % slices:
        raise UserError(
            f"config.mesh.data {data} does not divide among {slices} slices; make it a multiple of {slices}"
        )
    inner, outer = (data // slices, *shape[1:]), (slices, 1, 1, 1)
    return Mesh(mesh_utils.create_hybrid_device_mesh(inner, outer, devices=devices), AXES, axis_types=types)


def path_name(path: tuple[Any, ...]) -> str:
    """A pytree path as text, for example ``params/encoder/video/tower/blocks/0/mlp/fc1/kernel``."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def partition(name: str, shape: tuple[int, ...], mesh: Mesh) -> P:
    """How the array of this name is split.

    An axis whose length the mesh does not divide stays whole. Leading axes that the rule does not speak of stay whole.

    Raises:
        ValueError: no rule matches.
    """
    if not shape:
        return P()
    name = MOMENTS.sub("/", name)
    for pattern, spec in RULES:
        if re.search(pattern, name):
            axes = [None] * (len(shape) - len(spec)) + list(spec)
            if len(axes) != len(shape):
                raise ValueError(f"{name} has shape {shape}, and the rule {pattern!r} speaks of {len(spec)} axes")
            fits = [axis and size % mesh.shape[axis] == 0 for axis, size in zip(axes, shape, strict=True)]
            return P(*(axis if fit else None for axis, fit in zip(axes, fits, strict=True)))
    raise ValueError(f"no rule in mvgen/training/sharding.py matches the parameter {name} of shape {shape}; add one")


def shardings(tree: Any, mesh: Mesh) -> Any:
    """The sharding of every array of a tree (arrays or ``ShapeDtypeStruct``): parameters, averages, optimizer state.

    Raises:
        ValueError: no rule matches some parameter; all of them are named.
    """
    unmatched: list[str] = []

    def place(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
        try:
            return NamedSharding(mesh, partition(path_name(path), leaf.shape, mesh))
        except ValueError as error:
            unmatched.append(str(error))
            return NamedSharding(mesh, P())

    placed = jax.tree_util.tree_map_with_path(place, tree)
    if unmatched:
        raise ValueError("; ".join(unmatched))
    return placed


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The sharding of every array of a batch."""
    return NamedSharding(mesh, BATCH)


def check_batch(batch_size: int, mesh: Mesh) -> None:
    """Raises ``UserError`` when a batch does not divide among the devices that split it."""
    ways = mesh.shape["data"] * mesh.shape["fsdp"]
    if batch_size % ways:
        raise UserError(
            f"config.data.batch_size {batch_size} does not divide among {ways} devices (data x fsdp); "
            f"{max(ways, round(batch_size / ways) * ways)} would"
        )


def share_of(sharding: NamedSharding, batch_size: int) -> tuple[int, int]:
    """Which share of a batch this process's devices hold, and into how many shares it falls.

    Processes whose devices differ along ``context`` or ``tensor`` alone hold the same share.

    Raises:
        UserError: the rows of this process's devices are not one such share.
    """
    spans = sorted({part for (part,) in _shards(sharding, (batch_size,))})
    first, last = spans[0][0], spans[-1][1]
    size = last - first
    together = all(before[1] == after[0] for before, after in zip(spans, spans[1:], strict=False))
    if not together or batch_size % size or first % size:
        raise UserError(
            f"config.mesh lays the batch over the processes in pieces ({spans} on this one); make config.mesh.data x "
            "fsdp a multiple of the number of processes, or a divisor of it"
        )
    return first // size, batch_size // size


def put_batch(batch: dict[str, np.ndarray], sharding: NamedSharding) -> Arrays:
    """Puts this process's share of a batch onto its devices, as part of the whole batch."""
    rows = len(next(iter(batch.values())))
    if jax.process_count() == 1:
        return {name: jax.device_put(array, sharding) for name, array in batch.items()}
    # The batch is as long as it takes for the devices of this process to hold these rows.
    ways = sharding.mesh.shape["data"] * sharding.mesh.shape["fsdp"]
    mine = len({part for (part, *_) in _shards(sharding, (ways,))})
    whole = rows * ways // mine
    share, _ = share_of(sharding, whole)

    def put(array: np.ndarray) -> jax.Array:
        shape = (whole, *array.shape[1:])
        pieces = []
        for device, (part, *_) in sharding.addressable_devices_indices_map(shape).items():  # type: ignore[misc]
            begin, end, _ = part.indices(whole)
            pieces.append(jax.device_put(array[begin - share * rows : end - share * rows], device))
        return jax.make_array_from_single_device_arrays(shape, sharding, pieces)

    return {name: put(array) for name, array in batch.items()}


def _shards(sharding: NamedSharding, shape: tuple[int, ...]) -> list[tuple[tuple[int, int], ...]]:
    """Where each device of this process begins and ends along each axis."""
    indices = sharding.addressable_devices_indices_map(shape).values()
    return [
        tuple(part.indices(size)[:2] for part, size in zip(index, shape, strict=True))
        for index in indices
        if index is not None
    ]
