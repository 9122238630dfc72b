"""The one loss: InfoNCE and matching, cross-entropy of the tokens, and the film's (:mod:`mvgen.training.film`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from mvgen import clock
from mvgen.data import augment
from mvgen.models import delay
from mvgen.models.mvgen import MVGen
from mvgen.training.film import film_losses, points_of

NEAR_SHIFT = 1  # frames: a shift this small is no negative, since neighbouring frames look alike


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """Weights and settings of the loss; fields are described in ``configs/base.py``."""

    align: float
    music: float
    token_head: float
    video: float
    movement: float
    max_shift_seconds: float
    video_examples: int
    video_stretches: int
    condition_dropout: float
    history_corruption: float
    shift: int
    colour: float
    shifts: float = 1.0
    frame_level: float = 1.0
    notes: float = 0.0

    @classmethod
    def from_config(cls, config: Any) -> LossConfig:
        """From ``config.loss`` and ``config.augment``."""
        fields = {**config.loss.to_dict(), "shift": config.augment.shift, "colour": config.augment.colour}
        return cls(**{**fields, "token_head": fields["token_head"] * fields["music"]})


def contrast(video: Float[Array, "batch time latent"], audio: Array, scale: Array) -> tuple[Array, Array]:
    """Clip-level InfoNCE (van den Oord et al. 2018), both ways, and the share found at rank 1.

    A pair's similarity is the mean over time of the dot products of latents at the same moment, so that it is
    coordination in time that is compared, not a summary of each clip.
    """
    similarity = jnp.einsum("itd,jtd->ij", video, audio) / video.shape[1]
    labels = jnp.arange(similarity.shape[0])
    logits = scale * similarity
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    loss += optax.softmax_cross_entropy_with_integer_labels(logits.T, labels)
    return loss.mean() / 2, jnp.mean(jnp.argmax(similarity, axis=1) == labels)


def shift_similarities(
    video: Float[Array, "batch time latent"], audio: Array, reach: int
) -> Float[Array, "batch shifts"]:
    """Mean dot product of video at ``t`` with audio at ``t + s`` for ``s = -reach .. reach`` frames, where both are."""
    time = video.shape[1]
    table = jnp.einsum("btd,bud->btu", video, audio)
    shifts = jnp.arange(-reach, reach + 1)
    partner = jnp.arange(time)[None, :] + shifts[:, None]
    inside = (partner >= 0) & (partner < time)
    rows = jnp.arange(time)[None, :]
    values = jnp.where(inside, table[:, rows, jnp.clip(partner, 0, time - 1)], 0.0)
    return values.sum(-1) / inside.sum(-1)


def contrast_shifts(video: Array, audio: Array, scale: Array, reach: int) -> tuple[Array, Array]:
    """InfoNCE over time shifts inside a clip, and the share of clips whose best shift is within one frame."""
    similarity = shift_similarities(video, audio, reach)
    shifts = jnp.arange(-reach, reach + 1)
    ambiguous = (jnp.abs(shifts) <= NEAR_SHIFT) & (shifts != 0)
    logits = jnp.where(ambiguous, -jnp.inf, scale * similarity)
    labels = jnp.full(video.shape[0], reach)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    return loss, jnp.mean(jnp.abs(shifts[jnp.argmax(similarity, axis=1)]) <= NEAR_SHIFT)


def contrast_frames(video: Array, audio: Array, scale: Array) -> tuple[Array, Array]:
    """Frame-level InfoNCE inside a clip, both ways, and the share of frames found within one frame.

    Every frame is to find its own sound among all the sounds of the same clip, and every sound its frame. Rhythm alone
    does not tell frames apart: it takes what is played, so it is here that both towers learn which key sounds how.
    """
    time = video.shape[1]
    similarity = jnp.einsum("btd,bud->btu", video, audio)
    apart = jnp.abs(jnp.arange(time)[:, None] - jnp.arange(time)[None, :])
    ambiguous = (apart <= NEAR_SHIFT) & (apart != 0)
    logits = jnp.where(ambiguous, -jnp.inf, scale * similarity)
    labels = jnp.broadcast_to(jnp.arange(time), similarity.shape[:2])
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    loss += optax.softmax_cross_entropy_with_integer_labels(logits.swapaxes(1, 2), labels).mean()
    return loss / 2, jnp.mean(jnp.abs(jnp.argmax(similarity, axis=2) - labels) <= NEAR_SHIFT)


def best_similarities(
    video: Float[Array, "batch time latent"], audio: Array, reach: int
) -> Float[Array, "batch batch"]:
    """Of every video (rows) with every audio (columns) the mean dot product at the shift at which they fit best."""

    def of_all_videos(one: Array) -> Array:
        return shift_similarities(video, jnp.broadcast_to(one, video.shape), reach).max(axis=1)

    return jax.vmap(of_all_videos, out_axes=1)(audio)


def belonging_loss(model: MVGen, video: Array, audio: Array, reach: int) -> tuple[Array, Array]:
    """Binary cross-entropy of whether a picture and a sound belong together, and the area under the ROC curve.

    True pairs against those of different clips of the batch, each kind with half of the weight. It teaches the line
    through similarities alone: nothing of it reaches the towers.
    """
    similarity = jax.lax.stop_gradient(best_similarities(video, audio, reach))
    logits = model.encoder.belonging(similarity)
    own = jnp.eye(len(logits), dtype=bool)
    losses = optax.sigmoid_binary_cross_entropy(logits, own.astype(jnp.float32))
    others = jnp.maximum(own.size - len(logits), 1)
    loss = jnp.sum(jnp.where(own, losses, 0.0)) / len(logits) + jnp.sum(jnp.where(own, 0.0, losses)) / others
    above = jnp.diagonal(similarity)[:, None, None] > similarity[None]
    return loss / 2, jnp.sum(above & ~own[None]) / (others * len(logits))


def with_corrupted_history(
    tokens: Int[Array, "batch tokens codebooks"], pad: int, key: jax.Array, share: float
) -> tuple[Int[Array, "batch columns codebooks"], Bool[Array, "batch columns"]]:
    """History corruption: the delayed grid, in a share of the examples with a wrong beginning, and its right columns.

    A decoder that only ever sees the true history trusts it more than the picture. When it has once played a wrong key,
    it goes on with it. Here the columns up to a random one come from another time of the same example: other notes in
    the same timbre, as its own mistakes would be. What follows teaches it to come back to what it sees. The aim is
    that of scheduled sampling (Bengio et al. 2015), without a second pass.
    """
    batch, count = tokens.shape[:2]
    chosen, until, by = jax.random.split(key, 3)
    grid = delay.delay(tokens, pad)
    columns = grid.shape[1]
    until = jax.random.randint(until, (batch, 1), 1, max(columns - count // 6, 2))
    until = jnp.where(jax.random.bernoulli(chosen, share, (batch, 1)), until, 0)
    moved = jax.vmap(lambda row, by: jnp.roll(row, by, axis=0))(
        tokens, jax.random.randint(by, (batch,), count // 12, max(count - count // 12, count // 12 + 1))
    )
    right = (jnp.arange(columns) > until) | (until == 0)
    return jnp.where(right[..., None], grid, delay.delay(moved, pad)), right


def music_losses(
    model: MVGen,
    tokens: Int[Array, "batch tokens codebooks"],
    video: Array,
    keep: Array,
    parts: Collection[str] = ("token_head", "music"),
    history_corruption: tuple[Array, Array] | None = None,
) -> dict[str, Array]:
    """Cross-entropies (nats a token) of the delayed tokens.

    ``token_head``: of the per-frame token head alone, which sees no token before; ``music``: given those too. Only
    ``parts``, and no ``token_head`` where the model has none. ``history_corruption``: the corrupted history that
    :func:`with_corrupted_history` gives, for ``music``.
    """
    decoder = model.decoder
    grid = delay.delay(tokens, decoder.pad)
    condition = decoder.conditioned(decoder.withheld(video, keep))
    targets = grid[:, 1:]
    real = targets != decoder.pad

    def cross_entropy(scores: Array, real: Array) -> Array:
        losses = optax.softmax_cross_entropy_with_integer_labels(scores, jnp.where(real, targets, 0))
        return jnp.sum(losses * real) / jnp.sum(real)

    losses = {}
    if "token_head" in parts and condition.token_head is not None:
        losses["token_head"] = cross_entropy(condition.token_head, real)
    if "music" in parts:
        heard, taught = (grid, None) if history_corruption is None else history_corruption
        scores = decoder.scores(heard[:, :-1], condition)
        losses["music"] = cross_entropy(scores, real if taught is None else real & taught[:, 1:, None])
    return losses


def note_loss(logits: Float[Array, "batch frames 2 columns"], rolls: Float[Array, "batch frames 2 columns"]) -> Array:
    """Binary cross-entropy of note rolls (:mod:`mvgen.data.note_rolls`), summed over columns, nats a frame.

    Of examples whose notes are known: of others the rolls are not numbers, and nothing is learned.
    """
    known = jnp.isfinite(rolls)
    targets = jnp.where(known, rolls, 0).astype(jnp.float32)
    losses = jnp.where(known, optax.sigmoid_binary_cross_entropy(logits, targets), 0.0)
    return jnp.sum(losses) / jnp.maximum(jnp.sum(jnp.any(known, axis=(2, 3))), 1)


def total_loss(
    model: MVGen, batch: dict[str, Array], key: jax.Array, config: LossConfig, *, train: bool = True
) -> tuple[Array, dict[str, Array]]:
    """The joint loss and its parts.

    Args:
        model: the model.
        batch: ``frames`` uint8 ``[batch, time, height, width, 3]``, ``tokens`` int ``[batch, 2 time, codebooks]``, and
            ``flow`` ``[batch, time, h, w, 2]``, ``semantic`` ``[batch, time, dim]`` and ``landmarks`` ``[batch, time,
            points, 3]`` where they are used; for ``config.notes`` the rolls of :mod:`mvgen.data.note_rolls` as
            ``notes``.
        key: randomness of this step.
        config: weights and settings; a zero weight leaves that part out.
        train: with augmentation and dropped conditions, or (False) without, for evaluation.

    Returns:
        The loss and a dict of scalars.
    """
    keys = jax.random.split(key, 4)
    tokens = batch["tokens"].astype(jnp.int32)
    shift_key, colour_key = jax.random.split(keys[0])
    if train and config.shift and not model.config.use_latents:
        batch = batch | {"frames": augment.shifted(batch["frames"], shift_key, config.shift)}
        if "landmarks" in batch:
            points = batch["landmarks"].astype(jnp.float32)
            batch = batch | {"landmarks": augment.moved(points, shift_key, config.shift, model.config.frame_size)}

    def recolouring(patches: Array) -> Array:
        return augment.recoloured(patches, colour_key, config.colour) if train and config.colour else patches

    dropout = config.condition_dropout if train else 0.0
    total = jnp.zeros(())
    metrics: dict[str, Array] = {}
    video = audio = None
    if config.align or config.music or config.token_head or config.notes:
        video = model.video_latents(batch, recolouring)
    if config.align or config.video or config.movement:
        audio = model.audio_latents(tokens)
    if config.align:
        assert video is not None and audio is not None
        z_video = model.encoder.coordinates(video, "video")
        z_audio = model.encoder.coordinates(audio, "audio")
        scale = jnp.exp(jnp.minimum(model.encoder.log_scale[...], jnp.log(100.0)))
        reach = min(round(config.max_shift_seconds * clock.FRAME_RATE), tokens.shape[1] // 4)
        clips, metrics["clip_accuracy"] = contrast(z_video, z_audio, scale)
        shifts, metrics["shift_accuracy"] = contrast_shifts(z_video, z_audio, scale, reach)
        belonging, metrics["belonging_auc"] = belonging_loss(model, z_video, z_audio, reach)
        frame_level, metrics["frame_accuracy"] = contrast_frames(z_video, z_audio, scale)
        metrics["align"] = clips + config.shifts * shifts + config.frame_level * frame_level + belonging
        total += config.align * metrics["align"]
    if config.music or config.token_head:
        assert video is not None
        keep = jax.random.uniform(keys[2], (tokens.shape[0],)) >= dropout
        past = None
        if train and config.music and config.history_corruption:
            past = with_corrupted_history(
                tokens, model.decoder.pad, jax.random.fold_in(keys[2], 1), config.history_corruption
            )
        asked = [part for part in ("token_head", "music") if getattr(config, part)]
        parts = music_losses(model, tokens, video, keep, asked, past)
        metrics |= parts
        total += sum((getattr(config, part) * value for part, value in parts.items()), jnp.zeros(()))
    if config.notes:
        assert video is not None and model.notes is not None
        metrics["notes"] = note_loss(model.notes(video), batch["notes"])
        total += config.notes * metrics["notes"]
    # The film reads the audio latents as alignment and music have made them; it does not shape them.
    heard = None if audio is None else jax.lax.stop_gradient(audio)
    if config.video or config.movement:
        assert heard is not None
        picture = model.picture(batch, recolouring)
        parts = film_losses(
            model, picture, points_of(model, batch), heard, keys[3],
            examples=config.video_examples or len(picture), stretches=config.video_stretches, dropout=dropout,
            movement=bool(config.movement), video=bool(config.video), train=train,
        )  # fmt: skip
        metrics |= parts
        total += sum((getattr(config, part) * parts[part] for part in ("movement", "video") if part in parts), 0.0)
    metrics["loss"] = total
    return total, metrics
