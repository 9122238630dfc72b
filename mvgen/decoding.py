"""Sampling audio tokens: one jitted program with a static cache, the delay pattern, guidance and a seed per request."""

from __future__ import annotations

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from mvgen import clock, delay
from mvgen.models.decoder import TokenDecoder


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How tokens are drawn.

    ``temperature`` 0 is greedy; ``top_k`` 0 and ``top_p`` 1 keep all entries; ``guidance`` 1 is none, larger values
    push away from what would be played to no video at all (Ho and Salimans 2022).
    """

    temperature: float = 0.3
    top_k: int = 10
    top_p: float = 1.0
    guidance: float = 2.0


def draw(
    logits: Float[Array, "batch codebooks size"], keys: Array, sampling: Sampling
) -> Int[Array, "batch codebooks"]:
    """One entry a codebook. ``keys`` holds one key a request: its draw does not hang on its neighbours."""
    if sampling.temperature == 0:
        return jnp.argmax(logits, axis=-1)
    logits = logits / sampling.temperature
    if sampling.top_k and sampling.top_k < logits.shape[-1]:
        least = jax.lax.top_k(logits, sampling.top_k)[0][..., -1:]
        logits = jnp.where(logits < least, -jnp.inf, logits)
    if sampling.top_p < 1:
        ordered = jnp.sort(logits, axis=-1, descending=True)
        before = jnp.cumsum(jax.nn.softmax(ordered), axis=-1) - jax.nn.softmax(ordered)
        least = jnp.min(jnp.where(before < sampling.top_p, ordered, jnp.inf), axis=-1, keepdims=True)
        logits = jnp.where(logits < least, -jnp.inf, logits)
    return jax.vmap(jax.random.categorical)(keys, logits)


@partial(jax.jit, static_argnames=("graph", "sampling"))
def _decode(
    graph: nnx.GraphDef,
    state: nnx.State,
    latents: Array,
    keys: Array,
    known: Array,
    known_tokens: Array,
    sampling: Sampling,
) -> Array:
    decoder: TokenDecoder = nnx.merge(graph, state)
    batch, frames = latents.shape[:2]
    tokens, codebooks = clock.tokens_of(frames), decoder.config.codebooks
    guided = sampling.guidance != 1
    if guided:
        absent = decoder.withheld(latents, jnp.zeros(batch, bool))
        latents = jnp.concatenate([latents, absent])
    condition = decoder.conditioned(latents)
    steps = delay.steps(tokens, codebooks)
    forced = delay.delay(known, decoder.pad)

    def advance(carry: tuple, step: Array) -> tuple[tuple, Array]:
        column, cache = carry
        both = jnp.concatenate([column, column]) if guided else column
        logits, cache = decoder.step(both, step, cache, condition)
        if guided:
            with_video, without = jnp.split(logits, 2)
            logits = without + sampling.guidance * (with_video - without)
        step_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, step)
        drawn = draw(logits, step_keys, sampling)
        time = step - jnp.arange(codebooks)
        drawn = jnp.where(time < known_tokens, forced[:, step + 1], drawn)
        column = jnp.where(delay.written(step, tokens, codebooks), drawn, decoder.pad)
        return (column, cache), column

    start = jnp.full((batch, codebooks), decoder.pad)
    cache = decoder.empty_cache(latents.shape[0], steps)
    _, columns = jax.lax.scan(advance, (start, cache), jnp.arange(steps))
    grid = jnp.concatenate([start[:, None], jnp.moveaxis(columns, 0, 1)], axis=1)
    return delay.undelay(grid)


def decode(
    decoder: TokenDecoder,
    latents: Float[Array, "batch frames dim"],
    keys: Array,
    sampling: Sampling,
    known: Int[Array, "batch tokens codebooks"] | None = None,
    known_tokens: int = 0,
) -> Int[Array, "batch tokens codebooks"]:
    """Draws the tokens of one window of video latents.

    Args:
        decoder: the token decoder.
        latents: video latents of the window; two tokens a frame come out.
        keys: one random key a request, ``[batch]``.
        sampling: how to draw.
        known: tokens that are given; the first ``known_tokens`` of them are kept as they are (continuation).
        known_tokens: how many.
    """
    graph, state = nnx.split(decoder)
    if known is None:
        known = jnp.zeros((latents.shape[0], clock.tokens_of(latents.shape[1]), decoder.config.codebooks), jnp.int32)
    return _decode(graph, state, latents, keys, known, jnp.asarray(known_tokens), sampling)
