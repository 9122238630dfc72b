"""Temporal positions: where a frame or a token stands, in seconds, so that both modalities share one axis."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mvgen import clock

SLOWEST_HZ = 1 / 64
FASTEST_HZ = 12.5  # one full turn every two frames: the highest rate that 25 frames a second can tell apart
NEAREST_SECONDS, FARTHEST_SECONDS = 1 / clock.FRAME_RATE, 1.0
"""Reach of the first and the last head in :func:`distance_bias`; the latter is also the farthest centre of
:func:`head_time_bias`."""
OWN_SECONDS = 0.012
"""Standard deviation of the first head's bias, which is centred on the query's own time (:func:`head_time_bias`)."""


def _frequencies(count: int) -> Float[Array, " count"]:
    """``count`` angular frequencies (rad/s), geometric from ``SLOWEST_HZ`` to ``FASTEST_HZ``."""
    return 2 * math.pi * jnp.geomspace(SLOWEST_HZ, FASTEST_HZ, count)


def sinusoid(seconds: Float[Array, " time"], width: int) -> Float[Array, "time width"]:
    """Additive sinusoidal embedding of times in seconds (Vaswani et al. 2017, with frequencies in Hz)."""
    angles = seconds[:, None] * _frequencies(width // 2)
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


def musicgen_sinusoid(positions: Array, width: int) -> Array:
    """MusicGen's additive sinusoids over integer steps ``[...]`` -> ``[..., width]``: cosines first, then sines,
    wavelengths geometric from 2 pi to 20000 pi steps (Copet et al. 2023, as transformers implements it)."""
    half = width // 2
    angles = positions[..., None].astype(jnp.float32) * jnp.exp(jnp.arange(half) * -(math.log(10_000) / (half - 1)))
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


def rotate(
    x: Float[Array, "batch time heads dim"], seconds: Float[Array, " time"]
) -> Float[Array, "batch time heads dim"]:
    """Rotary position embedding (Su et al. 2021) by time in seconds.

    Queries and keys so rotated have dot products that depend on their distance in seconds alone, whatever the rates of
    the two sequences: a frame and its two tokens are near, in any window.
    """
    half = x.shape[-1] // 2
    angles = seconds.astype(jnp.float32)[:, None] * _frequencies(half)
    cos, sin = jnp.cos(angles)[None, :, None, :], jnp.sin(angles)[None, :, None, :]
    first, second = x[..., :half].astype(jnp.float32), x[..., half:].astype(jnp.float32)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1).astype(x.dtype)


def distance_bias(
    query_seconds: Float[Array, " query"], key_seconds: Float[Array, " key"], heads: int
) -> Float[Array, "1 heads query key"]:
    """What is added to attention's scores for a distance in time: minus the distance, in units of each head's reach.

    ALiBi (Press et al. 2022) with seconds in place of steps, both ways. The heads' reaches are fixed, geometric from
    ``NEAREST_SECONDS`` (a frame) to ``FARTHEST_SECONDS``: at its reach a head sees e times less than at no distance.
    It cannot tell before from after.
    """
    reach = jnp.geomspace(NEAREST_SECONDS, FARTHEST_SECONDS, heads)
    return -jnp.abs(query_seconds[:, None] - key_seconds[None, :])[None, None] / reach[None, :, None, None]


def head_time_bias(
    query_seconds: Float[Array, " query"], key_seconds: Float[Array, " key"], heads: int
) -> Float[Array, "1 heads query key"]:
    """Per-head time bias: what is added to attention's scores, a fixed Gaussian of the time from query to key.

    The first head's Gaussian is centred on the query's own time. The others are centred by turns before it and after
    it, at distances that double (80, 80, 160, 160, ... ms, at most ``FARTHEST_SECONDS``), with half the distance as
    standard deviation. The first head's is ``OWN_SECONDS``, which leaves 0.94 of the weight to the frame that a token
    belongs to. So attention starts as frame-locked addition does, with the frames before and after beside it. Centres
    and widths are not learned; the scores of queries and keys are added as ever. (Luong et al. 2015, local attention,
    predict one centre.)
    """
    number = jnp.arange(heads)
    distance = jnp.minimum(NEAREST_SECONDS * 2.0 ** ((number + 1) // 2), FARTHEST_SECONDS)
    moment = jnp.where(number == 0, 0.0, jnp.where(number % 2 == 1, -distance, distance))
    deviation = jnp.where(number == 0, OWN_SECONDS, distance / 2)
    apart = key_seconds[None, None, :] - query_seconds[None, :, None] - moment[:, None, None]
    return -0.5 * (apart / deviation[:, None, None])[None] ** 2


TIME_BIASES = {"alibi": distance_bias, "time_bias": head_time_bias}
"""Positions that are a bias of attention's scores, by name."""


def time_bias(
    positions: str, query_seconds: Float[Array, " query"], key_seconds: Float[Array, " key"], heads: int
) -> Float[Array, "1 heads query key"] | None:
    """The bias of positions by name; ``None`` for positions that are no bias."""
    return TIME_BIASES[positions](query_seconds, key_seconds, heads) if positions in TIME_BIASES else None


def within(
    query_seconds: Float[Array, " query"], key_seconds: Float[Array, " key"], window: float
) -> Float[Array, "query key"] | None:
    """Mask of the pairs no further apart than ``window`` seconds; ``None`` when ``window`` is 0 (all pairs)."""
    if not window:
        return None
    return jnp.abs(query_seconds[:, None] - key_seconds[None, :]) <= window + 1e-6


def nearest(query_seconds: jax.Array, key_seconds: jax.Array) -> jax.Array:
    """Index of the key nearest in time to each query, int32 ``[query]``."""
    return jnp.argmin(jnp.abs(query_seconds[:, None] - key_seconds[None, :]), axis=1)


def own_latents(audio: Float[Array, "batch tokens dim"]) -> Float[Array, "batch frames two_tokens dim"]:
    """The latents of each frame's own tokens."""
    batch, tokens, dim = audio.shape
    return audio.reshape(batch, clock.frames_of(tokens), clock.TOKENS_PER_FRAME, dim)
