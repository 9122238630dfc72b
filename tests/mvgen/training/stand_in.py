"""A run whose model compiles at once, in this process or in one of its own, to be stopped and killed.

Processes are forked from a server that has imported everything, so that a start costs a second and not ten. They are
processes of their own in all else: own devices, own threads, own signals.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from mvgen.errors import run_command
from mvgen.training import distributed, loop, step
from tests.mvgen.synthetic import StandIn, tiny


def loss(model: StandIn, batch: dict, key: jax.Array, config: Any, *, train: bool = True) -> tuple:
    """What the stand-in learns: flow from colours, with noise."""
    colours = batch["frames"].astype(jnp.float32).mean((1, 2, 3)) / 255
    answer = model.fc2(jnp.tanh(model.fc1(colours)))[:, 0]
    noise = jax.random.normal(key, answer.shape) * train
    value = jnp.mean((answer - batch["flow"].astype(jnp.float32).mean((1, 2, 3, 4)) - noise) ** 2)
    return value, {"loss": value, "music": value}


def install(patch: Callable[[Any, str, Any], None] = setattr) -> None:
    """Puts the stand-in in the place of MVGen."""
    patch(step, "make_model", lambda config, spec: StandIn(rngs=nnx.Rngs(config.seed)))
    patch(step, "total_loss", loss)
    patch(step, "learned_parts", lambda config: ("fc1", "fc2"))


def _run(records: str, workdir: str, fields: dict[str, Any], stderr: str, environment: dict[str, str]) -> None:
    handle = os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 2)
    os.dup2(handle, 1)
    sys.stderr = sys.stdout = os.fdopen(2, "w", buffering=1)
    os.environ.update(environment)
    if "CPU_DEVICES" in environment:
        jax.config.update("jax_num_cpu_devices", int(environment["CPU_DEVICES"]))
    if environment.get("MODEL") != "real":
        install()
    config = tiny(records)
    config.update_from_flattened_dict(fields)

    def command() -> int:
        distributed.connect()
        return loop.train(config, workdir)

    run_command(command)


def begin(records: Path, workdir: Path, fields: dict[str, Any], **environment: str) -> BaseProcess:
    """Starts a run in a process of its own; it speaks to ``WORKDIR.err`` (process 1: ``.err1``), a file or a pipe."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "mvgen.training.loop"])
    stderr = f"{workdir}.err{environment.get(distributed.NUMBER, '0').replace('0', '')}"
    process = context.Process(target=_run, args=(str(records), str(workdir), fields, stderr, environment))
    process.start()
    return process


def begin_two(
    records: Path, workdir: Path, fields: dict[str, Any], devices: int = 2, **environment: str
) -> list[BaseProcess]:
    """Starts a run of two processes with so many devices each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {distributed.ADDRESS: f"127.0.0.1:{port}", distributed.COUNT: "2", "CPU_DEVICES": str(devices)}
    return [
        begin(records, workdir, fields, **common, **environment, **{distributed.NUMBER: str(number)})
        for number in range(2)
    ]
