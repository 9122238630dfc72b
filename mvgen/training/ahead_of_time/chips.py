"""Chips, and groups of them that can be compiled for without being there.

Figures are the makers': Cloud TPU's pages of each version (docs.cloud.google.com/tpu/docs/v5e, v5p, v6e, tpu7x) and
NVIDIA's data sheets of H100 SXM and H200 SXM, dense bfloat16. Bandwidths between chips are one way, half of what is
given both ways.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

from mvgen.errors import UserError

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
    """What one device can do.

    Attributes:
        kind: ``tpu`` or ``cuda``.
        flops: bfloat16 matrix products, a second.
        memory: bytes.
        bandwidth: of that memory, bytes a second.
        link: to other chips of the slice or machine, bytes a second, one way, all links together.
        network: to other slices or machines, bytes a second for each chip.
        cores: devices that jax sees in a chip; every figure above is of one device.
    """

    kind: str
    flops: float
    memory: float
    bandwidth: float
    link: float
    network: float
    cores: int = 1


CHIPS = {
    "v5e": Chip("tpu", 197e12, 16 * GIB, 819e9, 200e9, 3.1e9),
    "v5p": Chip("tpu", 459e12, 95 * GIB, 2765e9, 600e9, 6.25e9),
    "v6e": Chip("tpu", 918e12, 32 * GIB, 1640e9, 400e9, 12.5e9),
    "tpu7x": Chip("tpu", 2307e12 / 2, 96 * GIB, 7380e9 / 2, 600e9 / 2, 12.5e9 / 2, cores=2),
    "h100": Chip("cuda", 989e12, 80e9, 3350e9, 450e9, 50e9),
    "h200": Chip("cuda", 989e12, 141e9, 4800e9, 450e9, 50e9),
}
EXAMPLES = "v5e:4x4, v5p:4x4x4, v6e:16x16, tpu7x:4x4x4, h100:8, h200:1"


@dataclasses.dataclass(frozen=True)
class Topology:
    """A group of devices to compile for.

    Attributes:
        name: as it was given.
        chip: of which it is made.
        count: devices in all slices together.
        slices: of so many pods.
        devices: to compile for; ``None`` where there is no compiler for them here (:attr:`why_not`).
        why_not: why there is none, in a line.
    """

    name: str
    chip: Chip
    count: int
    slices: int = 1
    devices: Sequence[Any] | None = None
    why_not: str = ""


def prepare_environment() -> None:
    """Has libtpu compile without looking for a TPU; before jax is asked for anything."""
    for name, value in {
        "JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
        "TPU_ACCELERATOR_TYPE": "v5litepod-4", "TPU_WORKER_HOSTNAMES": "localhost", "TF_CPP_MIN_LOG_LEVEL": "2",
    }.items():  # fmt: skip
        os.environ.setdefault(name, value)


def find(name: str, slices: int = 1) -> Topology:
    """The topology of a name such as ``v5p:4x4x4`` or ``h100:8``.

    Raises:
        UserError: there is no such chip or shape, or libtpu is not installed.
    """
    kind, _, shape = name.partition(":")
    chip = CHIPS.get(kind)
    sides = shape.split("x")
    if chip is None or not all(side.isdigit() and int(side) for side in sides) or slices < 1:
        raise UserError(f"--topology {name}: there is no such; for example {EXAMPLES} (chips: {', '.join(CHIPS)})")
    count = 1
    for side in sides:
        count *= int(side)
    if chip.kind == "cuda":
        devices, why_not = _cuda(kind, count)
        return Topology(name, chip, count * slices, slices, devices, why_not)
    from jax.experimental import topologies

    options = {"num_slices": slices} if slices > 1 else {}
    try:
        made = topologies.get_topology_desc(platform="tpu", topology_name=name, **options)
    except Exception as error:  # libtpu raises what it likes
        said = (str(error).strip().splitlines() or [""])[0][:200]
        if "libtpu" in said.lower() or "unable to initialize" in said.lower() or isinstance(error, ImportError):
            raise UserError(
                f"libtpu is not installed, and compiles for TPUs: pip install 'mvgen[tpu]' ({said})"
            ) from error
        raise UserError(f"--topology {name}: {kind} has no such shape; for example {EXAMPLES} ({said})") from error
    return Topology(name, chip, len(made.devices), slices, made.devices)


def _cuda(kind: str, count: int) -> tuple[Sequence[Any] | None, str]:
    """Devices of one machine to compile for, where jax's CUDA plugin is installed; XLA needs no GPU for it."""
    from jax.experimental import topologies

    try:
        made = topologies.get_topology_desc(
            platform="cuda", topology_name=kind, topology=f"1x1x{count}", target_config=_target(kind)
        )
    except Exception as error:  # without the plugin, jax knows no such platform
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
        return None, f"jax's CUDA plugin, which compiles for {kind}, is not here: pip install 'mvgen[cuda]' ({said})"
    return made.devices, ""


def _target(kind: str) -> str:
    """XLA's description of a Hopper GPU, as the text of its message GpuTargetConfigProto.

    Sizes of an SM are those of CUDA's programming guide for compute capability 9.0.
    """
    chip = CHIPS[kind]
    return f"""
gpu_device_info {{
  cuda_compute_capability {{ major: 9 minor: 0 }}
  core_count: 132 fpus_per_core: 128 clock_rate_ghz: 1.98
  threads_per_warp: 32 threads_per_block_limit: 1024 threads_per_core_limit: 2048
  registers_per_block_limit: 65536 registers_per_core_limit: 65536
  shared_memory_per_block: 49152 shared_memory_per_block_optin: 232448 shared_memory_per_core: 233472
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: {chip.bandwidth:.0f} device_memory_size: {chip.memory:.0f} l2_cache_size: 52428800
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 8 patch: 0 }}
device_description_str: "NVIDIA {kind.upper()}"
"""
