"""The sketch: what the sound alone says of the picture, which the denoiser begins with."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from mvgen import clock
from mvgen.models.config import MVGenConfig
from mvgen.models.linear import Linear
from mvgen.models.patches import patchify

COARSER = 2  # how many times coarser than the frames
HIDDEN = 256


class Sketch(nnx.Module):
    """From audio latents to how a frame differs from the mean of its window, coarsely.

    A regression, not a diffusion: it learns in a few hundred steps where what sounds is seen, and the denoiser begins
    with it. Values of pixels at ``1 / COARSER`` of the frames' size.
    """

    def __init__(self, config: MVGenConfig, *, rngs: nnx.Rngs):
        dtype = config.compute_dtype
        self.patch, self.frame_size = config.denoiser_patch, config.frame_size
        self.size = config.frame_size[0] // COARSER, config.frame_size[1] // COARSER
        self.fc1 = Linear(clock.TOKENS_PER_FRAME * config.width, HIDDEN, dtype=dtype, rngs=rngs)
        self.draw = Linear(
            HIDDEN, self.size[0] * self.size[1] * 3,
            kernel_init=nnx.initializers.zeros_init(), dtype=dtype, rngs=rngs,
        )  # fmt: skip

    def __call__(self, own_audio: Float[Array, "batch frames two_tokens dim"]) -> Float[Array, "batch frames h w 3"]:
        hidden = jax.nn.gelu(self.fc1(own_audio.reshape(*own_audio.shape[:2], -1).astype(self.fc1.dtype)))
        return self.draw(hidden).astype(jnp.float32).reshape(*hidden.shape[:2], *self.size, 3)

    def change(
        self, own_audio: Float[Array, "batch frames two_tokens dim"], given_audio: Float[Array, "batch two_tokens dim"]
    ) -> Float[Array, "batch frames patches values"]:
        """How each frame differs from an image, given the audio latents of both; the denoiser's patches."""
        drawn = self(jnp.concatenate([given_audio[:, None], own_audio], axis=1))
        coarse = drawn[:, 1:] - drawn[:, :1]
        return patchify(jax.image.resize(coarse, (*coarse.shape[:2], *self.frame_size, 3), "linear"), self.patch)
