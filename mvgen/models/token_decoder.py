"""The token decoder: MusicGen's transformer over delayed audio tokens, conditioned on video, text or both.

The form is MusicGen's (Copet et al. 2023; as transformers implements it): summed codebook embeddings, sinusoidal
positions in steps, pre-norm layers of causal self-attention, cross-attention and an MLP without biases, one head a
codebook. It attends to embedded text, to video latents, or to both. Four things are added, each of which can be
switched off: cross-attention to the video knows time in seconds (a per-head time bias, or rotary, and a local window);
frame-locked addition gives each step the latent of the very frame whose tokens it predicts; a per-frame token head
(:class:`~mvgen.models.token_head.TokenHead`) adds what that latent alone says of the tokens to the scores; and a
previous-timesteps convolution (:class:`~mvgen.models.previous_timesteps.PreviousTimesteps`) reads the last few
timesteps of sound. With all off it is MusicGen, number for number.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from mvgen import clock
from mvgen.models import delay
from mvgen.models.attention import Attention, Mlp, kept_dtype, laid_out
from mvgen.models.config import DecoderConfig
from mvgen.models.linear import Linear
from mvgen.models.positions import musicgen_sinusoid, time_bias, within
from mvgen.models.previous_timesteps import PreviousTimesteps
from mvgen.models.token_head import TokenHead

EPSILON = 1e-5  # torch's LayerNorm default, which MusicGen's weights were trained with


class Text(NamedTuple):
    """Embedded words, as T5 gives them: ``[batch, words, text_width]``, and which of them are words, not padding."""

    embeddings: Float[Array, "batch words text"]
    mask: Bool[Array, "batch words"]

    def withheld(self) -> Text:
        """Dropped text, in the same shape: what guidance pushes away from."""
        return Text(self.embeddings, jnp.zeros_like(self.mask))


class Condition(NamedTuple):
    """What a decoder needs of video and text, computed once a window.

    ``keys_values``: per layer the cross-attention's keys and values, words first, then frames (empty: attend to
    nothing); ``locked``: what is added at each step; ``mask``: what each step may attend to (``None``: all);
    ``step_seconds``: where steps stand, for rotary cross-attention alone; ``token_head``: the per-frame token head's
    log-probabilities; ``bias``: the time bias of cross-attention's scores (``None``: none); ``scales``: by which a
    step's frame scales what the previous-timesteps convolution reads.
    """

    keys_values: list[tuple[Array, Array]]
    locked: Float[Array, "batch steps dim"] | None
    mask: Bool[Array, "batch 1 steps context"] | None
    step_seconds: Float[Array, " steps"] | None
    token_head: Float[Array, "batch steps codebooks size"] | None
    bias: Float[Array, "1 heads steps context"] | None = None
    scales: Float[Array, "batch steps values"] | None = None

    def laid_out(self) -> Condition:
        """For steps that are taken one by one: keys and values as :func:`mvgen.models.attention.laid_out` lays them."""
        return self._replace(keys_values=[laid_out(*pair) for pair in self.keys_values])


class Cache(NamedTuple):
    """What decoding step by step keeps of the steps before.

    ``layers``: of each layer keys ``[batch, heads, dim, steps]`` and values ``[batch, heads, steps, dim]``;
    ``columns``: as many of the newest columns as a step is told of directly.
    """

    layers: list[tuple[Array, Array]]
    columns: Int[Array, "batch before codebooks"]


def layer_norm(width: int, dtype: jnp.dtype, rngs: nnx.Rngs) -> nnx.LayerNorm:
    """MusicGen's norm; the variance is taken in two passes, as torch takes it."""
    return nnx.LayerNorm(width, epsilon=EPSILON, use_fast_variance=False, dtype=dtype, rngs=rngs)


class DecoderLayer(nnx.Module):
    """One layer of MusicGen's decoder."""

    def __init__(self, config: DecoderConfig, *, rngs: nnx.Rngs):
        width, heads, dtype = config.width, config.heads, config.compute_dtype
        self.norm_self = layer_norm(width, dtype, rngs)
        self.attention = Attention(width, heads, dtype=dtype, rngs=rngs)
        self.norm_cross = layer_norm(width, dtype, rngs) if config.cross_attention else None
        self.cross = Attention(width, heads, dtype=dtype, rngs=rngs) if config.cross_attention else None
        self.norm_mlp = layer_norm(width, dtype, rngs)
        self.mlp = Mlp(width, bias=False, hidden=config.hidden, dtype=dtype, rngs=rngs)

    def __call__(
        self,
        x: Array,
        keys: Array,
        values: Array,
        mask: Array,
        context: tuple[Array, Array] | None,
        context_mask: Array | None,
        step_seconds: Array | None,
        context_bias: Array | None = None,
        weights: list[Array] | None = None,
    ) -> Array:
        """``keys`` and ``values`` are those of all steps that ``x`` may see, its own among them."""
        x = x + self.attention.attend(self.attention.queries(self.norm_self(x)), keys, values, mask)
        if self.cross is not None and context is not None:
            assert self.norm_cross is not None
            queries = self.cross.queries(self.norm_cross(x), step_seconds)
            x = x + self.cross.attend(queries, *context, context_mask, context_bias, weights)
        return x + self.mlp(self.norm_mlp(x), approximate=False)

    def step(
        self,
        x: Float[Array, "batch 1 dim"],
        keys: Array,
        values: Array,
        mask: Array,
        context: tuple[Array, Array] | None,
        context_mask: Array | None,
        step_seconds: Array | None,
        context_bias: Array | None,
    ) -> Array:
        """The same for a single step; keys and values, those of ``context`` too, are laid out for it."""
        x = x + self.attention.attend_one(self.attention.queries(self.norm_self(x)), keys, values, mask)
        if self.cross is not None and context is not None:
            assert self.norm_cross is not None
            queries = self.cross.queries(self.norm_cross(x), step_seconds)
            x = x + self.cross.attend_one(queries, *context, context_mask, context_bias)
        return x + self.mlp(self.norm_mlp(x), approximate=False)


class TokenDecoder(nnx.Module):
    """Predicts the next column of the delayed token grid."""

    def __init__(self, config: DecoderConfig, *, rngs: nnx.Rngs):
        width, dtype = config.width, config.compute_dtype
        self.config = config
        self.pad = config.codebook_size
        self.embeddings = nnx.List(
            [nnx.Embed(config.codebook_size + 1, width, dtype=dtype, rngs=rngs) for _ in range(config.codebooks)]
        )
        video = config.video_width
        self.condition = Linear(video, width, dtype=dtype, rngs=rngs) if video else None
        self.locked = Linear(video, width, dtype=dtype, rngs=rngs) if video and config.frame_locked else None
        self.token_head = TokenHead(config, rngs=rngs) if video and config.token_head else None
        self.no_video = nnx.Param(jnp.zeros(video)) if video else None  # for a dropped video (guidance)
        self.previous_timesteps = (
            PreviousTimesteps(config.previous_timesteps, width, video, dtype=dtype, rngs=rngs)
            if config.previous_timesteps
            else None
        )
        self.layers = nnx.List([DecoderLayer(config, rngs=rngs) for _ in range(config.layers)])
        self.norm = layer_norm(width, dtype, rngs)
        self.heads = nnx.List(
            [
                Linear(width, config.codebook_size, use_bias=False, dtype=dtype, rngs=rngs)
                for _ in range(config.codebooks)
            ]
        )
        # transformers: enc_to_dec_proj, which is there only where the widths differ
        projected = config.text_width not in (0, width)
        self.text = Linear(config.text_width, width, dtype=dtype, rngs=rngs) if projected else None

    def withheld(self, latents: Float[Array, "batch time dim"], keep: Array) -> Float[Array, "batch time dim"]:
        """Drops the video of examples where ``keep`` (``[batch]``, bool) is False: a learned vector stands for it."""
        assert self.no_video is not None, "this decoder sees no video"
        return jnp.where(keep[:, None, None], latents, self.no_video[...].astype(latents.dtype))

    def conditioned(self, latents: Float[Array, "batch time video"] | None, text: Text | None = None) -> Condition:
        """All that the steps of a window need of its video latents, its text, or both."""
        config = self.config
        contexts: list[Array] = []
        masks: list[Array | None] = []
        locked = token_head = step_seconds = frame_seconds = bias = scales = None
        if text is not None:
            words = text.embeddings.astype(config.compute_dtype)
            # Padding becomes zero after the projection, whose bias would else be heard where no word is to be seen.
            contexts.append((words if self.text is None else self.text(words)) * text.mask[..., None])
            masks.append(text.mask[:, None, None, :])
        if latents is not None:
            assert self.condition is not None, "this decoder sees no video"
            frames = latents.shape[1]
            token_of_step = delay.token_times(clock.tokens_of(frames), config.codebooks)
            seconds = jnp.asarray(clock.token_centres(clock.tokens_of(frames)))[token_of_step]
            frame_centres = jnp.asarray(clock.frame_centres(frames))
            near = within(seconds, frame_centres, config.window)
            contexts.append(self.condition(latents))
            masks.append(None if near is None else near[None, None])
            if config.rotary:
                step_seconds, frame_seconds = seconds, frame_centres
            bias = time_bias(config.bias, seconds, frame_centres, config.heads)
            if bias is not None and text is not None:  # words have no time: nothing is added to their scores
                bias = jnp.pad(bias, ((0, 0), (0, 0), (0, 0), (text.mask.shape[1], 0)))
            frame_of_step = token_of_step // clock.TOKENS_PER_FRAME
            if self.locked is not None:
                locked = self.locked(latents)[:, frame_of_step]
            if self.previous_timesteps is not None and self.previous_timesteps.scale is not None:
                scales = self.previous_timesteps.scale(latents)[:, frame_of_step]
            if self.token_head is not None:
                token_head = delay.delay_scores(self.token_head(latents))
        keys_values = [
            layer.cross.keys_values(jnp.concatenate(contexts, axis=1), frame_seconds)
            for layer in self.layers
            if layer.cross is not None and contexts
        ]
        return Condition(keys_values, locked, _joined(masks, contexts), step_seconds, token_head, bias, scales)

    def embed(
        self,
        columns: Int[Array, "batch steps codebooks"],
        first: Array | int,
        before: Int[Array, "batch before codebooks"] | None = None,
        scales: Float[Array, "batch steps values"] | None = None,
    ) -> Float[Array, "batch steps dim"]:
        """Embeds columns of the delayed grid that stand at steps ``first, first + 1, ...``.

        ``before``: the columns in front of them, as many as a :class:`Cache` keeps; by default there are none.
        ``scales``: of the previous timesteps that these steps read (see :class:`Condition`).
        """
        steps = columns.shape[1]
        before = self._no_columns(len(columns)) if before is None else before
        columns = jnp.concatenate([before, columns], axis=1)
        parts = [embed(columns[..., k]) for k, embed in enumerate(self.embeddings)]
        x = sum((part[:, before.shape[1] :] for part in parts), jnp.zeros(()))
        if self.previous_timesteps is not None:
            real = columns != self.pad
            x = x + self.previous_timesteps([part * real[..., k, None] for k, part in enumerate(parts)], steps, scales)
        return x + musicgen_sinusoid(first + jnp.arange(steps), x.shape[-1]).astype(x.dtype)

    def _no_columns(self, batch: int) -> Int[Array, "batch before codebooks"]:
        """What stands before the first column."""
        return jnp.full((batch, max(self.config.previous_timesteps - 1, 0), self.config.codebooks), self.pad, jnp.int32)

    def logits(self, x: Array, token_head: Array | None) -> Float[Array, "batch steps codebooks size"]:
        """Scores of every entry of every codebook, float32."""
        x = self.norm(x)
        scores = jnp.stack([head(x) for head in self.heads], axis=2).astype(jnp.float32)
        return scores if token_head is None else scores + token_head

    def __call__(
        self,
        columns: Int[Array, "batch steps codebooks"],
        latents: Float[Array, "batch time video"] | None = None,
        text: Text | None = None,
    ) -> Float[Array, "batch steps codebooks size"]:
        """The full pass: scores of column ``s + 1`` at each step ``s``, from columns ``0 .. s``, video and text."""
        return self.scores(columns, self.conditioned(latents, text))

    def scores(
        self,
        columns: Int[Array, "batch steps codebooks"],
        condition: Condition,
        weights: list[Array] | None = None,
    ) -> Float[Array, "batch steps codebooks size"]:
        """The full pass, of a condition that has been worked out.

        A list ``weights`` is given what each step looked at in the context, ``[batch, heads, steps, context]`` a layer.
        """
        length = columns.shape[1]
        x = self.embed(columns, 0, scales=None if condition.scales is None else condition.scales[:, :length])
        if condition.locked is not None:
            x = x + condition.locked[:, :length]
        causal = jnp.tril(jnp.ones((length, length), bool))
        mask = None if condition.mask is None else condition.mask[:, :, :length]
        seconds = None if condition.step_seconds is None else condition.step_seconds[:length]
        bias = None if condition.bias is None else condition.bias[:, :, :length]
        for number, layer in enumerate(self.layers):
            keys, values = layer.attention.keys_values(layer.norm_self(x))
            context = condition.keys_values[number] if condition.keys_values else None
            x = layer(x, keys, values, causal, context, mask, seconds, bias, weights)
        return self.logits(x, None if condition.token_head is None else condition.token_head[:, :length])

    def empty_cache(self, batch: int, steps: int) -> Cache:
        """Of no step yet, with room for so many."""
        heads, dim = self.config.heads, self.config.width // self.config.heads
        dtype = kept_dtype(self.config.compute_dtype)
        keys, values = jnp.zeros((batch, heads, dim, steps), dtype), jnp.zeros((batch, heads, steps, dim), dtype)
        return Cache([(keys, values) for _ in self.layers], self._no_columns(batch))

    def step(
        self, column: Int[Array, "batch codebooks"], step: Array, cache: Cache, condition: Condition
    ) -> tuple[Float[Array, "batch codebooks size"], Cache]:
        """One cached step: equals row ``step`` of the full pass over the columns written so far.

        ``condition`` is laid out for steps (:meth:`Condition.laid_out`).
        """
        locked, scales = (
            None if values is None else jax.lax.dynamic_slice_in_dim(values, step, 1, axis=1)
            for values in (condition.locked, condition.scales)
        )
        x = self.embed(column[:, None], step, cache.columns, scales)
        if locked is not None:
            x = x + locked
        seen = (jnp.arange(cache.layers[0][0].shape[3]) <= step)[None, :]
        mask, seconds, bias = condition.mask, condition.step_seconds, condition.bias
        if mask is not None and mask.shape[2] > 1:
            mask = jax.lax.dynamic_slice_in_dim(mask, step, 1, axis=2)
        if seconds is not None:
            seconds = jax.lax.dynamic_slice_in_dim(seconds, step, 1)
        if bias is not None:
            bias = jax.lax.dynamic_slice_in_dim(bias, step, 1, axis=2)
        grown = []
        for number, (layer, (keys, values)) in enumerate(zip(self.layers, cache.layers, strict=True)):
            key, value = laid_out(*layer.attention.keys_values(layer.norm_self(x)))
            keys = jax.lax.dynamic_update_slice_in_dim(keys, key, step, axis=3)
            values = jax.lax.dynamic_update_slice_in_dim(values, value, step, axis=2)
            grown.append((keys, values))
            context = condition.keys_values[number] if condition.keys_values else None
            x = layer.step(x, keys, values, seen, context, mask, seconds, bias)
        token_head = (
            None
            if condition.token_head is None
            else jax.lax.dynamic_slice_in_dim(condition.token_head, step, 1, axis=1)
        )
        newest = (
            jnp.concatenate([cache.columns, column[:, None]], axis=1)[:, 1:]
            if self.previous_timesteps
            else cache.columns
        )
        return self.logits(x, token_head)[:, 0], Cache(grown, newest)


def _joined(masks: list[Array | None], contexts: list[Array]) -> Array | None:
    """One mask over several contexts ``[batch, time, dim]``; ``None`` among masks lets all of its context be seen."""
    if all(mask is None for mask in masks):
        return None
    full = [
        jnp.ones((1, 1, 1, context.shape[1]), bool) if mask is None else mask
        for mask, context in zip(masks, contexts, strict=True)
    ]
    batch, steps = (max(mask.shape[axis] for mask in full) for axis in (0, 2))
    return jnp.concatenate([jnp.broadcast_to(mask, (batch, 1, steps, mask.shape[3])) for mask in full], axis=3)
