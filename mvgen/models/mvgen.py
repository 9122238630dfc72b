"""MVGen: the aligned encoder, the token decoder, movement, the denoiser and the note head as one model."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from mvgen.models.config import MVGenConfig
from mvgen.models.denoiser import Denoiser
from mvgen.models.encoder import AlignedEncoder
from mvgen.models.movement import Movement
from mvgen.models.note_head import NoteHead
from mvgen.models.patches import patchify, scaled
from mvgen.models.token_decoder import TokenDecoder


class MVGen(nnx.Module):
    """One model for both directions; see the parts for what each does."""

    def __init__(self, config: MVGenConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.encoder = AlignedEncoder(config, rngs=rngs)
        self.decoder = TokenDecoder(config.decoder, rngs=rngs)
        self.movement = Movement(config, rngs=rngs)
        self.denoiser = Denoiser(config, rngs=rngs)
        self.notes = NoteHead(config, rngs=rngs) if config.notes_width else None

    def video_latents(
        self, batch: dict[str, Array], recolouring: Callable[[Array], Array] | None = None
    ) -> Float[Array, "batch time dim"]:
        """Latents of the picture alone, one a frame.

        Args:
            batch: as records hold them ``frames`` uint8 ``[batch, time, height, width, 3]``, ``flow`` ``[batch, time,
                h, w, 2]``, ``semantic`` ``[batch, time, dim]`` and ``landmarks`` ``[batch, time, points, 3]``; what the
                configuration does not use is not read.
            recolouring: what training does to the scaled patches.
        """
        seen: dict[str, Array] = {}
        if self.config.use_frames:
            patches = scaled(patchify(batch["frames"], self.config.patch))
            seen["patches"] = recolouring(patches) if recolouring else patches
        if self.config.sees_flow:
            seen["flow"] = batch["flow"].astype(jnp.float32)
        if self.config.sees_semantic:
            seen["semantic"] = batch["semantic"].astype(jnp.float32)
        if self.config.sees_landmarks:
            seen["landmarks"] = batch["landmarks"].astype(jnp.float32)
        return self.encoder.video_latents(seen)

    def picture(
        self, batch: dict[str, Array], recolouring: Callable[[Array], Array] | None = None
    ) -> Float[Array, "batch time height width channels"]:
        """What the film part paints: the latents of a batch, or its frames from -1 to 1 (with ``recolouring``)."""
        if self.config.use_latents:
            return jnp.asarray(batch["latents"], jnp.float32)
        frames = scaled(batch["frames"])
        if not recolouring:
            return frames
        return recolouring(frames.reshape(*frames.shape[:2], -1, 3)).reshape(frames.shape)

    def audio_latents(self, tokens: Int[Array, "batch tokens codebooks"]) -> Float[Array, "batch tokens dim"]:
        """Latents of the sound alone, one a token."""
        return self.encoder.audio_latents(tokens.astype(jnp.int32))
