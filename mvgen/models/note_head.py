"""The note head: which notes start and sound in each frame, read from the video latents of the frames around it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from mvgen.data.note_rolls import COLUMNS
from mvgen.models.config import MVGenConfig
from mvgen.models.linear import Linear

NEAR = 2
"""Frames on either side that are read beside a frame's own."""


class NoteHead(nnx.Module):
    """Logits of note rolls (:mod:`mvgen.data.note_rolls`): one hidden layer over five frames' latents.

    Both rolls come from the same hidden layer, so that what sounds may hang on what starts, as the frame stack of
    Onsets and Frames hangs on the onset stack (Hawthorne et al. 2018).
    """

    def __init__(self, config: MVGenConfig, *, rngs: nnx.Rngs):
        dtype = config.compute_dtype
        self.fc1 = Linear((2 * NEAR + 1) * config.width, config.notes_width, dtype=dtype, rngs=rngs)
        self.fc2 = Linear(config.notes_width, 2 * COLUMNS, dtype=dtype, rngs=rngs)

    def __call__(self, latents: Float[Array, "batch frames video"]) -> Float[Array, "batch frames 2 columns"]:
        frames = latents.shape[1]
        # Past both ends the last frame stays.
        padded = jnp.pad(latents, ((0, 0), (NEAR, NEAR), (0, 0)), mode="edge")
        x = jnp.concatenate([padded[:, by : by + frames] for by in range(2 * NEAR + 1)], axis=-1)
        logits = self.fc2(jax.nn.gelu(self.fc1(x)))
        return logits.reshape(*logits.shape[:2], 2, COLUMNS).astype(jnp.float32)
