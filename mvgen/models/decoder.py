"""The token decoder: MusicGen's transformer over delayed audio tokens, conditioned on video latents.

The form is MusicGen's (Copet et al. 2023; as transformers implements it): summed codebook embeddings, sinusoidal
positions in steps, pre-norm layers of causal self-attention, cross-attention and an MLP without biases, one head a
codebook. Three things are added, each of which can be switched off: cross-attention knows distances in seconds (rotary
and a local window), each step is also given the latent of the very frame whose tokens it predicts, and what that latent
alone says of the tokens (:class:`~mvgen.models.prior.FramePrior`) is added to the scores.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from mvgen import clock, delay
from mvgen.models.attention import Attention, Mlp
from mvgen.models.config import MVGenConfig
from mvgen.models.positions import musicgen_sinusoid, within
from mvgen.models.prior import FramePrior

EPSILON = 1e-5  # torch's LayerNorm default, which MusicGen's weights were trained with


class Condition(NamedTuple):
    """What a decoder needs of the video, computed once a window.

    ``keys_values``: per layer the cross-attention's keys and values; ``locked``: what is added at each step;
    ``mask``: which frames each step may attend to (``None``: all); ``prior``: log-probabilities from each frame alone.
    """

    keys_values: list[tuple[Array, Array]]
    locked: Float[Array, "batch steps dim"] | None
    mask: Array | None
    step_seconds: Float[Array, " steps"]
    prior: Float[Array, "batch steps codebooks size"] | None


class DecoderLayer(nnx.Module):
    """One layer of MusicGen's decoder."""

    def __init__(self, config: MVGenConfig, *, rngs: nnx.Rngs):
        width, heads, dtype = config.width, config.heads, config.compute_dtype
        self.norm_self = nnx.LayerNorm(width, epsilon=EPSILON, dtype=dtype, rngs=rngs)
        self.attention = Attention(width, heads, dtype=dtype, rngs=rngs)
        self.norm_cross = (
            nnx.LayerNorm(width, epsilon=EPSILON, dtype=dtype, rngs=rngs) if config.cross_attention else None
        )
        self.cross = Attention(width, heads, dtype=dtype, rngs=rngs) if config.cross_attention else None
        self.norm_mlp = nnx.LayerNorm(width, epsilon=EPSILON, dtype=dtype, rngs=rngs)
        self.mlp = Mlp(width, bias=False, dtype=dtype, rngs=rngs)

    def __call__(
        self,
        x: Array,
        keys: Array,
        values: Array,
        mask: Array,
        context: tuple[Array, Array] | None,
        context_mask: Array | None,
        step_seconds: Array | None,
    ) -> Array:
        """``keys`` and ``values`` are those of all steps that ``x`` may see, its own among them."""
        x = x + self.attention.attend(self.attention.queries(self.norm_self(x)), keys, values, mask)
        if self.cross is not None:
            assert self.norm_cross is not None and context is not None
            queries = self.cross.queries(self.norm_cross(x), step_seconds)
            x = x + self.cross.attend(queries, *context, context_mask)
        return x + self.mlp(self.norm_mlp(x), approximate=False)


class TokenDecoder(nnx.Module):
    """Predicts the next column of the delayed token grid."""

    def __init__(self, config: MVGenConfig, *, rngs: nnx.Rngs):
        width, dtype = config.width, config.compute_dtype
        self.config = config
        self.pad = config.codebook_size
        self.embeddings = nnx.List(
            [nnx.Embed(config.codebook_size + 1, width, dtype=dtype, rngs=rngs) for _ in range(config.codebooks)]
        )
        self.condition = nnx.Linear(width, width, dtype=dtype, rngs=rngs)  # transformers: enc_to_dec_proj
        self.locked = nnx.Linear(width, width, dtype=dtype, rngs=rngs) if config.frame_locked else None
        self.prior = FramePrior(config, rngs=rngs) if config.frame_prior else None
        self.no_video = nnx.Param(jnp.zeros(width))  # stands for a video that is withheld (guidance)
        self.layers = nnx.List([DecoderLayer(config, rngs=rngs) for _ in range(config.decoder_layers)])
        self.norm = nnx.LayerNorm(width, epsilon=EPSILON, dtype=dtype, rngs=rngs)
        self.heads = nnx.List(
            [
                nnx.Linear(width, config.codebook_size, use_bias=False, dtype=dtype, rngs=rngs)
                for _ in range(config.codebooks)
            ]
        )

    def withheld(self, latents: Float[Array, "batch time dim"], keep: Array) -> Float[Array, "batch time dim"]:
        """Replaces the video of the examples where ``keep`` (``[batch]``, bool) is False by the learned absence."""
        return jnp.where(keep[:, None, None], latents, self.no_video[...].astype(latents.dtype))

    def conditioned(self, latents: Float[Array, "batch time dim"]) -> Condition:
        """All that the steps of a window need of its video latents."""
        frames = latents.shape[1]
        token_of_step = delay.token_times(clock.tokens_of(frames), self.config.codebooks)
        step_seconds = jnp.asarray(clock.token_centres(clock.tokens_of(frames)))[token_of_step]
        frame_seconds = jnp.asarray(clock.frame_centres(frames))
        rotary = self.config.positions == "rotary"
        context = self.condition(latents)
        keys_values = [
            layer.cross.keys_values(context, frame_seconds if rotary else None)
            for layer in self.layers
            if layer.cross is not None
        ]
        locked = None if self.locked is None else self.locked(latents)[:, token_of_step // clock.TOKENS_PER_FRAME]
        prior = None if self.prior is None else delay.delay_scores(self.prior(latents))
        mask = within(step_seconds, frame_seconds, self.config.attention_window)
        return Condition(keys_values, locked, mask, step_seconds, prior)

    def embed(
        self, columns: Int[Array, "batch steps codebooks"], first: Array | int
    ) -> Float[Array, "batch steps dim"]:
        """Embeds columns of the delayed grid that stand at steps ``first, first + 1, ...``."""
        x = sum((embed(columns[..., k]) for k, embed in enumerate(self.embeddings)), jnp.zeros(()))
        positions = first + jnp.arange(columns.shape[1])
        return x + musicgen_sinusoid(positions, x.shape[-1]).astype(x.dtype)

    def logits(self, x: Array, prior: Array | None) -> Float[Array, "batch steps codebooks size"]:
        """Scores of every entry of every codebook, float32."""
        x = self.norm(x)
        scores = jnp.stack([head(x) for head in self.heads], axis=2).astype(jnp.float32)
        return scores if prior is None else scores + prior

    def __call__(
        self, columns: Int[Array, "batch steps codebooks"], latents: Float[Array, "batch time dim"]
    ) -> Float[Array, "batch steps codebooks size"]:
        """The full pass: scores of column ``s + 1`` at each step ``s``, from columns ``0 .. s`` and the video."""
        return self.scores(columns, self.conditioned(latents))

    def scores(
        self, columns: Int[Array, "batch steps codebooks"], condition: Condition
    ) -> Float[Array, "batch steps codebooks size"]:
        """The full pass, of a condition that has been worked out."""
        length = columns.shape[1]
        x = self.embed(columns, 0)
        if condition.locked is not None:
            x = x + condition.locked[:, :length]
        causal = jnp.tril(jnp.ones((length, length), bool))
        mask = None if condition.mask is None else condition.mask[:length]
        seconds = condition.step_seconds[:length] if self.config.positions == "rotary" else None
        for number, layer in enumerate(self.layers):
            keys, values = layer.attention.keys_values(layer.norm_self(x))
            context = condition.keys_values[number] if condition.keys_values else None
            x = layer(x, keys, values, causal, context, mask, seconds)
        return self.logits(x, None if condition.prior is None else condition.prior[:, :length])

    def empty_cache(self, batch: int, steps: int) -> list[tuple[Array, Array]]:
        """Keys and values of no step yet, per layer ``[batch, steps, heads, dim]``."""
        shape = (batch, steps, self.config.heads, self.config.width // self.config.heads)
        zeros = jnp.zeros(shape, self.config.compute_dtype)
        return [(zeros, zeros) for _ in self.layers]

    def step(
        self, column: Int[Array, "batch codebooks"], step: Array, cache: list[tuple[Array, Array]], condition: Condition
    ) -> tuple[Float[Array, "batch codebooks size"], list[tuple[Array, Array]]]:
        """One cached step: equals row ``step`` of the full pass over the columns written so far."""
        x = self.embed(column[:, None], step)
        if condition.locked is not None:
            x = x + jax.lax.dynamic_slice_in_dim(condition.locked, step, 1, axis=1)
        seen = (jnp.arange(cache[0][0].shape[1]) <= step)[None, :]
        mask = None if condition.mask is None else jax.lax.dynamic_slice_in_dim(condition.mask, step, 1, axis=0)
        rotary = self.config.positions == "rotary"
        seconds = jax.lax.dynamic_slice_in_dim(condition.step_seconds, step, 1) if rotary else None
        grown = []
        for number, (layer, (keys, values)) in enumerate(zip(self.layers, cache, strict=True)):
            key, value = layer.attention.keys_values(layer.norm_self(x))
            keys = jax.lax.dynamic_update_slice_in_dim(keys, key, step, axis=1)
            values = jax.lax.dynamic_update_slice_in_dim(values, value, step, axis=1)
            grown.append((keys, values))
            context = condition.keys_values[number] if condition.keys_values else None
            x = layer(x, keys, values, seen, context, mask, seconds)
        prior = None if condition.prior is None else jax.lax.dynamic_slice_in_dim(condition.prior, step, 1, axis=1)
        return self.logits(x, prior)[:, 0], grown
