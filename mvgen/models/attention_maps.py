"""What attention looks at over time: how much of the picture each token of the token decoder takes.

The fast path computes no weights (:mod:`mvgen.models.attention`): they are worked out here, in a program of their own.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, UInt8

from mvgen import clock
from mvgen.models import delay
from mvgen.models.mvgen import MVGen

PAPER, ACCENT = (0xFB, 0xFB, 0xF9), (0x2F, 0x6F, 0x6A)  # as the report's page
SIDE = 240  # pixels of a picture's longer side, at least

Maps = dict[str, Array]
"""``decoder`` ``[tokens, frames]``: what the token decoder, as it writes each token, takes of each frame. Rows sum to
1. The mean over layers and heads; left out where the model has no cross-attention."""


def attention_maps(model: MVGen, batch: dict[str, Array]) -> Maps:
    """Attention over time for the first example of a batch (as for training: ``frames``, ``tokens``, ...)."""
    if not isinstance(model, MVGen):
        return {}
    first = {name: values[:1] for name, values in batch.items()}
    tokens = first["tokens"].astype(jnp.int32)
    video = model.video_latents(first)
    decoder: list[Array] = []
    columns = delay.delay(tokens, model.decoder.pad)[:, :-1]
    model.decoder.scores(columns, model.decoder.conditioned(video), decoder)
    # A step writes the token of its own number in the first codebook; those after the last only finish the others.
    found = {"decoder": [weights[:, :, : tokens.shape[1]] for weights in decoder]}
    return {name: jnp.stack(layers).mean(axis=(0, 2))[0] for name, layers in found.items() if layers}


@partial(jax.jit, static_argnames="graph")
def _compute(graph: nnx.GraphDef, state: nnx.State, batch: dict[str, Array]) -> Maps:
    return attention_maps(nnx.merge(graph, state), batch)


def compute_maps(model: MVGen, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """:func:`attention_maps`, compiled, on the host."""
    graph, state = nnx.split(model)
    return {name: np.asarray(found) for name, found in _compute(graph, state, batch).items()}


def shade(weights: Float[np.ndarray, "query key"]) -> Float[np.ndarray, "query key"]:
    """How dark each weight is drawn, 0 to 1: each row against its largest, so that what is spread far is still seen."""
    weights = np.asarray(weights, np.float64)
    return weights / np.maximum(weights.max(axis=1, keepdims=True), 1e-12)


def picture(weights: Float[np.ndarray, "query key"]) -> UInt8[np.ndarray, "height width 3"]:
    """Weights as a picture: who looks from top to bottom, what is looked at from left to right, both as long as the
    window lasts; the diagonal is the same time."""
    dark = shade(weights)[:, :, None]
    colours = (1 - dark) * np.array(PAPER) + dark * np.array(ACCENT)
    cells = max(weights.shape)
    scale = -(-SIDE // cells)
    rows, columns = (scale * cells // size for size in weights.shape)
    return np.rint(colours).astype(np.uint8).repeat(rows, axis=0).repeat(columns, axis=1)


def on_diagonal(weights: Float[np.ndarray, "query key"], seconds: float = 0.1) -> tuple[float, float]:
    """Share of the weight within ``seconds`` of the same time, and what it would be if every query attended evenly to
    all that it may see (what a mask hides has no weight at all).

    Args:
        weights: rows sum to 1; both axes span the same time.
        seconds: how near.
    """
    queries, keys = weights.shape
    length = clock.frames_of(max(queries, keys)) / clock.FRAME_RATE
    at, of = (np.arange(size) + 0.5 for size in (queries, keys))
    near = np.abs(at[:, None] / queries - of[None, :] / keys) * length <= seconds
    seen = np.asarray(weights) > 0
    even = (near & seen).sum(axis=1) / np.maximum(seen.sum(axis=1), 1)
    return float((weights * near).sum() / queries), float(even.mean())
