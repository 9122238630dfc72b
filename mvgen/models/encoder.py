"""The aligned encoder: a video tower, an audio tower, and the coordinated space that ties them.

No leak: what the contrastive loss compares (``video_latents``, ``audio_latents`` and their projections) comes out of
each tower alone. Whether a picture and a sound belong together is read off that space, too: cross-attention between the
towers, taught to tell it, was behind their plain similarity in every measure (docs/alignment.md).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from mvgen import clock
from mvgen.models.attention import Block
from mvgen.models.config import MVGenConfig
from mvgen.models.linear import Linear
from mvgen.models.positions import own_latents, sinusoid, time_bias, within

MOTION_GAIN = 4.0  # motion between frames is small beside the picture itself
LANDMARK_GAIN = 16.0  # a fast hand crosses a sixteenth of the picture in a frame
LANDMARK_VALUES = 5  # of each point: place, confidence, velocity
APART_GAIN = 2.0  # and so is a frame's difference from the window's mean
PATCH_CHANNELS = 64
MERGED_CHANNELS = 128


class FrameEmbedding(nnx.Module):
    """One vector a frame from its patches, their change since the frame before, and their difference from the mean.

    One matrix embeds a patch three times: as picture, as motion (the change of an embedding is the embedding of the
    change), and as its difference from its mean over the window, in which camera, light and colours are gone and a key
    that is held down is not. Then 2x2 neighbours are merged, and all are joined with their places. All is matrix
    products, since small convolutions are slow on CPUs and TPUs alike.
    """

    def __init__(self, config: MVGenConfig, *, rngs: nnx.Rngs):
        dtype = config.compute_dtype
        self.window_mean = config.window_mean
        self.grid = (config.frame_size[0] // config.patch, config.frame_size[1] // config.patch)
        merged = self.grid[0] // 2 * (self.grid[1] // 2)
        ways = 3 if config.window_mean else 2
        self.patches = Linear(config.patch**2 * 3, ways * PATCH_CHANNELS, use_bias=False, dtype=dtype, rngs=rngs)
        self.bias = nnx.Param(jnp.zeros(PATCH_CHANNELS))
        self.merge = Linear(4 * PATCH_CHANNELS, MERGED_CHANNELS, dtype=dtype, rngs=rngs)
        self.join = Linear(merged * MERGED_CHANNELS, config.width, dtype=dtype, rngs=rngs)

    def __call__(self, patches: Float[Array, "batch time patches values"]) -> Float[Array, "batch time dim"]:
        picture, motion, *usual = jnp.split(
            self.patches(patches.astype(self.patches.dtype)), 3 if self.window_mean else 2, axis=-1
        )
        x = picture + jnp.diff(motion, axis=1, prepend=motion[:, :1]) * MOTION_GAIN
        if usual:
            x = x + (usual[0] - usual[0].mean(axis=1, keepdims=True)) * APART_GAIN
        x = jax.nn.gelu(x + self.bias[...].astype(picture.dtype))
        batch, time = x.shape[:2]
        x = x.reshape(batch, time, self.grid[0] // 2, 2, self.grid[1] // 2, 2, PATCH_CHANNELS)
        x = x.transpose(0, 1, 2, 4, 3, 5, 6).reshape(batch, time, -1, 4 * PATCH_CHANNELS)
        x = jax.nn.gelu(self.merge(x))
        return self.join(x.reshape(batch, time, -1))


class Tower(nnx.Module):
    """A transformer along time, whose attention knows the distance in seconds."""

    def __init__(self, config: MVGenConfig, layers: int, *, rngs: nnx.Rngs):
        self.positions, self.window, self.heads = config.positions, config.attention_window, config.heads
        dtype = config.compute_dtype
        self.blocks = nnx.List([Block(config.width, config.heads, dtype=dtype, rngs=rngs) for _ in range(layers)])
        self.norm = nnx.LayerNorm(config.width, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "batch time dim"], seconds: Float[Array, " time"]) -> Array:
        if self.positions == "sinusoid":
            x = x + sinusoid(seconds, x.shape[-1]).astype(x.dtype)
        mask = within(seconds, seconds, self.window)
        bias = time_bias(self.positions, seconds, seconds, self.heads)
        for block in self.blocks:
            x = block(x, seconds=seconds if self.positions == "rotary" else None, mask=mask, bias=bias)
        return self.norm(x)


def landmark_values(landmarks: Float[Array, "batch time points 3"]) -> Float[Array, "batch time values"]:
    """Of each point its place from -1 to 1 and its confidence, and its velocity since the frame before.

    A point that is not seen is in the middle, with confidence 0; a point has no velocity out of a frame in which it
    was not seen, nor into one.
    """
    places, seen = landmarks[..., :2], landmarks[..., 2:]
    steady = jnp.minimum(seen[:, 1:], seen[:, :-1])
    velocity = jnp.pad(jnp.diff(places, axis=1) * steady, ((0, 0), (1, 0), (0, 0), (0, 0)))
    values = jnp.concatenate([(2 * places - 1) * seen, seen, velocity * LANDMARK_GAIN], axis=-1)
    return values.reshape(*values.shape[:2], -1)


class VideoTower(nnx.Module):
    """Frames, optical flow, semantic embeddings and landmarks in, one latent a frame out."""

    def __init__(self, config: MVGenConfig, *, rngs: nnx.Rngs):
        dtype = config.compute_dtype
        self.frames = FrameEmbedding(config, rngs=rngs) if config.use_frames else None
        flow_values = 2 * config.flow_size[0] * config.flow_size[1] if config.flow_size else 0
        self.flow = Linear(flow_values, config.width, dtype=dtype, rngs=rngs) if config.sees_flow else None
        self.semantic = (
            Linear(config.semantic_dim, config.width, dtype=dtype, rngs=rngs) if config.sees_semantic else None
        )
        self.landmarks = (
            Linear(LANDMARK_VALUES * config.landmarks, config.width, dtype=dtype, rngs=rngs)
            if config.sees_landmarks
            else None
        )
        self.tower = Tower(config, config.video_layers, rngs=rngs)

    def __call__(self, batch: dict[str, Array], seconds: Float[Array, " time"]) -> Float[Array, "batch time dim"]:
        """``batch`` holds, as used, ``patches`` (-1 to 1), ``flow``, ``semantic``, ``landmarks``, all over time."""
        parts = []
        if self.frames is not None:
            parts.append(self.frames(batch["patches"]))
        if self.flow is not None:
            parts.append(self.flow(batch["flow"].reshape(*batch["flow"].shape[:2], -1)))
        if self.semantic is not None:
            parts.append(self.semantic(batch["semantic"]))
        if self.landmarks is not None:
            parts.append(self.landmarks(landmark_values(batch["landmarks"])))
        return self.tower(sum(parts[1:], parts[0]), seconds)


class AudioTower(nnx.Module):
    """Audio tokens in (the codebooks of a timestep summed), one latent a timestep out."""

    def __init__(self, config: MVGenConfig, *, rngs: nnx.Rngs):
        dtype = config.compute_dtype
        self.embeddings = nnx.List(
            [nnx.Embed(config.codebook_size, config.width, dtype=dtype, rngs=rngs) for _ in range(config.codebooks)]
        )
        self.tower = Tower(config, config.audio_layers, rngs=rngs)

    def __call__(
        self, tokens: Int[Array, "batch tokens codebooks"], seconds: Float[Array, " tokens"]
    ) -> Float[Array, "batch tokens dim"]:
        x = sum((embed(tokens[..., k]) for k, embed in enumerate(self.embeddings)), jnp.zeros(()))
        return self.tower(x, seconds)


class AlignedEncoder(nnx.Module):
    """Both towers, their coordinated projections, and whether two of them belong together."""

    def __init__(self, config: MVGenConfig, *, rngs: nnx.Rngs):
        dtype = config.compute_dtype
        self.config = config
        self.video = VideoTower(config, rngs=rngs)
        self.audio = AudioTower(config, rngs=rngs)
        self.project_video = Linear(config.width, config.latent_dim, use_bias=False, dtype=dtype, rngs=rngs)
        self.project_audio = Linear(config.width, config.latent_dim, use_bias=False, dtype=dtype, rngs=rngs)
        self.log_scale = nnx.Param(jnp.log(jnp.array(10.0)))  # inverse temperature, learned as in CLIP
        # A line through similarities: where the two belong together by one half, and how sharply that changes.
        self.belonging_threshold = nnx.Param(jnp.array(0.3))
        self.belonging_log_slope = nnx.Param(jnp.log(jnp.array(20.0)))

    def video_latents(self, batch: dict[str, Array]) -> Float[Array, "batch time dim"]:
        """Latents of the picture alone, one a frame."""
        present = next(batch[name] for name in ("patches", "flow", "semantic", "landmarks") if name in batch)
        return self.video(batch, jnp.asarray(clock.frame_centres(present.shape[1])))

    def audio_latents(self, tokens: Int[Array, "batch tokens codebooks"]) -> Float[Array, "batch tokens dim"]:
        """Latents of the sound alone, one a token."""
        return self.audio(tokens, jnp.asarray(clock.token_centres(tokens.shape[1])))

    def coordinates(self, latents: Array, modality: str) -> Float[Array, "batch frames latent"]:
        """Unit vectors in the coordinated space, one a frame (a frame's two tokens are averaged)."""
        if modality == "audio":
            z = self.project_audio(own_latents(latents).mean(axis=2))
        else:
            z = self.project_video(latents)
        z = z.astype(jnp.float32)
        return z * jax.lax.rsqrt(jnp.sum(z**2, axis=-1, keepdims=True) + 1e-6)

    def belonging(self, similarity: Float[Array, "*pairs"]) -> Float[Array, "*pairs"]:
        """Logit that a picture and a sound belong together.

        Args:
            similarity: their mean dot product of unit vectors where they fit best (:meth:`coordinates`).
        """
        return jnp.exp(self.belonging_log_slope[...]) * (similarity - self.belonging_threshold[...])
