"""Pixels as patches: what the video tower and the denoiser see, and the way back."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def patchify(frames: Float[Array, "*lead height width 3"] | Array, patch: int) -> Array:
    """Cuts frames into patches, row by row: ``[..., height, width, 3]`` -> ``[..., patches, patch * patch * 3]``."""
    *lead, height, width, channels = frames.shape
    x = frames.reshape(*lead, height // patch, patch, width // patch, patch, channels)
    x = jnp.moveaxis(x, -4, -3)
    return x.reshape(*lead, (height // patch) * (width // patch), patch * patch * channels)


def unpatchify(patches: Array, size: tuple[int, int], patch: int) -> Array:
    """Inverse of :func:`patchify`; ``size`` is (height, width)."""
    *lead, _, dim = patches.shape
    rows, columns = size[0] // patch, size[1] // patch
    x = patches.reshape(*lead, rows, columns, patch, patch, dim // patch**2)
    return jnp.moveaxis(x, -4, -3).reshape(*lead, *size, dim // patch**2)


def scaled(pixels: jax.Array) -> Array:
    """Pixels 0..255 to -1..1, float32."""
    return pixels.astype(jnp.float32) / 127.5 - 1.0


def pixels(values: Array) -> jax.Array:
    """-1..1 back to uint8 pixels."""
    return jnp.clip(jnp.round((values + 1.0) * 127.5), 0, 255).astype(jnp.uint8)
