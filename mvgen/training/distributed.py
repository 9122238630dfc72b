"""Several processes that train one model: how they find each other, agree to stop, and end when one of them has died.

A process is a host of a pod, or one of several on a machine. Every process runs the same command; who it is comes from
its surroundings, never from the command line.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from mvgen.errors import UserError

HEARTBEAT_SECONDS = 20
"""A process that has been silent for so long is dead, where no closed connection has told it earlier."""
LOST_A_PEER = 75
"""Exit status of a process that ends because another has: EX_TEMPFAIL of sysexits.h, start all of them again."""
ADDRESS, COUNT, NUMBER = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"


def connect(found_out: bool = False) -> None:
    """Joins the other processes, where there are any; before anything else is asked of jax.

    They are told of by ``JAX_COORDINATOR_ADDRESS``, ``JAX_NUM_PROCESSES`` and ``JAX_PROCESS_ID`` (launch/local.sh sets
    them), or by Slurm, Open MPI or a TPU pod, as jax itself finds out.

    Args:
        found_out: ask jax to find out even where the environment says nothing, as on TPU VMs, whose metadata server
            is asked.

    Raises:
        UserError: the variables do not fit together, or the others cannot be reached.
    """
    told: dict[str, str | int] = {}
    if os.environ.get(ADDRESS):
        numbers = [os.environ.get(name, "") for name in (COUNT, NUMBER)]
        if not all(number.isdigit() for number in numbers):
            raise UserError(f"{ADDRESS} is set, so {COUNT} and {NUMBER} are needed too; they are {numbers}")
        told = {
            "coordinator_address": os.environ[ADDRESS],
            "num_processes": int(numbers[0]),
            "process_id": int(numbers[1]),
        }
    elif not (found_out or _of_several()):
        return
    try:
        jax.distributed.initialize(**told, heartbeat_timeout_seconds=HEARTBEAT_SECONDS)  # type: ignore[arg-type]
    except (RuntimeError, ValueError) as error:
        raise UserError(f"the other processes of this run cannot be joined: {_first_line(error)}") from error


def _of_several() -> bool:
    """Whether a launcher that jax knows has started more than this process."""
    counts = [os.environ.get(name, "") for name in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")]
    return any(count.isdigit() and int(count) > 1 for count in counts) or "," in os.environ.get(
        "TPU_WORKER_HOSTNAMES", ""
    )


class Agreement:
    """What any of the processes asks for, as an array that all of them read alike.

    A signal reaches each process at another moment, and all must stop after the same step. So each step carries every
    process's wish, and their maximum is read with the step's metrics, when all have the same answer.
    """

    def __init__(self, mesh: Mesh):
        self._each = NamedSharding(mesh, P(mesh.axis_names))
        self._any = jax.jit(jnp.max, out_shardings=NamedSharding(mesh, P()))

    def ask(self, wanted: int) -> jax.Array:
        """A scalar on the devices: the largest number that any process gives. Nothing is waited for."""
        mine = np.full(1, wanted, np.int32)
        pieces = [jax.device_put(mine, device) for device in self._each.mesh.local_devices]
        return self._any(jax.make_array_from_single_device_arrays((self._each.mesh.size,), self._each, pieces))


def leave(error: BaseException) -> NoReturn:
    """Ends one process of several at once, with a reason: the others would be waited for, and may be gone.

    A ``UserError`` is this process's own trouble (status 2). Anything else is most often a connection that another
    process closed by dying (status ``LOST_A_PEER``).
    """
    who = f"process {jax.process_index()} of {jax.process_count()}"
    if isinstance(error, UserError):
        line, status = f"error: {who}: {' '.join(str(error).split())}", 2
    else:
        line = (
            f"error: {who} ends: another process has died, or cannot be reached ({type(error).__name__}: "
            f"{_first_line(error)}); start all of them again, they go on from the newest checkpoint"
        )
        status = LOST_A_PEER
    print(line, file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(status)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
