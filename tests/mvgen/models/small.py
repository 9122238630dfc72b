"""A model small enough to build in a moment, for the tests of models, losses and generation."""

import dataclasses

import numpy as np
from flax import nnx

from mvgen.models.config import MVGenConfig
from mvgen.models.mvgen import MVGen

SMALL = MVGenConfig(
    codebooks=4, codebook_size=24, frame_size=(16, 16), flow_size=(4, 4), semantic_dim=0, codec="none",
    dtype="float32", width=32, heads=2, video_layers=1, audio_layers=1, latent_dim=16, patch=4,
    use_frames=True, use_flow=True, use_semantic=True, positions="rotary", attention_window=0.2, decoder_layers=2,
    cross_attention=True, frame_locked=True, token_head=True, denoiser_width=32, denoiser_layers=2, denoiser_heads=2,
    denoiser_patch=4, denoiser_frames=4, previous_timesteps=5, movement_width=16, movement_heads=2, movement_layers=1,
)  # fmt: skip


def small_model(**changes) -> MVGen:
    """The small model, with some fields changed; seed 0."""
    return MVGen(dataclasses.replace(SMALL, **changes), rngs=nnx.Rngs(0))


def small_batch(batch: int = 3, frames: int = 10, seed: int = 0) -> dict[str, np.ndarray]:
    """Random frames, flow and tokens."""
    rng = np.random.default_rng(seed)
    return {
        "frames": rng.integers(0, 256, (batch, frames, 16, 16, 3), dtype=np.uint8),
        "flow": rng.normal(size=(batch, frames, 4, 4, 2)).astype(np.float16),
        "tokens": rng.integers(0, SMALL.codebook_size, (batch, 2 * frames, 4)),
    }
