"""What a training picture may be changed by without changing what is played: where the camera stands, and colours."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt8


def shifted(
    frames: UInt8[Array, "batch time height width 3"], key: jax.Array, shift: int
) -> UInt8[Array, "batch time height width 3"]:
    """Moves each clip by one random shift of at most ``shift`` pixels either way; edges repeat."""
    batch, time, height, width, _ = frames.shape
    padded = jnp.pad(frames, ((0, 0), (0, 0), (shift, shift), (shift, shift), (0, 0)), mode="edge")
    offsets = _offsets(key, batch, shift)
    return jax.vmap(lambda clip, by: jax.lax.dynamic_slice(clip, (0, by[0], by[1], 0), (time, height, width, 3)))(
        padded, offsets
    )


def moved(
    landmarks: Float[Array, "batch time points 3"], key: jax.Array, shift: int, size: tuple[int, int]
) -> Float[Array, "batch time points 3"]:
    """Landmarks of the clips that :func:`shifted` moves with the same key; ``size``: (height, width) in pixels."""
    offsets = shift - _offsets(key, landmarks.shape[0], shift)  # pixels down and right
    by = jnp.stack([offsets[:, 1] / size[1], offsets[:, 0] / size[0]], axis=-1)
    places = landmarks[..., :2] + by[:, None, None, :]
    seen = (landmarks[..., 2:] > 0) & jnp.all((places >= 0) & (places <= 1), axis=-1, keepdims=True)
    return jnp.where(seen, jnp.concatenate([places, landmarks[..., 2:]], axis=-1), 0.0)


def _offsets(key: jax.Array, batch: int, shift: int) -> Int[Array, "batch 2"]:
    """How far down and right in the padded picture each clip's cut begins."""
    return jax.random.randint(key, (batch, 2), 0, 2 * shift + 1)


def recoloured(patches: Float[Array, "batch time patches values"], key: jax.Array, amount: float) -> Array:
    """Draws each clip's gain and bias of each colour within ``amount``."""
    gain, bias = jax.random.uniform(key, (2, patches.shape[0], 3), minval=-amount, maxval=amount)
    repeats = patches.shape[-1] // 3  # a patch's values are pixels of three colours each

    def spread(draw: Array) -> Array:
        return jnp.tile(draw, (1, repeats))[:, None, None, :]

    return patches * (1 + spread(gain)) + spread(bias)
