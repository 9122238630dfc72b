"""What a training picture may be changed by without changing what is played: where the camera stands, and colours."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8


def shifted(
    frames: UInt8[Array, "batch time height width 3"], key: jax.Array, shift: int
) -> UInt8[Array, "batch time height width 3"]:
    """Moves each clip by one random shift of at most ``shift`` pixels either way; edges repeat."""
    batch, time, height, width, _ = frames.shape
    padded = jnp.pad(frames, ((0, 0), (0, 0), (shift, shift), (shift, shift), (0, 0)), mode="edge")
    offsets = jax.random.randint(key, (batch, 2), 0, 2 * shift + 1)
    return jax.vmap(lambda clip, by: jax.lax.dynamic_slice(clip, (0, by[0], by[1], 0), (time, height, width, 3)))(
        padded, offsets
    )


def recoloured(patches: Float[Array, "batch time patches values"], key: jax.Array, amount: float) -> Array:
    """Draws each clip's gain and bias of each colour within ``amount``."""
    gain, bias = jax.random.uniform(key, (2, patches.shape[0], 3), minval=-amount, maxval=amount)
    repeats = patches.shape[-1] // 3  # a patch's values are pixels of three colours each

    def spread(draw: Array) -> Array:
        return jnp.tile(draw, (1, repeats))[:, None, None, :]

    return patches * (1 + spread(gain)) + spread(bias)


def refilmed(
    frames: UInt8[Array, "batch time height width 3"], key: jax.Array, amount: float, share: float = 0.5
) -> Float[Array, "batch time height width 3"]:
    """Films a share of the clips anew from another place: zoom, turn and shift, each drawn once a clip.

    A turn by a small angle is a shear along rows, then one along columns; each is a product with matrices that
    interpolate linearly, which CPUs, GPUs and TPUs all do well, where they do not gather well. Edges repeat.

    Args:
        frames: the clips.
        key: of the draws.
        amount: largest change, in parts of the picture: of the zoom, of a shift by it, of the turn in radians.
        share: of the clips that are changed; the others keep every pixel, which interpolation would soften.
    """
    height, width = frames.shape[2:4]
    draws = jax.random.uniform(key, (4, len(frames), 1, 1), minval=-amount, maxval=amount)
    chosen = (jnp.arange(len(frames)) < round(share * len(frames)))[:, None, None]
    zoom, turn, down, right = jnp.where(chosen, draws, 0.0)
    rows, columns = jnp.arange(height) - (height - 1) / 2, jnp.arange(width) - (width - 1) / 2
    from_x = columns / (1 + zoom) + turn * rows[:, None] + right * width  # [batch, row, new column]
    from_y = rows / (1 + zoom) - turn * columns[:, None] + down * height  # [batch, column, new row]

    def weights(places: Array, size: int) -> Array:
        places = jnp.clip(places + (size - 1) / 2, 0, size - 1)
        return jnp.maximum(0.0, 1 - jnp.abs(places[..., None] - jnp.arange(size)))

    x = frames.astype(jnp.float32)
    x = jnp.einsum("byxi,btyic->btyxc", weights(from_x, width), x)
    return jnp.einsum("bxyi,btixc->btyxc", weights(from_y, height), x)
