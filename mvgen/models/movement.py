"""Movement: what the given image holds, how it will move to the music, and the image so displaced.

The film is planned before it is painted. The image reader finds the points of the given image (landmarks, where the
records hold them; else a grid) and what of the picture moves with them; what is behind is filled in from around. The
planner hears the music before and after each moment and says where the points will be. The displacement between both
carries the picture (:mod:`mvgen.models.displacement`); the denoiser paints over that. Carrying an image by the
displacement of points, with a mask of what it uncovers, is Siarohin et al. 2019, "First Order Motion Model"; there the
points are not named, and another film moves them.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from mvgen import clock
from mvgen.models.attention import Block
from mvgen.models.config import MVGenConfig
from mvgen.models.displacement import backward_field, centres, filled, grid_points, to_segment, warped
from mvgen.models.linear import Linear
from mvgen.models.patches import patchify, unpatchify

CELLS = 16
"""Cells along the shorter side of the picture, in which the reader sees it."""
PATCH_CHANNELS, MERGED_CHANNELS, JOINED_CHANNELS = 64, 128, 256
"""Of the reader of points."""
SPREAD = 0.2
"""How far points usually are from the middle of the picture."""
FIELD = 64
"""Rows and columns of the field of displacement, at most: a finger is a fiftieth of the picture wide."""
PACE_GAIN = 16.0
"""A fast hand crosses a sixteenth of the picture in a frame."""
DILATIONS = (1, 2, 4, 8, 16)
"""Of the planner's convolutions: together they reach 31 frames (1.2 s) either way."""
REACH = sum(DILATIONS)
GAIN = 5.0
"""The few numbers of the displacement's shape are learned so many times as fast as weights."""
NEAR = math.log(0.06)
"""What moves with a segment, before anything is learned: within so much of the picture's height (logarithm)."""
SOFTNESS = math.log(0.02)
RESTING, SURE = 0.005, 12.0
"""A displacement (in picture sides) that is rest, and logits by which what rests is seen itself."""
MOVES, RESTS = 0.3, 0.8
"""Shares of a pixel that rest below which it is filled in, and above which it is taken as it is."""


class Reading(NamedTuple):
    """What the reader finds in an image.

    Attributes:
        points: x, y in 0..1 and how sure, ``[batch, points, 3]``.
        sureness: logits of the confidence.
        summary: of the whole image, for a planner of points that have no names.
        mask: logits of what moves, beyond what lies near the points; ``[batch, height, width, 1]``.
        change: of what is behind, from what lies around it (:func:`mvgen.models.displacement.filled`).
    """

    points: Float[Array, "batch points 3"]
    sureness: Float[Array, "batch points"]
    summary: Float[Array, "batch dim"]
    mask: Float[Array, "batch height width 1"]
    change: Float[Array, "batch height width channels"]


class Carried(NamedTuple):
    """The image as movement carries it, before anything is painted.

    Attributes:
        moved: the image displaced, ``[batch, frames, height, width, channels]``.
        cover: logits that what moves is seen there.
        behind: what is seen elsewhere, ``[batch, height, width, channels]``.
        shows: where the image shows what is behind (1), and where that is filled in (0); ``[batch, height, width, 1]``.
        field: the displacement, ``[batch, frames, rows, columns, 2]``.
    """

    moved: Array
    cover: Array
    behind: Array
    shows: Array
    field: Array

    @property
    def picture(self) -> Float[Array, "batch frames height width channels"]:
        """Both together."""
        share = jax.nn.sigmoid(self.cover)
        return share * self.moved + (1 - share) * self.behind[:, None]


def cell_side(size: tuple[int, int]) -> int:
    """Pixels of the reader's square cells: some :data:`CELLS` along the shorter side of a picture of this size."""
    most = max(1, min(size) // CELLS)
    return next(side for side in range(most, 0, -1) if size[0] % side == 0 and size[1] % side == 0)


class PointReader(nnx.Module):
    """Where the landmarks of an image are, as the video tower sees frames: patches, merged by fours, all joined.

    It is cheap enough to learn from several frames of every example.
    """

    def __init__(self, config: MVGenConfig, *, rngs: nnx.Rngs):
        dtype = config.compute_dtype
        self.patch, self.points = 2 * cell_side(config.picture_size), config.landmarks
        self.rows, self.columns = (-(-length // (2 * self.patch)) for length in config.picture_size)
        self.patches = Linear(self.patch**2 * config.picture_channels, PATCH_CHANNELS, dtype=dtype, rngs=rngs)
        self.merge = Linear(4 * PATCH_CHANNELS, MERGED_CHANNELS, dtype=dtype, rngs=rngs)
        self.join = Linear(self.rows * self.columns * MERGED_CHANNELS, JOINED_CHANNELS, dtype=dtype, rngs=rngs)
        self.find = Linear(JOINED_CHANNELS, 3 * self.points, dtype=dtype, rngs=rngs)

    def __call__(self, image: Float[Array, "batch height width channels"]) -> tuple[Array, Array]:
        """x, y in 0..1 of each landmark, ``[batch, points, 2]``, and logits that it is seen, ``[batch, points]``."""
        batch, height, width, _ = image.shape
        below, beside = self.rows * 2 * self.patch - height, self.columns * 2 * self.patch - width
        x = patchify(jnp.pad(image, ((0, 0), (0, below), (0, beside), (0, 0))), self.patch)
        x = jax.nn.gelu(self.patches(x.astype(self.patches.dtype)))
        x = x.reshape(batch, self.rows, 2, self.columns, 2, PATCH_CHANNELS).transpose(0, 1, 3, 2, 4, 5)
        x = jax.nn.gelu(self.merge(x.reshape(batch, self.rows * self.columns, -1)))
        x = jax.nn.gelu(self.join(x.reshape(batch, -1)))
        found = self.find(x).astype(jnp.float32).reshape(batch, self.points, 3)
        return 0.5 + SPREAD * found[..., :2], found[..., 2]


class ImageReader(nnx.Module):
    """A transformer over the cells of one image, for what moves and what is behind, and a reader of its points."""

    def __init__(self, config: MVGenConfig, *, rngs: nnx.Rngs):
        width, dtype = config.movement_width, config.compute_dtype
        self.size, self.channels = config.picture_size, config.picture_channels
        self.points = PointReader(config, rngs=rngs) if config.landmarks else None
        self.side = cell_side(self.size)
        self.rows, self.columns = self.size[0] // self.side, self.size[1] // self.side
        cells = self.rows * self.columns
        self.cells = Linear(self.side**2 * self.channels, width, dtype=dtype, rngs=rngs)
        self.place = nnx.Param(0.02 * jax.random.normal(rngs.params(), (cells, width)))
        self.blocks = nnx.List(
            [Block(width, config.movement_heads, dtype=dtype, rngs=rngs) for _ in range(config.movement_layers)]
        )
        self.norm = nnx.LayerNorm(width, dtype=dtype, rngs=rngs)
        zero = nnx.initializers.zeros_init()
        self.layers = Linear(width, self.side**2 * (1 + self.channels), kernel_init=zero, dtype=dtype, rngs=rngs)

    def __call__(self, image: Float[Array, "batch height width channels"]) -> Reading:
        x = self.cells(patchify(image, self.side).astype(self.cells.dtype)) + self.place[...].astype(self.cells.dtype)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        summary = x.mean(axis=1)
        if self.points is not None:
            places, sureness = self.points(image)
            seen = (sureness > 0).astype(jnp.float32)[..., None]
        else:
            places = jnp.broadcast_to(grid_points(), (len(x), *grid_points().shape))
            seen = jnp.ones((*places.shape[:-1], 1))
            sureness = seen[..., 0]
        layers = unpatchify(self.layers(x).astype(jnp.float32), self.size, self.side)
        return Reading(
            points=jnp.concatenate([places, seen], axis=-1),
            sureness=sureness,
            summary=summary.astype(jnp.float32),
            mask=4 * layers[..., :1],
            change=layers[..., 1:],
        )


class ConvolutionBlock(nnx.Module):
    """A convolution of three frames so far apart, and a second layer (van den Oord et al. 2016, both ways)."""

    def __init__(self, width: int, dilation: int, *, rngs: nnx.Rngs, dtype: jnp.dtype):
        self.dilation = dilation
        self.norm = nnx.LayerNorm(width, dtype=dtype, rngs=rngs)
        self.fc1 = Linear(3 * width, width, dtype=dtype, rngs=rngs)
        self.fc2 = Linear(width, width, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "batch frames dim"]) -> Array:
        frames, far = x.shape[1], self.dilation
        y = jnp.pad(self.norm(x), ((0, 0), (far, far), (0, 0)))
        y = jnp.concatenate([y[:, :frames], y[:, far : far + frames], y[:, 2 * far :]], axis=-1)
        return x + self.fc2(jax.nn.gelu(self.fc1(y)))


class Planner(nnx.Module):
    """From the music around each moment to where the points are.

    Convolutions hear about a second either way. A gated recurrent unit (Cho et al. 2014) goes along the frames with
    what they say and with the places that it gave to the frame before: which way the bow goes is not to be heard.
    """

    def __init__(self, config: MVGenConfig, *, rngs: nnx.Rngs):
        width, dtype = config.movement_width, config.compute_dtype
        self.points = len(config.hanging)
        self.audio = Linear(clock.TOKENS_PER_FRAME * config.width, width, dtype=dtype, rngs=rngs)
        # Landmarks say enough of the image; a grid says nothing.
        self.named = config.landmarks > 0
        self.given = Linear((0 if self.named else width) + 7 * self.points, width, dtype=dtype, rngs=rngs)
        self.blocks = nnx.List([ConvolutionBlock(width, far, rngs=rngs, dtype=dtype) for far in DILATIONS])
        self.norm = nnx.LayerNorm(width, dtype=dtype, rngs=rngs)
        self.first = Linear(width, width, dtype=dtype, rngs=rngs)
        self.heard = Linear(width + 4 * self.points, 3 * width, dtype=dtype, rngs=rngs)
        self.memory = Linear(width, 3 * width, use_bias=False, dtype=dtype, rngs=rngs)
        self.places = Linear(2 * width, 2 * self.points, kernel_init=nnx.initializers.zeros_init(), rngs=rngs)

    def __call__(
        self,
        audio: Float[Array, "batch frames two_tokens dim"],
        summary: Float[Array, "batch image_dim"] | None,
        points: Float[Array, "batch points 3"],
        last: Float[Array, "batch points 2"],
        velocity: Float[Array, "batch points 2"],
    ) -> Float[Array, "batch frames points 2"]:
        """
        Args:
            audio: latents of each frame's own tokens.
            summary: of the given image; read only where the points are not landmarks.
            points: in the given image.
            last: where the points are in the frame before the first; what is planned is how far they go from there.
            velocity: how far they came from the one before that.
        """
        batch = len(audio)
        sure = points[..., 2:]

        def values(places: Array) -> Array:
            return (2 * (places - 0.5) * sure).reshape(batch, -1)

        def pace(velocity: Array) -> Array:
            return (PACE_GAIN * velocity * sure).reshape(batch, -1)

        begins = [values(points[..., :2]), sure[..., 0], values(last), pace(velocity)]
        if not self.named:
            assert summary is not None
            begins.append(summary)
        given = self.given(jnp.concatenate(begins, axis=-1).astype(self.given.dtype))
        x = self.audio(audio.reshape(*audio.shape[:2], -1).astype(self.audio.dtype)) + given[:, None]
        for block in self.blocks:
            x = block(x)
        x = self.norm(x).astype(jnp.float32)
        width = x.shape[-1]
        memory = jnp.tanh(self.first(given)).astype(jnp.float32)

        def advance(state: tuple[Array, Array, Array], heard: Array) -> tuple[Any, Array]:
            memory, places, velocity = state
            fresh = self.heard(jnp.concatenate([heard, values(places), pace(velocity)], -1)).astype(jnp.float32)
            kept = self.memory(memory).astype(jnp.float32)
            gates = jax.nn.sigmoid(fresh[:, : 2 * width] + kept[:, : 2 * width])
            update, reset = jnp.split(gates, 2, axis=-1)
            new = jnp.tanh(fresh[:, 2 * width :] + reset * kept[:, 2 * width :])
            memory = (1 - update) * new + update * memory
            planned = last + self.places(jnp.concatenate([heard, memory], -1)).reshape(batch, -1, 2)
            return (memory, planned, planned - places), planned

        _, planned = jax.lax.scan(advance, (memory, last, velocity), jnp.moveaxis(x, 1, 0))
        return jnp.moveaxis(planned, 0, 1)


class Movement(nnx.Module):
    """The reader, the planner, and how points carry the picture."""

    def __init__(self, config: MVGenConfig, *, rngs: nnx.Rngs):
        self.hanging = config.hanging
        self.aspect = config.picture_size[1] / config.picture_size[0]
        self.reader = ImageReader(config, rngs=rngs)
        self.planner = Planner(config, rngs=rngs)
        count = len(self.hanging)
        # Kept in units of GAIN.
        self.offset = nnx.Param(jnp.zeros((count, 2)))
        self.strength = nnx.Param(jnp.zeros(count))
        self.softness = nnx.Param(jnp.full(count, SOFTNESS / GAIN))
        self.near = nnx.Param(jnp.full(count, NEAR / GAIN))

    def carry(
        self,
        image: Float[Array, "batch height width channels"],
        reading: Reading,
        before: Float[Array, "batch points 3"],
        after: Float[Array, "batch frames points 3"],
    ) -> Carried:
        """The image displaced: its points are ``before``, those of the frames ``after``."""
        size = (image.shape[1], image.shape[2])
        mask = reading.mask + 4 * self._nearness(before, size) - 2
        # Whatever may belong to what moves tells nothing of what is behind.
        shows = jnp.clip((jax.nn.sigmoid(-mask) - MOVES) / (RESTS - MOVES), 0.0, 1.0)
        behind = filled(image, shows) + reading.change
        field = backward_field(
            before, after, self.hanging, GAIN * self.offset[...], GAIN * self.strength[...], GAIN * self.softness[...],
            (min(FIELD, size[0]), min(FIELD, size[1])), self.aspect,
        )  # fmt: skip
        moved = warped(jnp.concatenate([image, mask], axis=-1), field)
        # What rests is seen as it is, whether or not it could move.
        rests = jnp.exp(-jnp.sum((field / RESTING) ** 2, axis=-1, keepdims=True) / 2)
        rests = jax.image.resize(rests, (*rests.shape[:2], *size, 1), "linear")
        return Carried(moved[..., :-1], moved[..., -1:] + SURE * rests, behind, shows, field)

    def _nearness(self, points: Float[Array, "batch points 3"], size: tuple[int, int]) -> Array:
        """How near the segments each pixel lies, ``[batch, height, width, 1]``."""
        stretch = jnp.array([self.aspect, 1.0])
        root = jnp.asarray(self.hanging)
        hangs = (root != jnp.arange(len(self.hanging)))[:, None]
        end = points[..., :2] * stretch
        start = jnp.where(hangs, end[:, root] + GAIN * self.offset[...], end)
        place = (centres(*size) * stretch)[None, :, :, None]
        distance, _ = to_segment(place, start[:, None, None], end[:, None, None])
        near = jnp.exp(-distance / (2 * jnp.exp(2 * GAIN * self.near[...]))) * points[:, None, None, :, 2]
        return jnp.sum(near, axis=-1, keepdims=True)
