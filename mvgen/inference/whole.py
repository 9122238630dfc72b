"""Both directions as functions of a fixed length that JAX can trace whole, for export.

:mod:`mvgen.inference.video_to_music` and :mod:`mvgen.inference.music_to_video` go from window to window in Python, at
any length. Here the same windows, with the same keys and the same compiled parts, are a loop of the program itself, so
that one program is all there is to run. A batch is one request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, UInt8

from mvgen import clock
from mvgen.inference.music_to_video import (
    Filming,
    audio_latents,
    film_stretch,
    plan_window,
    planned_over,
    read_given,
    stretches_over,
)
from mvgen.inference.sampling import Sampling, decode
from mvgen.inference.video_to_music import video_latents, window_keys, windows_over
from mvgen.interop.image_autoencoder import ImageAutoencoder
from mvgen.models.image_autoencoder import jitted_decode, jitted_encode
from mvgen.models.movement import Reading
from mvgen.models.mvgen import MVGen
from mvgen.models.patches import patchify, pixels, scaled, unpatchify
from mvgen.models.token_decoder import TokenDecoder


def apart(part: Callable[..., Any], model: nnx.Module, *given: Any) -> Any:
    """What a part of the program makes, compiled as if it stood alone.

    Fused with what is around it, its sums are rounded in another order; a planner that goes along hundreds of frames
    makes grey levels of that.
    """
    graph, state = nnx.split(model)
    state, given = jax.lax.optimization_barrier((state, given))
    return jax.lax.optimization_barrier(part(nnx.merge(graph, state), *given))


def _read(model: MVGen, picture: Array) -> Reading:
    return read_given(*nnx.split(model), picture)


def _plan(model: MVGen, *given: Any) -> Array:
    return plan_window(*nnx.split(model), *given)


def whole_music(
    model: MVGen, video: dict[str, Array], seed: Array, sampling: Sampling, window: int
) -> Int[Array, "tokens codebooks"]:
    """What :func:`mvgen.inference.video_to_music.generate_music` plays for one video: features ``[frames, ...]``."""
    frames = len(next(iter(video.values())))
    keys = jax.random.split(jax.random.key(seed), 1)
    found = windows_over(frames, window)
    tokens = jnp.zeros((1, clock.tokens_of(max(frames, window)), model.config.codebooks), jnp.int32)

    def play(decoder: TokenDecoder, latents: Array, keys: Array, before: Array, known: Array) -> Array:
        return decode(decoder, latents, keys, sampling, before, known)

    def advance(tokens: Array, now: tuple[Array, Array, Array]) -> tuple[Array, None]:
        start, known, number = now
        index = jnp.minimum(start + jnp.arange(window), frames - 1)  # past the end the last frame stays
        part = {name: values[index][None] for name, values in video.items()}
        first = clock.TOKENS_PER_FRAME * start
        before = jax.lax.dynamic_slice_in_dim(tokens, first, clock.tokens_of(window), axis=1)
        latents = apart(video_latents, model, part)
        made = apart(play, model.decoder, latents, window_keys(keys, number), before, known)
        return jax.lax.dynamic_update_slice_in_dim(tokens, made.astype(jnp.int32), first, axis=1), None

    starts, known = (jnp.array(column) for column in zip(*found, strict=True))
    tokens, _ = jax.lax.scan(advance, tokens, (starts, clock.TOKENS_PER_FRAME * known, jnp.arange(len(found))))
    return tokens[0, : clock.tokens_of(frames)]


def whole_film(
    model: MVGen,
    image: UInt8[Array, "height width 3"],
    tokens: Int[Array, "tokens codebooks"],
    seed: Array,
    filming: Filming,
    window: int,
    autoencoder: ImageAutoencoder | None = None,
) -> UInt8[Array, "frames height width 3"]:
    """What :func:`mvgen.inference.music_to_video.generate_video` films for one image."""
    config = model.config
    frames = clock.frames_of(len(tokens))
    length = min(config.denoiser_frames, window)
    stretches = stretches_over(frames, length, window)
    whole = 1 + len(stretches) * (length - 1)
    span = min(window, whole)
    keys = jax.random.split(jax.random.key(seed), 1)
    picture = scaled(image)[None]
    if autoencoder is not None:
        picture = jitted_encode(autoencoder.weights, autoencoder.form, picture)
        picture = picture.astype(jnp.float16).astype(jnp.float32)  # as records keep latents
    reading = apart(_read, model, picture)
    points = _points(model, reading, tokens[None], window)
    points = jnp.pad(points, ((0, 0), (0, whole - frames), (0, 0), (0, 0)), mode="edge")
    tokens = jnp.pad(tokens[None], ((0, 0), (0, clock.tokens_of(whole - frames)), (0, 0)), mode="edge")
    first, begin = (np.array(column) for column in zip(*stretches, strict=True))
    heard, which = np.unique(begin, return_inverse=True)

    def hear(begin: Array) -> Float[Array, "batch tokens dim"]:
        start = clock.TOKENS_PER_FRAME * begin
        near = jax.lax.dynamic_slice_in_dim(tokens, start, clock.tokens_of(span), axis=1)
        return apart(audio_latents, model, near)

    audio = jax.lax.map(hear, jnp.asarray(heard))

    def paint(model: MVGen, *given: Any) -> Array:
        return film_stretch(*nnx.split(model), *given, filming)[0]

    def advance(last: Array, now: tuple[Array, Array, Array, Array]) -> tuple[Array, Array]:
        first, begin, which, number = now
        near = jax.lax.dynamic_slice_in_dim(points, first, length, axis=1)
        stretch_keys = window_keys(keys, number)
        painted = apart(paint, model, picture, reading, near, last, audio[which], first - begin, stretch_keys)
        return painted[:, -1], painted[:, 1:]

    steps = (jnp.asarray(first), jnp.asarray(begin), jnp.asarray(which), jnp.arange(len(stretches)))
    _, painted = jax.lax.scan(advance, patchify(picture, config.denoiser_patch), steps)
    painted = jnp.moveaxis(painted, 0, 1).reshape(1, whole - 1, *painted.shape[3:])
    made = unpatchify(painted, config.picture_size, config.denoiser_patch)[0, : frames - 1]
    if autoencoder is not None:
        weights, form = autoencoder.weights, autoencoder.form
        made = jax.lax.map(lambda latents: jitted_decode(weights, form, latents[None])[0], made)
    return jnp.concatenate([image[None], pixels(made)])


def _points(model: MVGen, reading: Reading, tokens: Array, window: int) -> Float[Array, "batch frames points 3"]:
    """What :func:`mvgen.inference.music_to_video.plan_movement` plans."""
    frames, ahead = clock.frames_of(tokens.shape[1]), max(window - 2, 1)
    tokens = jnp.pad(tokens, ((0, 0), (clock.tokens_of(1), clock.tokens_of(ahead)), (0, 0)), mode="edge")
    given = reading.points
    found = planned_over(frames, window)
    hop = found[0][1]  # of all but the last

    def advance(before: tuple[Array, Array], first: Array) -> tuple[Any, Array]:
        start = clock.TOKENS_PER_FRAME * (first - 1)
        heard = jax.lax.dynamic_slice_in_dim(tokens, start, clock.tokens_of(2 + ahead), axis=1)
        planned = apart(_plan, model, heard, reading, *before)
        last = planned[:, hop - 1]
        return (last, last - (planned[:, hop - 2] if hop > 1 else before[0])), planned

    begins = (given[..., :2], jnp.zeros_like(given[..., :2]))
    _, planned = jax.lax.scan(advance, begins, jnp.array([first for first, _ in found]))
    kept = [planned[number, :, :count] for number, (_, count) in enumerate(found)]
    places = jnp.concatenate([given[:, None, :, :2], *kept], axis=1)
    inside = jnp.all((places >= 0) & (places <= 1), axis=-1)
    return jnp.concatenate([places, (given[:, None, :, 2] * inside)[..., None]], axis=-1)
