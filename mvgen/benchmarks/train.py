"""How fast training is, beside what the machine can do: the real loader, step and loop's order, and nothing reported.

*Matrix rate*: the best of several products of square float32 matrices (bfloat16 where the configuration computes in
it), taken before and after the steps; the higher one counts. *MFU*: model FLOPs
(:mod:`mvgen.training.ahead_of_time.work`) a second over that rate times the number of devices. *Host time*: what it
takes to send off a step, batch and all. *Input wait*: what ``next(examples)`` takes.
"""

from __future__ import annotations

import resource
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from mvgen.data.records import RecordSpec
from mvgen.data.records import read_description as read_records
from mvgen.training import preparation, sharding
from mvgen.training.ahead_of_time.compiling import counted_flops

SIDE, TRIES = 2048, 8
"""Of the matrices of the matrix rate, and how often they are multiplied."""
WARM = 2
"""Steps before those that are timed."""


def matrix_rate(dtype: str, side: int = SIDE) -> float:
    """FLOP/s of one device in products of square matrices, the best of ``TRIES``."""
    one = jnp.ones((side, side), dtype)
    product = jax.jit(lambda a, b: a @ b)
    product(one, one).block_until_ready()
    best = 0.0
    for _ in range(TRIES):
        begun = time.perf_counter()
        product(one, one).block_until_ready()
        best = max(best, 2.0 * side**3 / (time.perf_counter() - begun))
    return best


def measure(config: ConfigDict, steps: int) -> dict[str, Any]:
    """Every figure of ``mvgen.bench train``; times in seconds, of the median step.

    Raises:
        UserError: the configuration or its records cannot be trained.
    """
    preparation.check_config(config)
    spec = RecordSpec.from_json(read_records(config.data.path)["spec"])
    rate = matrix_rate(config.model.dtype)
    program = preparation.prepare(config, spec)
    windows = preparation.open_windows(config, config.data.train_split)
    begun = time.perf_counter()
    advance = preparation.compile_step(config, program, windows)
    compiling = time.perf_counter() - begun
    state = program.init()
    share = sharding.share_of(program.batch_sharding, config.data.batch_size)
    examples = preparation.batches_of(config, windows, 0, share=share)
    took, waited, host = [], [], []
    before: Any = None
    with jax.transfer_guard("disallow"):
        last = time.perf_counter()
        for number in range(WARM + steps):
            begun = time.perf_counter()
            batch = next(examples)
            fetched = time.perf_counter()
            state, metrics = advance(state, sharding.put_batch(batch, program.batch_sharding))
            sent = time.perf_counter()
            if before is not None:
                jax.device_get(before)  # of the step before, as in training
            before = metrics
            now = time.perf_counter()
            if number >= WARM:
                took.append(now - last)
                waited.append(fetched - begun)
                host.append(sent - fetched)
            last = now
        jax.block_until_ready(state)
    examples.close()
    rate = max(rate, matrix_rate(config.model.dtype))
    step = float(np.median(took))
    flops = counted_flops(config, spec)
    devices = program.mesh.size
    return {
        "device": jax.devices()[0].device_kind,
        "devices": devices,
        "dtype": config.model.dtype,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(program.abstract.params)),
        "steps": steps,
        "step_seconds": step,
        "step_seconds_best": min(took),
        "examples_per_second": config.data.batch_size / step,
        "model_flops": flops,
        "matrix_rate": rate,
        "mfu": flops / (step * rate * devices),
        "mfu_best": flops / (min(took) * rate * devices),
        "host_seconds": float(np.median(host)),
        "input_wait": sum(waited) / sum(took),
        "compile_seconds": compiling,
        "peak_bytes": peak_bytes(),
    }


def peak_bytes() -> int:
    """Most memory that was in use: the first device's where it says so, else this process's."""
    stats = jax.devices()[0].memory_stats() or {}
    unit = 1 if sys.platform == "darwin" else 1024
    return int(stats.get("peak_bytes_in_use") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def lines(found: dict[str, Any]) -> str:
    """What was measured, in words."""
    return (
        f"{found['parameters'] / 1e6:.2f} M parameters, {found['dtype']}, {found['devices']} x {found['device']}\n"
        f"a step takes {found['step_seconds'] * 1e3:.1f} ms ({found['examples_per_second']:.2f} examples a second; at "
        f"best {found['step_seconds_best'] * 1e3:.1f} ms)\n"
        f"model FLOPs {found['model_flops']:.3g} a step; matrix rate {found['matrix_rate'] / 1e9:.1f} GFLOP/s a device;"
        f" MFU {found['mfu']:.1%} (best step {found['mfu_best']:.1%})\n"
        f"host {found['host_seconds'] * 1e3:.2f} ms a step, input wait {found['input_wait']:.2%}, compiled in "
        f"{found['compile_seconds']:.1f} s, peak memory {found['peak_bytes'] / 2**30:.2f} GiB"
    )
