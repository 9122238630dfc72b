"""How a trained variant is measured: as a checkpoint is on held-out and changed sets, and by its cross-entropy."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from mvgen.data.records import RecordSource
from mvgen.evaluation.held_out import HeldOut, held_out_windows
from mvgen.evaluation.metrics.chance import derangement
from mvgen.evaluation.robustness import TOGETHER, Robustness
from mvgen.inference.sampling import Sampling
from mvgen.inference.video_to_music import video_latents
from mvgen.models.mvgen import MVGen
from mvgen.training.losses import music_losses


def measure(
    workdir: Path, sources: Mapping[str, RecordSource], seconds: float, windows: int, generated: int
) -> dict[str, Any]:
    """Scores of a run's newest checkpoint.

    Args:
        workdir: of the run.
        sources: sets of records by name, the plain one first; the others hold the same clips with one thing changed.
        seconds: length of a window.
        windows, generated: how many windows of a set at most, and for how many of them music is made.

    Returns:
        Of each set every measure of :meth:`mvgen.evaluation.robustness.Robustness.measure`, and for the plain one
        ``cross_entropy``: ``mean``, nats a token over the first window the model was trained on, and ``chance``, the
        same with another clip's picture of the same instrument.

    Raises:
        UserError: records that the model was not trained on, or too few.
    """
    robustness = Robustness(str(workdir), seconds, windows, generated, Sampling(), seed=0)
    scores = {}
    for number, (name, source) in enumerate(sources.items()):
        scores[name] = robustness.measure(name, source)["measures"]
        if not number:
            held_out = held_out_windows(source, robustness.model.config, robustness.window, windows)
            scores[name]["cross_entropy"] = cross_entropies(robustness.model, held_out)
    return scores


def cross_entropies(model: MVGen, held_out: HeldOut) -> dict[str, float | None]:
    """``mean``: nats a token, given the true past and the picture; ``chance``: given another clip's picture."""
    graph, state = nnx.split(model)

    def batches(first: int) -> np.ndarray:
        return np.minimum(first + np.arange(TOGETHER), len(held_out) - 1)  # past the end the last one: one shape

    def all_of(latents: np.ndarray) -> np.ndarray:
        rows = [
            np.asarray(_cross_entropies(graph, state, jnp.asarray(latents[at]), jnp.asarray(held_out.tokens[at])))
            for at in map(batches, range(0, len(held_out), TOGETHER))
        ]
        return np.concatenate(rows)[: len(held_out)]

    latents = np.concatenate(
        [
            np.asarray(video_latents(model, {name: jnp.asarray(v[at]) for name, v in held_out.video.items()}))
            for at in map(batches, range(0, len(held_out), TOGETHER))
        ]
    )[: len(held_out)]
    partners = derangement(held_out.labels, seed=0)
    other = all_of(latents[np.maximum(partners, 0)])[partners >= 0]
    return {"mean": float(all_of(latents).mean()), "chance": float(other.mean()) if len(other) else None}


@partial(jax.jit, static_argnames="graph")
def _cross_entropies(graph: nnx.GraphDef, state: nnx.State, latents: jax.Array, tokens: jax.Array) -> jax.Array:
    model = nnx.merge(graph, state)

    def one(latents: jax.Array, tokens: jax.Array) -> jax.Array:
        return music_losses(model, tokens[None], latents[None], jnp.ones(1, bool), ("music",))["music"]

    return jax.vmap(one)(latents, tokens)
