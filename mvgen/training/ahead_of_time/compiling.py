"""Compiles a configuration's real training step for a topology, and measures what the compiler says of it."""

from __future__ import annotations

import copy
import dataclasses
import re
import runpy
import time
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from mvgen import clock
from mvgen.data import loader
from mvgen.data.records import RecordSpec
from mvgen.errors import UserError
from mvgen.models.attention_kernels import always_plain
from mvgen.training import sharding
from mvgen.training.ahead_of_time.chips import Topology
from mvgen.training.ahead_of_time.collectives import Collective, collectives
from mvgen.training.ahead_of_time.work import model_flops
from mvgen.training.layers import NONE
from mvgen.training.step import Program, build

RECORDS = RecordSpec(codebooks=4, codebook_size=512, frame_size=(64, 64), flow_size=(16, 16), codec="encodec_tiny")
"""What records are taken to be where neither a preset nor a folder says: those of Recital."""


CUDA_OPTIONS = {"xla_gpu_enable_triton_gemm": False}
"""Where there is no GPU to try tile sizes on, XLA's own products by Triton cannot be settled; cuBLAS's can."""


class DoesNotFit(UserError):
    """The step takes more memory than a device has."""


@dataclasses.dataclass(frozen=True)
class Step:
    """A training step on a topology; bytes are of one device.

    Attributes:
        parameters: numbers in the model.
        params: bytes of parameters and of their average.
        optimizer: bytes of the optimizer's state.
        batch: bytes of the examples.
        activations: bytes of all that the step makes on the way; ``None`` where no compiler said.
        peak: bytes at the fullest moment, with what a TPU keeps for itself.
        examples: of a step, over all devices.
        model_flops: of a step, over all devices (:mod:`mvgen.training.ahead_of_time.work`).
        moved: collectives by kind; empty where no compiler said.
        compile_seconds: what compiling took here.
    """

    topology: Topology
    parameters: int
    params: float
    optimizer: float
    batch: float
    activations: float | None
    peak: float
    examples: int
    model_flops: float
    moved: dict[str, Collective]
    compile_seconds: float


def records_of(config_file: str, records: str) -> RecordSpec:
    """The spec of a folder of records, or what the preset's file says under ``RECORDS``, or Recital's."""
    if records:
        from mvgen.data.records import read_description

        return RecordSpec.from_json(read_description(records)["spec"])
    said = runpy.run_path(config_file).get("RECORDS")
    return RECORDS if said is None else RecordSpec.from_json({**RECORDS.to_json(), **said})


def abstract_batch(config: ConfigDict, spec: RecordSpec, program: Program) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes, types and shardings of a batch of such records."""
    frames = loader.window_frames(config.data.window_seconds)
    size = config.data.batch_size
    known: dict[str, tuple[tuple[int, ...], Any]] = {
        "tokens": ((clock.tokens_of(frames), spec.codebooks), np.int32),
        "frames": ((frames, *(spec.frame_size or ()), 3), np.uint8),
        "flow": ((frames, *(spec.flow_size or ()), 2), np.float16),
        "semantic": ((frames, spec.semantic_dim), np.float16),
        "landmarks": ((frames, len(spec.landmarks), 3), np.float16),
    }
    return {
        name: jax.ShapeDtypeStruct((size, *known[name][0]), known[name][1], sharding=program.batch_sharding)
        for name in loader.used_features(spec, config.model)
    }


def counted_flops(config: ConfigDict, spec: RecordSpec) -> float:
    """Model FLOPs of a step: traced plainly, on one device, with nothing worked out again."""
    plain = copy.deepcopy(config)
    with plain.unlocked():
        plain.train.remat = NONE
        plain.mesh = ConfigDict({"data": 1, "fsdp": 1, "tensor": 1, "context": 1})
    program = build(plain, spec, sharding.make_mesh(devices=jax.devices()[:1]))
    with always_plain():
        return model_flops(program.step, program.abstract, abstract_batch(plain, spec, program))


def compile_for(config: ConfigDict, spec: RecordSpec, topology: Topology, flops: float | None = None) -> Step:
    """Compiles the training step. ``flops``: its model FLOPs, where they have been counted before.

    Where the topology has no compiler here, activations and what is moved are left out, and the peak is a lower bound.

    Raises:
        DoesNotFit: with the bytes that it takes.
        UserError: the mesh or the batch does not divide.
    """
    devices = topology.devices
    if devices is None:  # shapes on so many of this machine's devices say what each would hold
        devices = jax.devices()
        if len(devices) < topology.count:
            raise UserError(
                f"{topology.why_not}; for that too, start with JAX_NUM_CPU_DEVICES={topology.count} in the environment"
            )
        devices = devices[: topology.count]
    mesh = sharding.make_mesh(**config.mesh.to_dict(), devices=devices, slices=topology.slices)
    sharding.check_batch(config.data.batch_size, mesh)
    program = build(config, spec, mesh)
    batch = abstract_batch(config, spec, program)
    flops = counted_flops(config, spec) if flops is None else flops
    held = {
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(program.abstract.params)),
        "params": device_bytes(program.abstract.params) + device_bytes(program.abstract.ema),
        "optimizer": device_bytes(program.abstract.opt_state),
        "batch": device_bytes(batch),
        "examples": config.data.batch_size,
        "model_flops": flops,
    }
    at_rest = held["params"] + held["optimizer"] + held["batch"]
    if topology.devices is None:
        # Gradients lie beside the parameters when the backward pass ends.
        least = at_rest + held["params"] / 2
        return Step(topology, activations=None, peak=least, moved={}, compile_seconds=0.0, **held)
    begun = time.perf_counter()
    lowered = program.step.lower(program.abstract, batch)
    try:
        compiled = lowered.compile(CUDA_OPTIONS if topology.chip.kind == "cuda" else None)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise DoesNotFit(_overflow(str(error), topology, at_rest)) from error
    seconds = time.perf_counter() - begun
    memory = compiled.memory_analysis()
    peak = float(getattr(memory, "peak_memory_in_bytes", 0))
    peak = max(peak, memory.argument_size_in_bytes + memory.temp_size_in_bytes)
    made = Step(
        topology, activations=float(memory.temp_size_in_bytes), peak=peak, compile_seconds=seconds,
        moved=collectives(compiled.as_text(), topology.count, topology.slices), **held,
    )  # fmt: skip
    if peak > topology.chip.memory:  # a GPU's compiler does not mind
        raise DoesNotFit(
            f"the step takes {peak / 2**30:.1f} GiB of each device of {topology.name}, which has "
            f"{topology.chip.memory / 2**30:.1f}"
        )
    return made


def device_bytes(tree: Any) -> float:
    """Bytes of a tree of shapes with shardings on one device."""
    return float(
        sum(np.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
    )


def _overflow(said: str, topology: Topology, at_rest: float) -> str:
    """The compiler's complaint about memory in a line."""
    used = re.search(r"[Uu]sed ([\d.]+[KMGT]) of ([\d.]+[KMGT])", said)
    taken = f"takes {used[1]} of the {used[2]} bytes" if used else "takes more memory than there is"
    return (
        f"the step {taken} that each device of {topology.name} has for programs; {at_rest / 2**30:.1f} GiB of it are "
        "parameters, their average, the optimizer's state and the batch, the rest activations and buffers"
    )
