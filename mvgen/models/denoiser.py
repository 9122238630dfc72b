"""The video denoiser: a diffusion transformer that predicts clean frames from noisy ones, an image, how it moves and
the sound.

Frames are patches of pixels, or of latents. Each block attends over the patches of a frame together with those of the
given image, then along time at each place, then to the audio latents around each frame's time, and is modulated by
noise level, the frame's own audio latents and where its points are (AdaLN, Peebles and Xie 2023, one shared modulation
as in PixArt-alpha). The network predicts the clean picture itself rather than noise or velocity, which suits large
patches (Li and He 2025, "Back to Basics"), as a change to the image that movement carries
(:mod:`mvgen.models.movement`) and to what of it covers what is behind: before it has learned anything it predicts that
image.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from mvgen import clock
from mvgen.models.attention import Attention, Mlp
from mvgen.models.config import MVGenConfig
from mvgen.models.flow_matching import CHANGE
from mvgen.models.linear import Linear
from mvgen.models.movement import Carried
from mvgen.models.patches import patchify
from mvgen.models.positions import own_latents, within

POINT_GAIN = 4.0  # points are seldom moved by more than a quarter of the picture
COVER_GAIN = 4.0  # logits by which an output of one changes what is covered
POINT_VALUES = 5  # of each: how sure, its place, how far from where it is in the image


class Stretch(NamedTuple):
    """A run of frames inside a window, with the audio latents within reach of it; seconds count from its beginning."""

    audio: Float[Array, "batch tokens dim"]
    own_audio: Float[Array, "batch frames two_tokens dim"]
    frame_seconds: Float[Array, " frames"]
    token_seconds: Float[Array, " tokens"]
    audible: Bool[Array, "batch tokens"]


def stretch(
    audio: Float[Array, "batch tokens dim"], start: Int[Array, " batch"] | int, length: int, window: float
) -> Stretch:
    """Cuts out what the denoiser needs for frames ``start .. start + length`` of a window of audio latents.

    ``start`` is one for all, or one for each; ``window`` is how far it hears either way, in seconds (0: the whole
    window); beyond the ends there is nothing.
    """
    batch, tokens, dim = audio.shape
    two = clock.TOKENS_PER_FRAME
    margin = two * math.ceil(window * clock.FRAME_RATE) if window else tokens
    reach = two * length + 2 * margin
    padded = jnp.pad(audio, ((0, 0), (margin, margin), (0, 0)))
    first = two * jnp.broadcast_to(start, (batch,))
    numbers = first[:, None] - margin + jnp.arange(reach)
    cut = jax.vmap(partial(jax.lax.dynamic_slice_in_dim, axis=0), (0, 0, None))
    return Stretch(
        audio=cut(padded, first, reach),
        own_audio=own_latents(cut(audio, first, two * length)),
        frame_seconds=(jnp.arange(length) + 0.5) / clock.FRAME_RATE,
        token_seconds=(jnp.arange(reach) - margin + 0.5) / clock.TOKEN_RATE,
        audible=(numbers >= 0) & (numbers < tokens),
    )


def embed_level(level: Float[Array, "batch frames"], width: int) -> Float[Array, "batch frames dim"]:
    """Sinusoidal embedding of the noise level (0 noise, 1 clean)."""
    angles = level[..., None] * 1000 * jnp.exp(-math.log(10_000) * jnp.arange(width // 2) / (width // 2))
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


class Motion(NamedTuple):
    """How the given image moves in a stretch, as patches (:class:`mvgen.models.movement.Carried`), and its points."""

    moved: Float[Array, "batch frames patches values"]
    cover: Float[Array, "batch frames patches places"]
    behind: Float[Array, "batch patches values"]
    points: Float[Array, "batch frames point_values"]


def motion(
    carried: Carried, before: Float[Array, "batch points 3"], after: Float[Array, "batch frames points 3"], patch: int
) -> Motion:
    """What the denoiser is told of movement: points ``before`` in the image, ``after`` in the frames."""
    sure = after[..., 2:] * before[:, None, :, 2:]
    places = jnp.concatenate(
        [sure, (2 * after[..., :2] - 1) * sure, POINT_GAIN * (after - before[:, None])[..., :2] * sure], axis=-1
    )
    return Motion(
        patchify(carried.moved, patch),
        patchify(carried.cover, patch),
        patchify(carried.behind, patch),
        places.reshape(*places.shape[:2], -1),
    )


class DenoiserBlock(nnx.Module):
    """Space, time, sound, then an MLP."""

    def __init__(self, config: MVGenConfig, *, rngs: nnx.Rngs):
        width, heads, dtype = config.denoiser_width, config.denoiser_heads, config.compute_dtype

        def norm(affine: bool) -> nnx.LayerNorm:
            return nnx.LayerNorm(width, use_scale=affine, use_bias=affine, dtype=dtype, rngs=rngs)

        self.norm_space, self.space = norm(False), Attention(width, heads, dtype=dtype, rngs=rngs)
        self.norm_time, self.time = norm(True), Attention(width, heads, dtype=dtype, rngs=rngs)
        self.norm_sound = norm(True)
        self.sound = Attention(width, heads, context_width=config.width, dtype=dtype, rngs=rngs)
        self.norm_mlp, self.mlp = norm(False), Mlp(width, dtype=dtype, rngs=rngs)
        self.modulation_offset = nnx.Param(jnp.zeros(6 * width))  # this block's share of the common modulation

    def __call__(
        self,
        x: Float[Array, "batch frames patches dim"],
        image: Float[Array, "batch patches dim"],
        modulation: Float[Array, "batch frames six_dims"],
        audio: Float[Array, "batch tokens audio_dim"],
        frame_seconds: Array,
        token_seconds: Array,
        mask: Array,
    ) -> Array:
        batch, frames, patches, dim = x.shape
        modulation = (modulation + self.modulation_offset[...].astype(x.dtype))[:, :, None]
        shift1, scale1, gate1, shift2, scale2, gate2 = jnp.split(modulation, 6, axis=-1)
        y = (self.norm_space(x) * (1 + scale1) + shift1).reshape(batch * frames, patches, dim)
        # All places of the given image stand beside those of each frame.
        beside = self.space.keys_values(self.norm_space(image))
        k, v = (
            jnp.concatenate([own, jnp.repeat(given, frames, axis=0)], axis=1)
            for own, given in zip(self.space.keys_values(y), beside, strict=True)
        )
        y = self.space.attend(self.space.queries(y), k, v).reshape(x.shape)
        x = x + (1 + gate1) * y
        y = self.norm_time(x).transpose(0, 2, 1, 3).reshape(batch * patches, frames, dim)
        y = self.time(y, query_seconds=frame_seconds)
        x = x + y.reshape(batch, patches, frames, dim).transpose(0, 2, 1, 3)
        y = self.norm_sound(x).reshape(batch, frames * patches, dim)
        y = self.sound(
            y,
            audio,
            query_seconds=jnp.repeat(frame_seconds, patches),
            key_seconds=token_seconds,
            mask=jnp.repeat(mask, patches, axis=1)[:, None],
        )
        x = x + y.reshape(x.shape)
        return x + (1 + gate2) * self.mlp(self.norm_mlp(x) * (1 + scale2) + shift2)


class Denoiser(nnx.Module):
    """Predicts clean frames (-1 to 1) of a stretch of video."""

    def __init__(self, config: MVGenConfig, *, rngs: nnx.Rngs):
        width, dtype = config.denoiser_width, config.compute_dtype
        self.config = config
        height, across = config.picture_size
        places = config.denoiser_patch**2
        patches = height * across // places
        values = places * config.picture_channels
        self.noisy = Linear(values, width, dtype=dtype, rngs=rngs)
        self.image = Linear(values, width, dtype=dtype, rngs=rngs)
        self.base = Linear(3 * values + places, width, use_bias=False, dtype=dtype, rngs=rngs)
        self.place = nnx.Param(0.02 * jax.random.normal(rngs.params(), (patches, width)))
        self.points = Linear(POINT_VALUES * len(config.hanging), width, dtype=dtype, rngs=rngs)
        self.level1 = Linear(width, width, dtype=dtype, rngs=rngs)
        self.level2 = Linear(width, width, dtype=dtype, rngs=rngs)
        self.locked = Linear(clock.TOKENS_PER_FRAME * config.width, width, dtype=dtype, rngs=rngs)
        self.no_audio = nnx.Param(jnp.zeros(config.width))  # stands for a dropped sound (guidance)
        self.modulation = Linear(width, 6 * width, kernel_init=nnx.initializers.zeros_init(), dtype=dtype, rngs=rngs)
        self.blocks = nnx.List([DenoiserBlock(config, rngs=rngs) for _ in range(config.denoiser_layers)])
        self.norm = nnx.LayerNorm(width, dtype=dtype, rngs=rngs)
        self.out = Linear(width, values + places, kernel_init=nnx.initializers.zeros_init(), dtype=dtype, rngs=rngs)

    def withheld(self, audio: Float[Array, "batch tokens dim"], keep: Array) -> Float[Array, "batch tokens dim"]:
        """Drops the sound of examples where ``keep`` (``[batch]``, bool) is False: a learned vector stands for it."""
        return jnp.where(keep[:, None, None], audio, self.no_audio[...].astype(audio.dtype))

    def __call__(
        self,
        noisy: Float[Array, "batch frames patches values"],
        level: Float[Array, "batch frames"],
        image: Float[Array, "batch patches values"],
        motion: Motion,
        audio: Float[Array, "batch tokens audio_dim"],
        own_audio: Float[Array, "batch frames two_tokens audio_dim"],
        frame_seconds: Float[Array, " frames"],
        token_seconds: Float[Array, " tokens"],
        audible: Bool[Array, "batch tokens"],
    ) -> Float[Array, "batch frames patches values"]:
        """
        Args:
            noisy: patches of the frames at their noise levels.
            level: 0 pure noise, 1 clean; one level a frame, so that known frames can stand beside noisy ones.
            image: patches of the given image (zeros where dropped); all its places are attended to.
            motion: how movement carries the image (the image as it is, where movement is dropped).
            audio: latents of the sound around, with its times ``token_seconds``; only the ``audible`` ones are real.
            own_audio: the latents of each frame's own tokens.
            frame_seconds: the middle of each frame, on the same axis as ``token_seconds``.
        """
        dtype = self.config.compute_dtype
        values = noisy.shape[-1]
        share = _of_each_value(motion.cover, values)
        base = share * motion.moved + (1 - share) * motion.behind[:, None]
        sound = own_audio.reshape(*own_audio.shape[:2], -1).astype(dtype)
        own = self.locked(sound) + self.points(motion.points.astype(dtype))
        behind = jnp.broadcast_to(motion.behind[:, None], motion.moved.shape)
        carried = jnp.concatenate([base, motion.moved, behind, jax.nn.sigmoid(motion.cover)], axis=-1)
        given = self.image(image.astype(dtype)) + self.place[...].astype(dtype)
        x = self.noisy(noisy.astype(dtype)) + given[:, None] + self.base(carried.astype(dtype)) + own[:, :, None]
        level_embedding = embed_level(level, self.config.denoiser_width).astype(dtype)
        condition = self.level2(jax.nn.silu(self.level1(level_embedding))) + own
        modulation = self.modulation(jax.nn.silu(condition))
        near = within(frame_seconds, token_seconds, self.config.attention_window)
        mask = jnp.broadcast_to(audible[:, None], (len(audible), frame_seconds.shape[0], audible.shape[1]))
        mask = mask if near is None else mask & near
        for block in self.blocks:
            x = block(x, given, modulation, audio.astype(dtype), frame_seconds, token_seconds, mask)
        change = self.out(self.norm(x)).astype(jnp.float32)
        share = _of_each_value(motion.cover + COVER_GAIN * change[..., values:], values)
        return share * motion.moved + (1 - share) * motion.behind[:, None] + CHANGE * change[..., :values]


def _of_each_value(
    cover: Float[Array, "batch frames patches places"], values: int
) -> Float[Array, "batch frames patches values"]:
    """The share of what covers, for each of the values of a patch: its places' channels."""
    return jnp.repeat(jax.nn.sigmoid(cover), values // cover.shape[-1], axis=-1)
