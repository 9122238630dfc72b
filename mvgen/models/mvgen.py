"""MVGen: the aligned encoder, the token decoder, the sketch and the denoiser as one model."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from mvgen.models.config import MVGenConfig
from mvgen.models.decoder import TokenDecoder
from mvgen.models.denoiser import Denoiser
from mvgen.models.encoder import AlignedEncoder
from mvgen.models.sketch import Sketch


class MVGen(nnx.Module):
    """One model for both directions; see the parts for what each does."""

    def __init__(self, config: MVGenConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.encoder = AlignedEncoder(config, rngs=rngs)
        self.decoder = TokenDecoder(config.decoder, rngs=rngs)
        self.sketch = Sketch(config, rngs=rngs)
        self.denoiser = Denoiser(config, rngs=rngs)


def tower_input(config: MVGenConfig, batch: dict[str, jax.Array], patches: jax.Array) -> dict[str, jax.Array]:
    """What the video tower is given, as the configuration says: scaled patches, flow and semantic embeddings."""
    seen: dict[str, jax.Array] = {}
    if config.use_frames:
        seen["patches"] = patches
    if config.sees_flow:
        seen["flow"] = batch["flow"].astype(jnp.float32)
    if config.sees_semantic:
        seen["semantic"] = batch["semantic"].astype(jnp.float32)
    return seen
