"""Image and music to video, at any length: first the movement of the whole film, then the picture, in stretches of
frames each of which goes on from the last frame before it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, UInt8

from mvgen import clock
from mvgen.inference.progress import Progress, told
from mvgen.interop.image_autoencoder import ImageAutoencoder
from mvgen.models import flow_matching
from mvgen.models.denoiser import motion, stretch
from mvgen.models.movement import REACH, Carried, Reading
from mvgen.models.mvgen import MVGen
from mvgen.models.patches import patchify, pixels, scaled, unpatchify
from mvgen.models.positions import own_latents

KNOWN_LEVEL = 0.9
"""Level at which the last frame is shown to the next stretch: slightly noisy, so that small errors do not add up."""


@dataclasses.dataclass(frozen=True)
class Filming:
    """How frames are drawn.

    ``steps`` steps of a ``sampler`` (:func:`mvgen.models.flow_matching.sample`). ``sound_guidance`` and
    ``image_guidance`` push towards what the sound, and the image, ask for (Ho and Salimans 2022; two conditions as in
    Brooks et al. 2023); 1 is none and costs nothing.
    """

    steps: int = 2
    sound_guidance: float = 1.0
    image_guidance: float = 1.0
    sampler: str = "euler"


@partial(jax.jit, static_argnames="graph")
def _audio(graph: nnx.GraphDef, state: nnx.State, tokens: Array) -> Float[Array, "batch tokens dim"]:
    model: MVGen = nnx.merge(graph, state)
    return model.audio_latents(tokens)


def audio_latents(model: MVGen, tokens: Int[Array, "batch tokens codebooks"]) -> Float[Array, "batch tokens dim"]:
    """Latents of a window of tokens, one a token."""
    graph, state = nnx.split(model)
    return _audio(graph, state, tokens)


@partial(jax.jit, static_argnames="graph")
def read_given(graph: nnx.GraphDef, state: nnx.State, image: Array) -> Reading:
    """What movement reads of the given images."""
    model: MVGen = nnx.merge(graph, state)
    return model.movement.reader(image)


@partial(jax.jit, static_argnames="graph")
def plan_window(
    graph: nnx.GraphDef, state: nnx.State, tokens: Array, reading: Reading, last: Array, velocity: Array
) -> Float[Array, "batch frames points 2"]:
    """Places of the points in the frames of a window but its first two."""
    model: MVGen = nnx.merge(graph, state)
    heard = own_latents(model.audio_latents(tokens))[:, 2:]
    return model.movement.planner(heard, reading.summary, reading.points, last, velocity)


def planned_over(frames: int, window: int) -> list[tuple[int, int]]:
    """Where windows of planned movement begin, and how many frames of each are kept.

    The end of a window is kept only where the music ends: before it is reached, the planner is to hear what comes.
    """
    ahead = max(window - 2, 1)
    hop = ahead - min(REACH, ahead // 2)
    starts = [1] if frames > 1 else []
    while starts and starts[-1] + ahead < frames:
        starts.append(starts[-1] + hop)
    return [(first, min(hop if first + ahead < frames else ahead, frames - first)) for first in starts]


def stretches_over(frames: int, length: int, window: int) -> list[tuple[int, int]]:
    """The frame that each stretch goes on from, and where the window of sound begins that it hears.

    Stretches of ``length`` frames share one with the next; the last may reach past the end. The sound is heard anew
    every quarter of a window: stretches in between lie near enough to its middle.
    """
    count = -(-(frames - 1) // (length - 1))
    whole = 1 + count * (length - 1)
    span = min(window, whole)
    together = max(1, span // 4 // (length - 1))
    found = []
    for number in range(count):
        leader = number // together * together
        reach = 1 + min(together, count - leader) * (length - 1)
        begin = min(max(0, leader * (length - 1) - (span - reach) // 2), whole - span)
        found.append((number * (length - 1), begin))
    return found


def plan_movement(
    model: MVGen, reading: Reading, tokens: Int[np.ndarray, "batch tokens codebooks"], window: int
) -> Float[np.ndarray, "batch frames points 3"]:
    """Where the points of an image go to music: one row for every frame, the first where they are in the image.

    It is planned a window at a time (:func:`planned_over`). Each goes on with the places and the velocity with which
    the last one ended.
    """
    graph, state = nnx.split(model)
    frames = clock.frames_of(tokens.shape[1])
    given = np.asarray(reading.points)
    places = np.repeat(given[:, None], frames, axis=1)
    ahead = max(window - 2, 1)
    # The first window begins a frame before the music, and the last may reach beyond it.
    around = ((0, 0), (clock.tokens_of(1), clock.tokens_of(ahead)), (0, 0))
    tokens = np.pad(tokens, around, mode="edge")
    last, velocity = given[..., :2], np.zeros_like(given[..., :2])
    for first, kept in planned_over(frames, window):
        heard = jnp.asarray(tokens[:, clock.tokens_of(first - 1) : clock.tokens_of(first + 1 + ahead)])
        planned = np.asarray(plan_window(graph, state, heard, reading, jnp.asarray(last), jnp.asarray(velocity)))
        fresh = planned[:, :kept]
        places[:, first : first + fresh.shape[1], :, :2] = fresh
        before = fresh[:, -2] if fresh.shape[1] > 1 else last
        last, velocity = fresh[:, -1], fresh[:, -1] - before
    inside = np.all((places[..., :2] >= 0) & (places[..., :2] <= 1), axis=-1)
    places[..., 2] *= inside
    return places


@partial(jax.jit, static_argnames=("graph", "filming"))
def film_stretch(
    graph: nnx.GraphDef,
    state: nnx.State,
    image: Array,
    reading: Reading,
    points: Float[Array, "batch frames points 3"],
    last: Array,
    audio: Array,
    start: Array,
    keys: Array,
    filming: Filming,
) -> tuple[Array, Carried]:
    """Paints a stretch of frames, the first of which is ``last``; patches, and how movement carried the image."""
    model: MVGen = nnx.merge(graph, state)
    denoiser, window, patch = model.denoiser, model.config.attention_window, model.config.denoiser_patch
    batch, length = points.shape[:2]
    heard = stretch(audio, start, length, window)
    silent = stretch(denoiser.withheld(audio, jnp.zeros(batch, bool)), start, length, window)
    given, before = patchify(image, patch), reading.points
    carried = model.movement.carry(image, reading, before, points)
    moving = motion(carried, before, points, patch)
    resting = jnp.broadcast_to(before[:, None], points.shape)
    still = motion(model.movement.carry(image, reading, before, resting), before, resting, patch)
    imageless = still._replace(moved=jnp.zeros_like(still.moved), behind=jnp.zeros_like(still.behind))

    def predict(noisy: Array, level: Array) -> Array:
        full = denoiser(noisy, level, given, moving, *heard)
        if filming.sound_guidance != 1:
            full += (filming.sound_guidance - 1) * (full - denoiser(noisy, level, given, moving, *silent))
        if filming.image_guidance != 1:
            plain = denoiser(noisy, level, jnp.zeros_like(given), imageless, *silent)
            full += (filming.image_guidance - 1) * (denoiser(noisy, level, given, still, *silent) - plain)
        return full

    shape = (length, *given.shape[1:])
    noise = jax.vmap(lambda key: jax.random.normal(key, shape))(keys)
    is_known = jnp.broadcast_to(jnp.arange(length) == 0, (batch, length))
    known = jnp.broadcast_to(last[:, None], (batch, *shape))
    level = jnp.full((batch, length), KNOWN_LEVEL)
    painted = flow_matching.sample(predict, noise, filming.steps, known, level, is_known, filming.sampler)
    return painted, carried


class Piece(NamedTuple):
    """Some frames of films, as they are painted.

    Attributes:
        frames: uint8 ``[batch, some, height, width, 3]``.
        carried: how movement carried the image in them, before anything was painted; None for the image itself.
        reading: of the image; the same for all pieces.
        points: where they are, ``[batch, some, points, 3]``.
    """

    frames: UInt8[np.ndarray, "batch some height width 3"]
    carried: Carried | None
    reading: Reading
    points: Float[np.ndarray, "batch some points 3"]


def generate_video(
    model: MVGen,
    image: UInt8[np.ndarray, "batch height width 3"],
    tokens: Int[np.ndarray, "batch tokens codebooks"],
    keys: Array,
    filming: Filming,
    window: int,
    autoencoder: ImageAutoencoder | None = None,
    *,
    progress: Progress = False,
) -> UInt8[np.ndarray, "batch frames height width 3"]:
    """Films the performance of music, beginning with an image: the frames of :func:`film_pieces`, put together.

    Args:
        model: a trained model.
        image: the first frame of each video.
        tokens: the music, two tokens a frame.
        keys: one random key a video.
        filming: how frames are drawn.
        window: frames the model was trained on at a time; the sound is heard in windows of this length.
        autoencoder: whose latents the model films in, if it does.
        progress: tells of stretches.

    Returns:
        One frame for every two tokens; the first is the given image.
    """
    pieces = film_pieces(model, image, tokens, keys, filming, window, autoencoder, progress=progress)
    return np.concatenate([piece.frames for piece in pieces], axis=1)


def film_pieces(
    model: MVGen,
    image: UInt8[np.ndarray, "batch height width 3"],
    tokens: Int[np.ndarray, "batch tokens codebooks"],
    keys: Array,
    filming: Filming,
    window: int,
    autoencoder: ImageAutoencoder | None = None,
    *,
    progress: Progress = False,
) -> Iterator[Piece]:
    """The same film in pieces, as they are painted: memory does not grow with its length. The first is the image."""
    graph, state = nnx.split(model)
    patch, size = model.config.denoiser_patch, model.config.picture_size
    if model.config.use_latents and autoencoder is None:
        raise ValueError("a model that films in latents needs their autoencoder")
    frames = clock.frames_of(tokens.shape[1])
    length = min(model.config.denoiser_frames, window)
    stretches = stretches_over(frames, length, window)
    image = np.asarray(image)
    picture = jnp.asarray(autoencoder.encode(image), jnp.float32) if autoencoder else scaled(jnp.asarray(image))
    reading = read_given(graph, state, picture)
    points = plan_movement(model, reading, tokens, window)
    yield Piece(image[:, None], None, reading, points[:, :1])
    # The last stretch may reach past the end, where the last token stays; what it films there is dropped.
    whole = 1 + len(stretches) * (length - 1)
    tokens = np.pad(tokens, ((0, 0), (0, clock.tokens_of(whole - frames)), (0, 0)), mode="edge")
    points = np.pad(points, ((0, 0), (0, whole - frames), (0, 0), (0, 0)), mode="edge")
    span = min(window, whole)
    last = patchify(picture, patch)
    heard = -1
    for number, (first, begin) in enumerate(told(stretches, "video", progress)):
        if begin != heard:
            audio = _audio(graph, state, jnp.asarray(tokens[:, clock.tokens_of(begin) : clock.tokens_of(begin + span)]))
            heard = begin
        stretch_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, number)
        painted, carried = film_stretch(
            graph, state, picture, reading, jnp.asarray(points[:, first : first + length]), last, audio,
            jnp.asarray(first - begin), stretch_keys, filming,
        )  # fmt: skip
        last = painted[:, -1]
        new = slice(1, min(length, frames - first))
        made = unpatchify(painted[:, new], size, patch)
        yield Piece(
            _frames(made, autoencoder),
            carried._replace(moved=carried.moved[:, new], cover=carried.cover[:, new], field=carried.field[:, new]),
            reading,
            points[:, first + new.start : first + new.stop],
        )


def _frames(made: Float[Array, "batch some height width channels"], autoencoder: ImageAutoencoder | None) -> np.ndarray:
    if autoencoder is None:
        return np.asarray(pixels(made))
    batch, count = made.shape[:2]
    decoded = autoencoder.decode(np.asarray(made).reshape(batch * count, *made.shape[2:]))
    return decoded.reshape(batch, count, *decoded.shape[1:])
