"""The per-frame token head: log-probabilities of a frame's tokens from its latent alone, without the past."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from mvgen import clock
from mvgen.models.config import DecoderConfig
from mvgen.models.linear import Linear


class TokenHead(nnx.Module):
    """Log-probabilities of the tokens of a frame, given its video latent and no token before them.

    A held note is told by its own past, so a decoder that sees the past learns what the picture means from the few
    tokens of an onset. Here every token of a note teaches it. The decoder's logits are added to these, as a product of
    experts (Hinton 2002): it only has to learn what they lack. There is no hidden layer, so the latents have to be
    linearly readable.
    """

    def __init__(self, config: DecoderConfig, *, rngs: nnx.Rngs):
        width, dtype = config.width, config.compute_dtype
        self.two = Linear(config.video_width, clock.TOKENS_PER_FRAME * width, dtype=dtype, rngs=rngs)
        self.norm = nnx.LayerNorm(width, dtype=dtype, rngs=rngs)
        self.heads = nnx.List(
            [
                Linear(width, config.codebook_size, use_bias=False, dtype=dtype, rngs=rngs)
                for _ in range(config.codebooks)
            ]
        )

    def __call__(self, latents: Float[Array, "batch frames video"]) -> Float[Array, "batch tokens codebooks size"]:
        x = self.two(latents)
        x = self.norm(x.reshape(x.shape[0], clock.tokens_of(latents.shape[1]), -1))
        logits = jnp.stack([head(x) for head in self.heads], axis=2)
        return jax.nn.log_softmax(logits.astype(jnp.float32))
