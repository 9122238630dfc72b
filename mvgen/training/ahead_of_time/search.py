"""Finds what makes a step fit: layers worked out again, a finer mesh, a smaller batch, in this order."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator

from ml_collections import ConfigDict

from mvgen.data.records import RecordSpec
from mvgen.errors import UserError
from mvgen.training.ahead_of_time.chips import Topology
from mvgen.training.ahead_of_time.compiling import DoesNotFit, Step, compile_for
from mvgen.training.layers import LAYERS


def candidates(config: ConfigDict, count: int) -> Iterator[dict[str, object]]:
    """Changes to try, the least first, as fields of the configuration and their values.

    The mesh takes from ``data`` what it gives to ``fsdp``, so the batch stays divisible; then ``context`` splits what
    activations take; then the batch is halved.
    """
    remat = {"train.remat": LAYERS, "train.scan_layers": True}
    yield remat
    tensor, batch = config.mesh.tensor, config.data.batch_size
    fsdp = config.mesh.fsdp
    while fsdp * 2 * tensor * config.mesh.context <= count and batch % (count // (tensor * config.mesh.context)) == 0:
        fsdp *= 2
    full = {**remat, "mesh.data": -1, "mesh.fsdp": fsdp}
    if fsdp != config.mesh.fsdp:
        yield full
    context = config.mesh.context
    while batch > 1:
        batch //= 2
        if batch % max(1, count // (tensor * context)):  # fewer examples than devices: several share each
            context *= 2
        if count % (tensor * context):
            return
        ways = count // (tensor * context)
        if batch % ways == 0:
            yield {**full, "mesh.fsdp": ways, "mesh.context": context, "data.batch_size": batch}


def search(config: ConfigDict, spec: RecordSpec, topology: Topology) -> tuple[dict[str, object], Step]:
    """The first change that fits, and the step compiled with it; each trial is told on stderr.

    Raises:
        UserError: none does.
    """
    why: Exception = UserError("there was nothing to try")
    for changes in candidates(config, topology.count):
        tried = copy.deepcopy(config)
        tried.update_from_flattened_dict(changes)
        words = flags(changes)
        try:
            step = compile_for(tried, spec, topology)
        except (DoesNotFit, UserError) as error:
            print(f"{words}: {error}", file=sys.stderr, flush=True)
            why = error
            continue
        return changes, step
    raise UserError(f"nothing that was tried fits {topology.name}; the last: {why}")


def flags(changes: dict[str, object]) -> str:
    """Changes as they are typed."""
    return " ".join(f"--config.{name}={value}" for name, value in changes.items())
