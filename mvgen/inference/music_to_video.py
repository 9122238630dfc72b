"""Image and music to video, at any length: stretches of frames, each of which goes on from the last frame before it."""

from __future__ import annotations

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, UInt8
from tqdm import tqdm

from mvgen import clock
from mvgen.models import flow_matching
from mvgen.models.denoiser import stretch
from mvgen.models.mvgen import MVGen
from mvgen.models.patches import patchify, pixels, scaled, unpatchify
from mvgen.models.positions import own_latents

KNOWN_LEVEL = 0.9
"""Level at which the last frame is shown to the next stretch: slightly noisy, so that small errors do not add up."""


@dataclasses.dataclass(frozen=True)
class Filming:
    """How frames are drawn.

    ``steps`` Euler steps: two, since over four the right places were seen no more often and PSNR was no higher (the
    network predicts the clean picture at every level). ``sound_guidance`` and ``image_guidance`` push towards what the
    sound, and the image, ask for (Ho and Salimans 2022; two conditions as in Brooks et al. 2023); 1 is none and costs
    nothing.
    """

    steps: int = 2
    sound_guidance: float = 1.0
    image_guidance: float = 1.0


@partial(jax.jit, static_argnames="graph")
def _audio(graph: nnx.GraphDef, state: nnx.State, tokens: Array) -> Float[Array, "batch tokens dim"]:
    model: MVGen = nnx.merge(graph, state)
    return model.audio_latents(tokens)


def audio_latents(model: MVGen, tokens: Int[Array, "batch tokens codebooks"]) -> Float[Array, "batch tokens dim"]:
    """Latents of a window of tokens, one a token."""
    graph, state = nnx.split(model)
    return _audio(graph, state, tokens)


@partial(jax.jit, static_argnames=("graph", "length", "filming"))
def _film(
    graph: nnx.GraphDef,
    state: nnx.State,
    image: Array,
    last: Array,
    audio: Array,
    given_audio: Array,
    start: Array,
    keys: Array,
    length: int,
    filming: Filming,
) -> Array:
    model: MVGen = nnx.merge(graph, state)
    denoiser, window = model.denoiser, model.config.attention_window
    batch = image.shape[0]
    nobody = jnp.zeros(batch, bool)
    heard = stretch(audio, start, length, window)
    silence = denoiser.withheld(audio, nobody)
    silent = stretch(silence, start, length, window)
    imageless = jnp.zeros_like(image)
    sketch = model.sketch.change(heard.own_audio, given_audio)
    blank = jnp.zeros_like(sketch)

    def predict(noisy: Array, level: Array) -> Array:
        full = denoiser(noisy, level, image, sketch, *heard)
        if filming.sound_guidance != 1:
            full += (filming.sound_guidance - 1) * (full - denoiser(noisy, level, image, blank, *silent))
        if filming.image_guidance != 1:
            plain = denoiser(noisy, level, imageless, blank, *silent)
            full += (filming.image_guidance - 1) * (denoiser(noisy, level, image, blank, *silent) - plain)
        return full

    shape = (length, *image.shape[1:])
    noise = jax.vmap(lambda key: jax.random.normal(key, shape))(keys)
    is_known = jnp.broadcast_to(jnp.arange(length) == 0, (batch, length))
    known = jnp.broadcast_to(last[:, None], (batch, *shape))
    level = jnp.full((batch, length), KNOWN_LEVEL)
    return flow_matching.sample(predict, noise, filming.steps, known, level, is_known)


def generate_video(
    model: MVGen,
    image: UInt8[np.ndarray, "batch height width 3"],
    tokens: Int[np.ndarray, "batch tokens codebooks"],
    keys: Array,
    filming: Filming,
    window: int,
    *,
    progress: bool = False,
) -> UInt8[np.ndarray, "batch frames height width 3"]:
    """Films the performance of music, beginning with an image.

    Args:
        model: a trained model.
        image: the first frame of each video.
        tokens: the music, two tokens a frame.
        keys: one random key a video.
        filming: how frames are drawn.
        window: frames the model was trained on at a time; the sound is heard in windows of this length.
        progress: show a bar over stretches.

    Returns:
        One frame for every two tokens; the first is the given image.
    """
    graph, state = nnx.split(model)
    frames = clock.frames_of(tokens.shape[1])
    length = min(model.config.denoiser_frames, window)
    stretches = -(-(frames - 1) // (length - 1))
    # The last stretch may reach past the end, where the last token stays; what it films there is dropped.
    whole = 1 + stretches * (length - 1)
    tokens = np.pad(tokens, ((0, 0), (0, clock.tokens_of(whole - frames)), (0, 0)), mode="edge")
    span = min(window, whole)
    last = known = scaled(patchify(jnp.asarray(image), model.config.denoiser_patch))
    film = [np.asarray(image)[:, None]]
    # The sound is heard anew every quarter of a window: stretches in between lie near enough to its middle.
    together = max(1, span // 4 // (length - 1))
    for number in tqdm(range(stretches), "video", disable=not progress):
        first = number * (length - 1)  # the frame known from before
        if number % together == 0:
            reach = 1 + min(together, stretches - number) * (length - 1)
            begin = min(max(0, first - (span - reach) // 2), whole - span)
            audio = _audio(graph, state, jnp.asarray(tokens[:, clock.tokens_of(begin) : clock.tokens_of(begin + span)]))
        stretch_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, number)
        if number == 0:
            given_audio = own_latents(audio)[:, 0]
        fresh = _film(
            graph, state, known, last, audio, given_audio, jnp.asarray(first - begin), stretch_keys, length, filming
        )[:, 1:]  # fmt: skip
        last = fresh[:, -1]
        film.append(np.asarray(pixels(unpatchify(fresh, model.config.frame_size, model.config.denoiser_patch))))
    return np.concatenate(film, axis=1)[:, :frames]
