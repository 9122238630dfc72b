"""Video to music, at any length: windows of the trained length, each of which goes on from the tokens before it."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, UInt8
from tqdm import tqdm

from mvgen import clock
from mvgen.decoding import Sampling, decode
from mvgen.models.decoder import Text
from mvgen.models.mvgen import MVGen, tower_input
from mvgen.models.patches import patchify, scaled

CARRIED = 0.25  # share of a window that repeats the end of the one before


def windows_over(frames: int, window: int) -> list[tuple[int, int]]:
    """Where windows begin, and how many frames of each are known from before; the last ends with the video.

    Every window is ``window`` frames long; a video shorter than that has one, which it does not fill.
    """
    if frames <= window:
        return [(0, 0)]
    hop = max(1, window - round(CARRIED * window))
    starts = [*range(0, frames - window, hop), frames - window]
    known = [0] + [before + window - start for before, start in zip(starts[:-1], starts[1:], strict=True)]
    return list(zip(starts, known, strict=True))


@partial(jax.jit, static_argnames="graph")
def _latents(graph: nnx.GraphDef, state: nnx.State, batch: dict[str, Array]) -> Float[Array, "batch frames dim"]:
    model: MVGen = nnx.merge(graph, state)
    patches = scaled(patchify(batch["frames"], model.config.patch))
    return model.encoder.video_latents(tower_input(model.config, batch, patches))


def video_latents(model: MVGen, batch: dict[str, Array]) -> Float[Array, "batch frames dim"]:
    """Latents of a window of video (``frames`` uint8, ``flow``, ``semantic``), one a frame."""
    graph, state = nnx.split(model)
    return _latents(graph, state, batch)


def _stretch(values: np.ndarray, start: int, length: int) -> np.ndarray:
    """``length`` frames from ``start``; past the end the last one stays."""
    index = np.minimum(start + np.arange(length), values.shape[1] - 1)
    return values[:, index]


def generate_music(
    model: MVGen,
    video: dict[str, UInt8[np.ndarray, "batch frames ..."]],
    keys: Array,
    sampling: Sampling,
    window: int,
    *,
    text: Text | None = None,
    prompt: Int[np.ndarray, "batch known codebooks"] | None = None,
    progress: bool = False,
) -> Int[np.ndarray, "batch tokens codebooks"]:
    """Plays the music of silent videos.

    Args:
        model: a trained model.
        video: ``frames`` uint8 ``[batch, frames, height, width, 3]``; ``flow`` and ``semantic`` as the model uses them.
        keys: one random key a video.
        sampling: how tokens are drawn.
        window: frames the model was trained on at a time.
        text: embedded prompts, one a video, for a model that reads text; heard in every window.
        prompt: tokens that the music begins with, and goes on from; at most two a frame.
        progress: show a bar over windows.

    Returns:
        Two tokens a frame, exactly.
    """
    frames = video["frames"].shape[1]
    total = clock.tokens_of(max(frames, window))
    tokens = np.zeros((len(video["frames"]), total, model.config.codebooks), np.int32)
    given = 0
    if prompt is not None:
        given = prompt.shape[1]
        if given > clock.tokens_of(frames):
            raise ValueError(f"a prompt of {given} tokens is longer than the music, {clock.tokens_of(frames)}")
        tokens[:, :given] = prompt
    for number, (start, known) in enumerate(tqdm(windows_over(frames, window), "music", disable=not progress)):
        part = {name: jnp.asarray(_stretch(values, start, window)) for name, values in video.items()}
        span = slice(clock.tokens_of(start), clock.tokens_of(start + window))
        kept = max(clock.tokens_of(known), given - span.start)
        if kept >= clock.tokens_of(window):
            continue  # all of it is given
        window_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, number)
        tokens[:, span] = decode(
            model.decoder, video_latents(model, part), window_keys, sampling,
            jnp.asarray(tokens[:, span]), kept, text=text,
        )  # fmt: skip
    return tokens[:, : clock.tokens_of(frames)]
