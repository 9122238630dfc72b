"""Sampling audio tokens: one jitted program with a static cache, the delay pattern, guidance and a seed per request."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from mvgen import clock
from mvgen.models import delay
from mvgen.models.linear import Linear
from mvgen.models.token_decoder import Cache, Condition, Text, TokenDecoder


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How tokens are drawn.

    ``temperature`` 0 is greedy (what a short training plays best; docs/model.md); ``top_k`` 0 and ``top_p`` 1 keep all
    entries; ``guidance`` 1 is none, larger values push away from what would be played to no video at all (Ho and
    Salimans 2022). ``text_guidance`` is the same for text, on top of the video where there is one.
    """

    temperature: float = 0.0
    top_k: int = 5
    top_p: float = 1.0
    guidance: float = 1.5
    text_guidance: float = 3.0


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


class Following(NamedTuple):
    """Tokens that are to be followed where the model leaves it open, and what each of them speaks for.

    ``tokens``: of the same window, -1 where nothing is to be followed; ``scores``: by codebook and token, what is added
    to the logits of all entries (a product of experts, Hinton 2002).
    """

    tokens: Int[Array, "batch tokens codebooks"]
    scores: Float[Array, "codebooks size size"]

    def at(self, time: Int[Array, " codebooks"]) -> Float[Array, "batch codebooks size"]:
        """What is added where each codebook stands at a time of its own."""
        codebook = jnp.arange(len(time))
        tokens = self.tokens[:, jnp.clip(time, 0, self.tokens.shape[1] - 1), codebook]
        return jnp.where(tokens[..., None] >= 0, self.scores[codebook, jnp.maximum(tokens, 0)], 0.0)


class Progress(NamedTuple):
    """Where the sampling of a window stands: the newest column of the delayed grid, and the cache of those before."""

    column: Int[Array, "batch codebooks"]
    cache: Cache


def _copies(sampling: Sampling, video: bool, text: bool) -> int:
    """How many versions of each request are computed side by side: with all, with the video alone, with nothing."""
    guided = (video and sampling.guidance != 1) or (text and sampling.text_guidance != 1)
    return (1 + video + text) if guided else 1


def _begin(
    decoder: TokenDecoder, latents: Array | None, text: Text | None, sampling: Sampling, batch: int, steps: int
) -> tuple[Condition, Progress]:
    copies = _copies(sampling, latents is not None, text is not None)
    if latents is not None and copies > 1:
        absent = decoder.withheld(latents, jnp.zeros(batch, bool))
        latents = jnp.concatenate([latents] * (copies - 1) + [absent])
    if text is not None and copies > 1:
        text = jax.tree.map(lambda *parts: jnp.concatenate(parts), text, *[text.withheld()] * (copies - 1))
    start = jnp.full((batch, decoder.config.codebooks), decoder.pad)
    return decoder.conditioned(latents, text).laid_out(), Progress(start, decoder.empty_cache(copies * batch, steps))


def _guided(logits: Float[Array, "copies codebooks size"], sampling: Sampling, video: bool, text: bool) -> Array:
    """Pushes away from nothing towards the video, and from the video towards the text (Brooks et al. 2023, eq. 3)."""
    copies = _copies(sampling, video, text)
    if copies == 1:
        return logits
    if copies == 2:
        scale = sampling.guidance if video else sampling.text_guidance
        given, nothing = jnp.split(logits, 2)
        return nothing + scale * (given - nothing)
    both, seen, nothing = jnp.split(logits, 3)
    return nothing + sampling.guidance * (seen - nothing) + sampling.text_guidance * (both - seen)


def _advance(
    decoder: TokenDecoder,
    condition: Condition,
    progress: Progress,
    first: Array | int,
    count: int,
    keys: Array,
    forced: Array,
    lengths: tuple[Array | int, Array],
    sampling: Sampling,
    given: tuple[bool, bool],
    following: Following | None,
) -> tuple[Progress, Int[Array, "batch count codebooks"]]:
    """Draws the columns that steps ``first .. first + count - 1`` predict. ``forced`` is the delayed grid of the known
    tokens; ``lengths`` how many tokens there are to be, and how many are known; ``given`` whether there are video and
    text; ``following`` what is to be followed."""
    codebooks = decoder.config.codebooks
    tokens, known_tokens = lengths
    copies = _copies(sampling, *given)

    def advance(progress: Progress, step: Array) -> tuple[Progress, Array]:
        column = jnp.concatenate([progress.column] * copies)
        logits, cache = decoder.step(column, step, progress.cache, condition)
        logits = _guided(logits, sampling, *given)
        step_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, step)
        time = step - jnp.arange(codebooks)
        drawn = draw(logits if following is None else logits + following.at(time), step_keys, sampling)
        drawn = jnp.where(time < known_tokens, forced[:, step + 1], drawn)
        column = jnp.where(delay.written(step, tokens, codebooks), drawn, decoder.pad)
        return Progress(column, cache), column

    progress, columns = jax.lax.scan(advance, progress, first + jnp.arange(count))
    return progress, jnp.moveaxis(columns, 0, 1)


@partial(jax.jit, static_argnames="dtype")
def _converted(state: nnx.State, dtype: jnp.dtype) -> nnx.State:
    return jax.tree.map(lambda x: x.astype(dtype), state)


def ready(decoder: TokenDecoder, donate: bool = False) -> TokenDecoder:
    """The decoder with its parameters in the type that it computes in, and laid out as steps read them fastest.

    :func:`decode` and :func:`stream` do this by themselves at every call; who calls often does it once. A decoder that
    is ready is given back as it is; of another, what need not change is shared, and ``decoder`` stays as it was: unless
    it is donated. Then it must not be used again, and the weights are not held twice where their type stays.
    """
    dtype = decoder.config.compute_dtype
    if any(leaf.dtype != dtype for leaf in jax.tree.leaves(nnx.state(decoder))):
        decoder, donate = _rebuilt(decoder, partial(_converted, dtype=dtype)), True
    if dtype == jnp.bfloat16 and jax.default_backend() == "cpu" and _unturned(decoder):
        if not donate:
            decoder = _rebuilt(decoder, partial(jax.tree.map, lambda x: x))
        for layer in _unturned(decoder):
            layer.turn()
    return decoder


def _rebuilt(decoder: TokenDecoder, change: Callable[[nnx.State], nnx.State]) -> TokenDecoder:
    """The decoder with parameters that are its own."""
    graph, state = nnx.split(decoder)
    return nnx.merge(graph, change(state))


def _unturned(decoder: TokenDecoder) -> list[Linear]:
    return [part for _, part in nnx.iter_graph(decoder) if isinstance(part, Linear) and not part.turned]


@partial(jax.jit, static_argnames=("graph", "sampling"))
def _decode(
    graph: nnx.GraphDef,
    state: nnx.State,
    latents: Array | None,
    text: Text | None,
    keys: Array,
    known: Array,
    known_tokens: Array,
    sampling: Sampling,
    following: Following | None,
) -> Array:
    decoder = nnx.merge(graph, state)
    batch, tokens, codebooks = known.shape
    steps = delay.steps(tokens, codebooks)
    condition, progress = _begin(decoder, latents, text, sampling, batch, steps)
    given = (latents is not None, text is not None)
    forced = delay.delay(known, decoder.pad)
    lengths = (tokens, known_tokens)
    _, columns = _advance(decoder, condition, progress, 0, steps, keys, forced, lengths, sampling, given, following)
    return delay.undelay(jnp.concatenate([progress.column[:, None], columns], axis=1))


def _known(
    decoder: TokenDecoder, latents: Array | None, keys: Array, known: Array | None, tokens: int | None
) -> Int[Array, "batch tokens codebooks"]:
    if latents is None and tokens is None and known is None:
        raise ValueError("say how many tokens to draw: there is no video to tell")
    if known is not None:
        return known
    if tokens is None:
        assert latents is not None
        tokens = clock.tokens_of(latents.shape[1])
    return jnp.zeros((len(keys), tokens, decoder.config.codebooks), jnp.int32)


def decode(
    decoder: TokenDecoder,
    latents: Float[Array, "batch frames dim"] | None,
    keys: Array,
    sampling: Sampling,
    known: Int[Array, "batch tokens codebooks"] | None = None,
    known_tokens: Array | int = 0,
    *,
    text: Text | None = None,
    tokens: int | None = None,
    following: Following | None = None,
) -> Int[Array, "batch tokens codebooks"]:
    """Draws the tokens of one window.

    Args:
        decoder: the token decoder.
        latents: video latents of the window, where there is a video.
        keys: one random key a request, ``[batch]``.
        sampling: how to draw.
        known: tokens that are given; the first ``known_tokens`` of them are kept as they are (continuation).
        known_tokens: how many.
        text: embedded words, where there are any.
        tokens: how many tokens; by default as many as ``known`` has, or two a frame.
        following: tokens to follow where the model leaves it open.

    Raises:
        ValueError: nothing says how many tokens.
    """
    graph, state = nnx.split(ready(decoder))
    known = _known(decoder, latents, keys, known, tokens)
    return _decode(graph, state, latents, text, keys, known, jnp.asarray(known_tokens), sampling, following)


@partial(jax.jit, static_argnames=("graph", "sampling", "batch", "steps"))
def _begin_stream(
    graph: nnx.GraphDef,
    state: nnx.State,
    latents: Array | None,
    text: Text | None,
    sampling: Sampling,
    batch: int,
    steps: int,
) -> tuple[Condition, Progress]:
    return _begin(nnx.merge(graph, state), latents, text, sampling, batch, steps)


@partial(jax.jit, static_argnames=("graph", "count", "sampling", "given"), donate_argnames="progress")
def _go_on(
    graph: nnx.GraphDef,
    state: nnx.State,
    condition: Condition,
    progress: Progress,
    first: Array,
    count: int,
    keys: Array,
    forced: Array,
    lengths: tuple[Array | int, Array],
    sampling: Sampling,
    given: tuple[bool, bool],
    following: Following | None,
) -> tuple[Progress, Array]:
    decoder = nnx.merge(graph, state)
    return _advance(decoder, condition, progress, first, count, keys, forced, lengths, sampling, given, following)


def stream(
    decoder: TokenDecoder,
    latents: Float[Array, "batch frames dim"] | None,
    keys: Array,
    sampling: Sampling,
    known: Int[Array, "batch tokens codebooks"] | None = None,
    known_tokens: int = 0,
    *,
    text: Text | None = None,
    tokens: int | None = None,
    chunk: int = 25,
    following: Following | None = None,
) -> Iterator[Int[np.ndarray, "batch some codebooks"]]:
    """Draws the same tokens as :func:`decode`, and gives them ``chunk`` at a time, as soon as all codebooks are there.

    The last piece is what is left. Two programs are compiled at most: one for the first piece, which takes
    ``codebooks - 1`` steps more, and one for all others.
    """
    graph, state = nnx.split(ready(decoder))
    known = _known(decoder, latents, keys, known, tokens)
    batch, total, codebooks = known.shape
    steps = delay.steps(total, codebooks)
    forced = delay.delay(known, decoder.pad)
    given = (latents is not None, text is not None)
    # Whole pieces may run past the last step; the cache has room for them, and what they write there is not read.
    pieces = max(1, -(-total // chunk))
    room = delay.steps(pieces * chunk, codebooks)
    forced = jnp.pad(forced, ((0, 0), (0, room - steps), (0, 0)), constant_values=decoder.pad)
    condition, progress = _begin_stream(graph, state, latents, text, sampling, batch, room)
    lengths = (jnp.asarray(total), jnp.asarray(known_tokens))
    grid = [np.asarray(progress.column)[:, None]]
    first = 0
    for piece in range(pieces):
        count = chunk + (codebooks - 1 if piece == 0 else 0)
        progress, columns = _go_on(
            graph, state, condition, progress, jnp.asarray(first), count, keys, forced, lengths, sampling, given,
            following,
        )  # fmt: skip
        first += count
        grid.append(np.asarray(columns))
        rows = np.concatenate(grid, axis=1)[:, -(chunk + codebooks) :]
        yield np.asarray(delay.undelay(jnp.asarray(rows)))[:, : total - piece * chunk]
