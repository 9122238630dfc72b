"""The losses of held-out records, and what attention looks at in one of them: always the same windows and noise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from mvgen.data import loader
from mvgen.data.records import RecordSpec
from mvgen.data.records import read_description as read_records
from mvgen.errors import UserError
from mvgen.models.attention_maps import Maps
from mvgen.training import sharding
from mvgen.training.checkpoint import find, load_params
from mvgen.training.preparation import batches_of, check_config, open_windows, prepare
from mvgen.training.sample import Sample, Sampler
from mvgen.training.step import Metrics, Params, Program


def evaluate(config: ConfigDict, workdir: str | Path) -> dict[str, float]:
    """Losses of the newest checkpoint in ``workdir`` (averaged parameters) on held-out records.

    All is as the run was configured; of ``config`` only ``data.path`` (where given), ``data.eval_split`` and
    ``train.eval_batches`` are taken.

    Returns:
        Name to value, and ``step``.

    Raises:
        UserError: no checkpoint there, or the records are not such as it was trained on.
    """
    _, step = find(workdir)
    _, params, run, trained_on = load_params(workdir)
    run.data.path = config.data.path or run.data.path
    run.data.eval_split, run.train.eval_batches = config.data.eval_split, config.train.eval_batches
    check_config(run)
    spec = RecordSpec.from_json(read_records(run.data.path)["spec"])
    if spec != RecordSpec.from_json(trained_on["spec"]):
        raise UserError(f"{run.data.path} holds {spec}, and {workdir} was trained on {trained_on['spec']}")
    program = prepare(run, spec)
    windows = open_windows(run, run.data.eval_split)
    params = jax.tree.map(lambda x, like: jax.device_put(x, like.sharding), params, program.abstract.ema)
    return {"step": step, **held_out_losses(run, program, program.evaluate, params, windows)}


def held_out_attention(
    config: ConfigDict, program: Program, attend: Callable[..., Maps], params: Params, windows: loader.Windows
) -> dict[str, np.ndarray]:
    """What attention looks at in a window of the first held-out record: always the same one."""
    window = windows.cut(int(windows.usable[0]), np.random.default_rng(0))
    size = config.data.batch_size // sharding.share_of(program.batch_sharding, config.data.batch_size)[1]
    batch = {name: np.repeat(array[None], size, axis=0) for name, array in window.items()}
    return jax.device_get(attend(params, sharding.put_batch(batch, program.batch_sharding)))


def held_out_sample(
    config: ConfigDict, program: Program, sampler: Sampler, params: Params, windows: loader.Windows
) -> Sample:
    """What the model makes of the window that :func:`held_out_attention` is of. ``params`` are all in this process."""
    window = windows.cut(int(windows.usable[0]), np.random.default_rng(0))
    spec = RecordSpec.from_json(read_records(config.data.path)["spec"])
    with jax.transfer_guard("allow"):  # it is generation, not training, and runs as it always does
        model = nnx.merge(program.graphdef, jax.tree.map(jax.numpy.asarray, jax.device_get(params)))
        return sampler(model, spec, window, bool(config.loss.video))


def held_out_losses(
    config: ConfigDict, program: Program, judge: Callable[..., Metrics], params: Params, windows: loader.Windows
) -> dict[str, float]:
    """Mean of every metric over ``config.train.eval_batches`` batches: always the same windows and the same noise.

    ``judge`` is ``program.evaluate``, or the same compiled beforehand.
    """
    share = sharding.share_of(program.batch_sharding, config.data.batch_size)
    examples = batches_of(config, windows, first_example=0, shuffle=False, share=share)
    everywhere = NamedSharding(program.mesh, PartitionSpec())
    scores = []
    for number in range(config.train.eval_batches):
        batch = sharding.put_batch(next(examples), program.batch_sharding)
        scores.append(judge(params, batch, jax.device_put(np.int32(number), everywhere)))
    examples.close()
    fetched = jax.device_get(scores)
    return {name: float(np.mean([score[name] for score in fetched])) for name in fetched[0]}
