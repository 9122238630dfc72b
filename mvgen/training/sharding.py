"""Where every array lives: a mesh of devices, and one table that says how each parameter is split over it.

The mesh has three axes, each of which may be one device long: ``data`` splits the batch; ``fsdp`` splits the batch too,
and the parameters with it (each device keeps a share and gathers the rest when needed); ``tensor`` splits heads and
hidden units (Megatron's way: the first matrix of a pair by its outputs, the second by its inputs).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from mvgen.errors import UserError

AXES = ("data", "fsdp", "tensor")
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


def make_mesh(data: int = -1, fsdp: int = 1, tensor: int = 1, *, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh with the axes of ``AXES``.

    Args:
        data: devices along ``data``; -1 takes all that the other axes leave.
        fsdp: devices along ``fsdp``.
        tensor: devices along ``tensor``.
        devices: by default all devices of all hosts.

    Raises:
        UserError: the axes do not multiply to the number of devices.
    """
    count = jax.device_count() if devices is None else len(devices)
    if min(fsdp, tensor) < 1 or (data < 1 and data != -1):
        raise UserError(f"config.mesh is data {data}, fsdp {fsdp}, tensor {tensor}; sizes start at 1 (data may be -1)")
    if data == -1:
        data = max(1, count // (fsdp * tensor))
    if data * fsdp * tensor != count:
        raise UserError(f"config.mesh asks for {data} x {fsdp} x {tensor} devices, and there are {count}")
    return jax.make_mesh((data, fsdp, tensor), AXES, axis_types=(AxisType.Auto,) * 3, devices=devices)


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
        raise UserError(f"config.data.batch_size {batch_size} does not divide among {ways} devices (data x fsdp)")


def put_batch(batch: dict[str, np.ndarray], sharding: NamedSharding) -> Arrays:
    """Puts this host's share of a batch onto its devices, as part of the whole batch."""
    return {name: jax.make_array_from_process_local_data(sharding, array) for name, array in batch.items()}
