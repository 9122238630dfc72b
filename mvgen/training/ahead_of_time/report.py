"""What was found of a step, as text and as numbers."""

from __future__ import annotations

from typing import Any

from mvgen.training.ahead_of_time.compiling import Step
from mvgen.training.ahead_of_time.roofline import bound


def figures(step: Step, remat: bool) -> dict[str, Any]:
    """All numbers, for ``--json``."""
    found = bound(step, remat)
    return {
        "topology": step.topology.name,
        "devices": step.topology.count,
        "slices": step.topology.slices,
        "compiled": step.topology.devices is not None,
        "parameters": step.parameters,
        "examples": step.examples,
        "device_memory": step.topology.chip.memory,
        "device_bytes": {
            "params": step.params, "optimizer": step.optimizer, "batch": step.batch, "activations": step.activations,
            "peak": step.peak,
        },
        "collectives": {
            kind: {"count": each.count, "wire_bytes": each.wire, "network_bytes": each.network}
            for kind, each in step.moved.items()
        },
        "model_flops": step.model_flops,
        "computing_seconds": found.computing,
        "sending_seconds": found.sending,
        "step_seconds": [found.best, found.worst],
        "mfu": [found.mfu_worst, found.mfu_best],
        "compile_seconds": step.compile_seconds,
    }  # fmt: skip


def lines(step: Step, remat: bool) -> str:
    """The same in words."""
    chip, found = step.topology.chip, bound(step, remat)
    slices = f" in {step.topology.slices} slices" if step.topology.slices > 1 else ""
    told = [
        f"{step.topology.name}: {step.topology.count} devices{slices}, {step.parameters / 1e6:,.1f} M parameters, "
        f"{step.examples} examples a step",
        f"a device holds: parameters and average {gib(step.params)}, optimizer {gib(step.optimizer)}, batch "
        f"{gib(step.batch)}",
    ]
    if step.activations is None:
        told += [
            f"not compiled: {step.topology.why_not}",
            f"at least {gib(step.peak)} of {gib(chip.memory)} with the gradients, before any activation",
        ]
    else:
        told += [
            f"activations and buffers {gib(step.activations)}; at the peak {gib(step.peak)} of {gib(chip.memory)} "
            f"({step.peak / chip.memory:.0%}); compiled in {step.compile_seconds:.0f} s",
        ]
        for kind, each in sorted(step.moved.items()):
            between = f", {gib(each.network)} between slices" if each.network else ""
            told.append(f"{kind}: {each.count} a step, {gib(each.wire)} sent by a device{between}")
    told.append(
        f"model FLOPs {step.model_flops:.3g} a step; bounds: computing {found.computing * 1e3:.3g} ms, sending "
        f"{found.sending * 1e3:.3g} ms; a step takes at least {found.best * 1e3:.3g} ms (MFU at most "
        f"{found.mfu_best:.0%}; {found.mfu_worst:.0%} where sending hides behind nothing)"
    )
    return "\n".join(told)


def gib(count: float) -> str:
    """Bytes as text."""
    return f"{count / 2**30:.2f} GiB" if count >= 2**26 else f"{count / 2**20:.1f} MiB"
