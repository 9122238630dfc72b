"""MusicGen's delay pattern (Copet et al. 2023): codebook ``k`` of a token is written ``k`` steps after codebook 0.

At step ``s`` the decoder reads column ``s`` of the delayed grid and predicts column ``s + 1``, in which codebook ``k``
holds the token of time ``s - k``. Column 0 is all padding (the start). Padding has the id ``codebook_size``.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def steps(tokens: int, codebooks: int) -> int:
    """Decoder steps that write so many tokens."""
    return tokens + codebooks - 1


def delay(tokens: Int[Array, "batch tokens codebooks"], pad: int) -> Int[Array, "batch columns codebooks"]:
    """Lays tokens out on the delayed grid of ``steps + 1`` columns."""
    batch, time, codebooks = tokens.shape
    columns = steps(time, codebooks) + 1
    grid = jnp.full((batch, columns, codebooks), pad, tokens.dtype)
    for k in range(codebooks):
        grid = grid.at[:, 1 + k : 1 + k + time, k].set(tokens[:, :, k])
    return grid


def undelay(grid: Int[Array, "batch columns codebooks"]) -> Int[Array, "batch tokens codebooks"]:
    """Inverse of :func:`delay`."""
    codebooks = grid.shape[-1]
    time = grid.shape[1] - codebooks
    return jnp.stack([grid[:, 1 + k : 1 + k + time, k] for k in range(codebooks)], axis=-1)


def delay_scores(
    scores: Float[Array, "batch tokens codebooks size"],
) -> Float[Array, "batch steps codebooks size"]:
    """Scores of the tokens at the steps that predict them; 0 where a step predicts none."""
    codebooks = scores.shape[2]
    moved = [jnp.pad(scores[:, :, k], ((0, 0), (k, codebooks - 1 - k), (0, 0))) for k in range(codebooks)]
    return jnp.stack(moved, axis=2)


def written(step: jax.Array | int, tokens: jax.Array | int, codebooks: int) -> Bool[Array, " codebooks"]:
    """Which codebooks of the column predicted at ``step`` hold a real token."""
    times = step - jnp.arange(codebooks)
    return (times >= 0) & (times < tokens)


def token_times(tokens: int, codebooks: int) -> Int[Array, " steps"]:
    """The newest token time that each step predicts (that of codebook 0), held at the last token at the end."""
    return jnp.minimum(jnp.arange(steps(tokens, codebooks)), tokens - 1)
