"""Losses of the film part: reading the image's points, planning their movement, carrying the image, painting."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from mvgen.models import flow_matching
from mvgen.models.denoiser import motion, stretch
from mvgen.models.displacement import grid_points, tracks
from mvgen.models.movement import Reading
from mvgen.models.mvgen import MVGen
from mvgen.models.patches import patchify
from mvgen.models.positions import own_latents

PLACE_UNIT, PACE_UNIT = 0.05, 0.02
"""Errors of a planned place, and of its change in a frame, that count as one (parts of the picture)."""
JITTER = 0.005
"""Standard deviation by which true points are moved: the reader's error, and the planner's."""
MOMENTS = 4
"""Frames of each example in which points are read."""
STARTS_AT = 1
"""The planner goes on from this frame of a window, whose velocity is known."""


def points_of(model: MVGen, batch: dict[str, Array]) -> Float[Array, "batch time points 3"]:
    """The points that movement is of: the records' landmarks, or a grid followed along their flow."""
    config = model.config
    if config.landmarks:
        return jnp.asarray(batch["landmarks"], jnp.float32)
    frames = batch["latents" if config.use_latents else "frames"]
    if "flow" not in batch:  # nothing tells how anything moves: the picture is taken as still
        still = jnp.broadcast_to(grid_points(), (*frames.shape[:2], len(config.hanging), 2))
        return jnp.concatenate([still, jnp.ones((*still.shape[:-1], 1))], axis=-1)
    return tracks(jnp.asarray(batch["flow"], jnp.float32), grid_points())


def reading_loss(
    places: Float[Array, "batch points 2"],
    sureness: Float[Array, "batch points"],
    points: Float[Array, "batch points 3"],
) -> Array:
    """How far the reader is from the true points: squared distances, and the cross-entropy of whether each is seen."""
    sure = points[..., 2]
    apart = jnp.sum((places - points[..., :2]) ** 2, axis=-1) / PLACE_UNIT**2
    seen = optax.sigmoid_binary_cross_entropy(sureness, (sure > 0).astype(jnp.float32))
    return jnp.sum(apart * sure) / jnp.maximum(jnp.sum(sure), 1.0) + jnp.mean(seen)


def planning_loss(
    model: MVGen,
    points: Float[Array, "batch time points 3"],
    audio: Float[Array, "batch tokens dim"],
    summary: Float[Array, "batch dim"] | None,
    moment: Int[Array, " batch"],
    key: jax.Array,
    *,
    train: bool,
) -> Array:
    """Squared error of the planned places and of their velocities, over all of the window."""
    batch = len(points)
    jitter, faster = jax.random.split(key)
    given = points[jnp.arange(batch), moment]
    if train:
        noise = JITTER * jax.random.normal(jitter, given[..., :2].shape)
        given = given.at[..., :2].add(noise * given[..., 2:])
    sure = points[:, STARTS_AT, :, 2:] > 0
    last = jnp.where(sure, points[:, STARTS_AT, :, :2], given[..., :2])
    steady = sure & (points[:, STARTS_AT - 1, :, 2:] > 0)
    velocity = jnp.where(steady, last - points[:, STARTS_AT - 1, :, :2], 0.0)
    # A film begins with an image, which does not say how fast anything is.
    velocity = jnp.where(jax.random.bernoulli(faster, 0.5, (batch, 1, 1)), velocity, 0.0)
    true = points[:, STARTS_AT + 1 :]
    # The planner goes on from its own places, as in a film: told the true ones half of the time, it learned less.
    planned = model.movement.planner(own_latents(audio)[:, STARTS_AT + 1 :], summary, given, last, velocity)
    weight = true[..., 2:] * given[:, None, :, 2:]
    error = (planned - true[..., :2]) * weight
    count = jnp.maximum(jnp.sum(weight), 1.0)
    place = jnp.sum(error**2) / count / PLACE_UNIT**2
    steady_weight = weight[:, 1:] * weight[:, :-1]
    pace = jnp.sum(jnp.diff(planned - true[..., :2], axis=1) ** 2 * steady_weight) / count / PACE_UNIT**2
    return place + pace


def film_losses(
    model: MVGen,
    picture: Float[Array, "batch time height width channels"],
    points: Float[Array, "batch time points 3"],
    audio: Float[Array, "batch tokens dim"],
    key: jax.Array,
    *,
    examples: int,
    stretches: int,
    dropout: float,
    movement: bool,
    video: bool,
    train: bool,
) -> dict[str, Array]:
    """The parts of the film's loss.

    ``points``: how far the reader is from the image's; ``plan``: of the planned movement from the true one; ``carry``:
    of the image, carried by the true movement, from the frames, squared, in units of ``CHANGE``; together they are
    ``movement``. ``video``: flow matching of stretches of ``denoiser_frames`` frames.

    Args:
        examples: so many of the batch teach reading, carrying and painting. Where there are landmarks, all
            teach planning and reading their places.
        stretches: and each of them with so many stretches, drawn anywhere in it.
        dropout: share of examples that are painted without image, sound, or movement.
        movement, video: which parts are asked for.
        train: with noise on what is given, and dropped conditions.
    """
    config = model.config
    batch, time = picture.shape[:2]
    keys = jax.random.split(key, 12)
    # A grid is followed from the window's first frame, landmarks are known in any.
    moment = jax.random.randint(keys[0], (batch,), 0, time) if config.landmarks else jnp.zeros(batch, jnp.int32)
    given = points[jnp.arange(batch), moment]
    image = picture[jnp.arange(batch), moment][:examples]
    reading = model.movement.reader(image)
    losses: dict[str, Array] = {}
    if movement:
        losses["points"] = jnp.zeros(())
        if model.movement.reader.points is not None:
            # Reading points costs next to nothing: several moments of every example.
            moments = jax.random.randint(keys[11], (batch, MOMENTS), 0, time)
            at = jnp.arange(batch)[:, None], moments
            places, sureness = model.movement.reader.points(picture[at].reshape(-1, *picture.shape[2:]))
            losses["points"] = reading_loss(places, sureness, points[at].reshape(-1, *points.shape[2:]))
        # Planning costs little beside reading: where nothing of the image but its landmarks is needed, all examples do.
        planned = batch if config.landmarks else min(examples, batch)
        losses["plan"] = planning_loss(
            model, points[:planned], audio[:planned],
            None if config.landmarks else jax.lax.stop_gradient(reading.summary), moment[:planned], keys[1],
            train=train,
        )  # fmt: skip

    def some(x: Array) -> Array:
        return jnp.concatenate([x[:examples]] * stretches)

    picture, points, audio, image, before = (some(x) for x in (picture, points, audio, image, given))
    reading = Reading(*(some(x) for x in reading))
    count = len(image)
    length = min(config.denoiser_frames, time)
    start = jax.random.randint(keys[2], (count,), 0, time - length + 1)
    cut = jax.vmap(partial(jax.lax.dynamic_slice_in_dim, axis=0), (0, 0, None))
    after, frames = cut(points, start, length), cut(picture, start, length)
    if train:
        # A hand as a whole is misread more than its shape.
        noise = JITTER * jax.random.normal(keys[3], (count, length, 1, 2))
        after = after.at[..., :2].add(noise * after[..., 2:])
    keep_movement = jax.random.uniform(keys[4], (count,)) >= (dropout if train else 0.0)
    after = jnp.where(keep_movement[:, None, None, None], after, before[:, None])
    carried = model.movement.carry(image, reading, before, after)
    if movement:
        error = jnp.mean((carried.picture - frames) ** 2, axis=(1, 2, 3, 4)) / flow_matching.CHANGE**2
        losses["carry"] = jnp.sum(error * keep_movement) / jnp.maximum(jnp.sum(keep_movement), 1)
        losses["movement"] = losses["points"] + losses["plan"] + losses["carry"]
    if not video:
        return losses
    carried = jax.lax.stop_gradient(carried)  # what carries learns by itself
    patch = config.denoiser_patch
    clean, shown = patchify(frames, patch), patchify(image, patch)
    known = (jax.random.uniform(keys[5], (count, 1)) < 0.5) & (jnp.arange(length) == 0)
    level = jnp.broadcast_to(flow_matching.draw_levels(keys[6], (count, 1)), (count, length))
    level = jnp.where(known, jax.random.uniform(keys[7], (count, 1), minval=0.7, maxval=1.0), level)
    noisy = flow_matching.mix(clean, jax.random.normal(keys[8], clean.shape), level)
    keep_image = (jax.random.uniform(keys[9], (count,)) >= (dropout if train else 0.0))[:, None, None]
    keep_sound = jax.random.uniform(keys[10], (count,)) >= (dropout if train else 0.0)
    told = motion(carried, before, after, patch)
    told = told._replace(
        moved=jnp.where(keep_image[:, None], told.moved, 0.0), behind=jnp.where(keep_image, told.behind, 0.0)
    )
    heard = stretch(model.denoiser.withheld(audio, keep_sound), start, length, config.attention_window)
    predicted = model.denoiser(noisy, level, jnp.where(keep_image, shown, 0.0), told, *heard)
    losses["video"] = flow_matching.loss(predicted, clean, 1.0 - known.astype(jnp.float32))
    return losses
