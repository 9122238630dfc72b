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
