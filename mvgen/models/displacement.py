"""The geometry of movement: where each place of a frame lies in the given image, from where points are in both.

Points hang on each other as fingertips hang on a hand. One that hangs on another carries the segment between both
along: turned, shortened or lengthened with it, as thick as it was. One that hangs on none carries what is around it. A
place of the picture follows the segments near it, the nearest most (Shepard 1968, inverse distance weighting). All
fields are backward: they say where to look in the given image, so that a frame is filled without gaps.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

GRID = 8
"""Rows and columns of the points that are followed where there are no landmarks."""
SHARPNESS = 1.5
"""Exponent of the squared distance: how much more the nearest segment counts than the others."""
SHORTEST = 1e-6
"""Squared length below which a segment is a point, in squared picture sides."""


def parents(names: Sequence[str]) -> tuple[int, ...]:
    """For each point the one that it hangs on: the first whose name begins with the same word (up to ``_``).

    ``left_index`` hangs on ``left_hand``, ``bow_tip`` on ``bow_frog``; the first of a word hangs on itself.
    """
    first: dict[str, int] = {}
    return tuple(first.setdefault(name.split("_")[0], number) for number, name in enumerate(names))


def centres(height: int, width: int) -> Float[Array, "height width 2"]:
    """(x, y) of the middle of each cell, in 0..1 of the picture."""
    x, y = (jnp.arange(width) + 0.5) / width, (jnp.arange(height) + 0.5) / height
    return jnp.stack(jnp.broadcast_arrays(x[None, :], y[:, None]), axis=-1)


def grid_points() -> Float[Array, "points 2"]:
    """The points that stand for landmarks where the records hold none."""
    return centres(GRID, GRID).reshape(-1, 2)


def bilinear(
    picture: Float[Array, "height width channels"], places: Float[Array, "*shape 2"]
) -> Float[Array, "*shape channels"]:
    """The picture's values at places (x, y in 0..1), interpolated between pixels; edges repeat."""
    height, width = picture.shape[:2]
    x = jnp.clip(places[..., 0] * width - 0.5, 0.0, width - 1.0)
    y = jnp.clip(places[..., 1] * height - 0.5, 0.0, height - 1.0)
    left, top = jnp.minimum(jnp.floor(x), width - 2), jnp.minimum(jnp.floor(y), height - 2)
    right, down = (x - left)[..., None], (y - top)[..., None]
    flat = picture.reshape(height * width, -1)
    first = (top * width + left).astype(jnp.int32)

    def at(offset: int) -> Array:
        return jnp.take(flat, first + offset, axis=0)

    upper = at(0) * (1 - right) + at(1) * right
    lower = at(width) * (1 - right) + at(width + 1) * right
    return upper * (1 - down) + lower * down


def warped(
    picture: Float[Array, "batch height width channels"], field: Float[Array, "batch frames rows columns 2"]
) -> Float[Array, "batch frames height width channels"]:
    """Each frame's backward field (in 0..1 of the picture, at any size) applied to the one picture."""
    batch, frames = field.shape[:2]
    size = picture.shape[1:3]
    field = jax.image.resize(field, (batch, frames, *size, 2), "linear")
    places = centres(*size) + field
    return jax.vmap(lambda one, many: jax.vmap(lambda at: bilinear(one, at))(many))(picture, places)


def filled(
    picture: Float[Array, "batch height width channels"], known: Float[Array, "batch height width 1"]
) -> Float[Array, "batch height width channels"]:
    """The picture where it is known (0..1), and elsewhere what lies around, smooth.

    The pull and push of Gortler et al. 1996, "The Lumigraph": means of what is known go down a pyramid, and come up
    where nothing finer is known.
    """
    height, width = picture.shape[1:3]
    if max(height, width) == 1:
        return picture
    half = (-(-height // 2), -(-width // 2))

    def smaller(values: Array) -> Array:
        return jax.image.resize(values, (len(values), *half, values.shape[-1]), "linear")

    share = smaller(known)
    coarse = smaller(picture * known) / (share + 1e-4)
    # Two of four pixels that are known say enough.
    coarse = filled(coarse, jnp.minimum(2 * share, 1.0))
    return known * picture + (1 - known) * jax.image.resize(coarse, picture.shape, "linear")


def to_segment(place: Float[Array, "*shape 2"], root: Array, end: Array) -> tuple[Array, Array]:
    """Squared distance of a place to the segment between root and end, and how far along it lies (0 root, 1 end)."""
    along = end - root
    share = jnp.sum((place - root) * along, axis=-1) / (jnp.sum(along**2, axis=-1) + SHORTEST)
    nearest = root + jnp.clip(share, 0.0, 1.0)[..., None] * along
    return jnp.sum((place - nearest) ** 2, axis=-1), share


def _across(along: Float[Array, "*shape 2"]) -> Float[Array, "*shape 2"]:
    turned = jnp.stack([-along[..., 1], along[..., 0]], axis=-1)
    return turned * jax.lax.rsqrt(jnp.sum(along**2, axis=-1, keepdims=True) + SHORTEST)


def backward_field(
    before: Float[Array, "batch points 3"],
    after: Float[Array, "batch frames points 3"],
    hanging: tuple[int, ...],
    offset: Float[Array, "points 2"],
    strength: Float[Array, " points"],
    softness: Float[Array, " points"],
    size: tuple[int, int],
    aspect: float = 1.0,
) -> Float[Array, "batch frames rows columns 2"]:
    """For every place of each frame, how far from it what is seen there lies in the given image.

    Args:
        before: the points in the given image: x, y in 0..1, and how sure they are.
        after: in each frame. A point counts as much as it is sure in both.
        hanging: what :func:`parents` gives.
        offset: where a point is fastened, from the point that it hangs on.
        strength: logarithm of a point's weight.
        softness: within so far of a segment (logarithm) all places follow it alike.
        size: rows and columns of the field.
        aspect: the picture's width over its height.
    """
    stretch = jnp.array([aspect, 1.0])  # distances are in heights of the picture
    root = jnp.asarray(hanging)
    hangs = (root != jnp.arange(len(hanging)))[:, None]

    def segment(points: Array) -> tuple[Array, Array]:
        end = points[..., :2] * stretch
        return jnp.where(hangs, end[..., root, :] + offset, end), end

    (root0, end0), (root1, end1) = segment(before[:, None, None, None]), segment(after[:, :, None, None])
    place = (centres(*size) * stretch)[None, None, :, :, None]
    distance, share = to_segment(place, root1, end1)
    along0, along1 = end0 - root0, end1 - root1
    aside = jnp.sum((place - root1) * _across(along1), axis=-1, keepdims=True)
    inside = jnp.clip(share, 0.0, 1.0)
    # Beyond its ends a segment is not stretched.
    longer = jnp.sqrt((jnp.sum(along1**2, axis=-1) + SHORTEST) / (jnp.sum(along0**2, axis=-1) + SHORTEST))
    source = root0 + (inside + (share - inside) * longer)[..., None] * along0 + aside * _across(along0)
    moved = jnp.where(hangs, source - place, end0 - end1)
    sure = before[:, None, :, 2] * after[..., 2]
    sure = sure * jnp.where(hangs[:, 0], sure[..., root], 1.0)
    weight = jnp.exp(strength) * sure[:, :, None, None] / (distance + jnp.exp(2 * softness)) ** SHARPNESS
    weight = weight / (jnp.sum(weight, axis=-1, keepdims=True) + 1e-6)
    return jnp.einsum("bfyxp,bfyxpc->bfyxc", weight, moved) / stretch


def tracks(
    flow: Float[Array, "batch time rows columns 2"], start: Float[Array, "points 2"]
) -> Float[Array, "batch time points 3"]:
    """Points followed along optical flow from the first frame on, for records that hold no landmarks.

    Args:
        flow: from the frame before, in pixels of its own size a frame.
        start: where the points are in the first frame, in 0..1.

    Returns:
        x, y in 0..1 and 1.
    """
    batch, _, rows, columns, _ = flow.shape
    steps = flow / jnp.array([columns, rows])
    places = jnp.broadcast_to(start, (batch, *start.shape))

    def follow(places: Array, step: Array) -> tuple[Array, Array]:
        places = jnp.clip(places + jax.vmap(bilinear)(step, places), 0.0, 1.0)
        return places, places

    _, later = jax.lax.scan(follow, places, jnp.moveaxis(steps[:, 1:], 1, 0))
    found = jnp.concatenate([places[:, None], jnp.moveaxis(later, 0, 1)], axis=1)
    return jnp.concatenate([found, jnp.ones((*found.shape[:-1], 1))], axis=-1)
