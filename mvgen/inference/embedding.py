"""Films and music in the coordinated space, at any length, and how well they fit at every distance in time."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from mvgen import clock
from mvgen.errors import UserError
from mvgen.models.mvgen import MVGen

TOGETHER = 4  # windows that are computed at once


class Space:
    """Places frames and tokens in the coordinated space of a model.

    The model has learned on windows, and what sets a frame apart from its window is part of what it sees. So anything
    longer is seen in windows of that length that begin half a window apart, and each frame is taken from the window in
    whose middle it lies most.

    Args:
        model: a trained model.
        window: frames that it was trained on at a time.
    """

    def __init__(self, model: MVGen, window: int):
        self.window = window
        self._graph, self._state = nnx.split(model)

    def of_video(self, video: dict[str, np.ndarray]) -> Float[np.ndarray, "frames latent"]:
        """``frames`` uint8 ``[frames, height, width, 3]``, and the other features that the model uses.

        Raises:
            ValueError: it is shorter than a window.
        """
        starts = window_starts(len(video["frames"]), self.window)
        pieces = {name: np.stack([values[at : at + self.window] for at in starts]) for name, values in video.items()}
        return stitched(partial(_see, self._graph, self._state), pieces, starts, self.window, len(video["frames"]))

    def of_tokens(self, tokens: np.ndarray) -> Float[np.ndarray, "frames latent"]:
        """``[tokens, codebooks]``, two a frame. Raises ``ValueError`` where it is shorter than a window."""
        frames = clock.frames_of(len(tokens))
        starts = window_starts(frames, self.window)
        spans = [slice(clock.tokens_of(at), clock.tokens_of(at + self.window)) for at in starts]
        pieces = {"tokens": np.stack([tokens[span] for span in spans])}
        return stitched(partial(_hear, self._graph, self._state), pieces, starts, self.window, frames)

    def belongs(self, similarity: float) -> float:
        """Probability that a film and a music belong together, by their mean dot product where they fit best."""
        logit = float(nnx.merge(self._graph, self._state).encoder.belonging(jnp.asarray(similarity)))
        return 1.0 / (1.0 + math.exp(-logit))


@partial(jax.jit, static_argnames="graph")
def _see(graph: nnx.GraphDef, state: nnx.State, batch: dict[str, Array]) -> Float[Array, "batch frames latent"]:
    model: MVGen = nnx.merge(graph, state)
    return model.encoder.coordinates(model.video_latents(batch), "video")


@partial(jax.jit, static_argnames="graph")
def _hear(graph: nnx.GraphDef, state: nnx.State, batch: dict[str, Array]) -> Float[Array, "batch frames latent"]:
    model: MVGen = nnx.merge(graph, state)
    return model.encoder.coordinates(model.audio_latents(batch["tokens"]), "audio")


def stitched(
    program: Callable[[dict[str, Array]], Array],
    pieces: dict[str, np.ndarray],
    starts: np.ndarray,
    window: int,
    frames: int,
) -> Float[np.ndarray, "frames ..."]:
    """What a program makes of windows, each frame from the window in whose middle it lies most.

    Args:
        program: of :data:`TOGETHER` windows of each piece, ``[windows, frames, ...]``, to something a frame of each.
        pieces: the windows, ``[n, ...]`` by name.
        starts: where they begin, int ``[n]`` (:func:`window_starts`).
        window: frames of each.
        frames: of all.
    """
    found = []
    for first in range(0, len(starts), TOGETHER):
        # Past the end the last window again, so that one compiled program serves any length.
        index = np.minimum(first + np.arange(TOGETHER), len(starts) - 1)
        found.append(np.asarray(program({name: jnp.asarray(values[index]) for name, values in pieces.items()})))
    number, place = owners(starts, window, frames)
    return np.concatenate(found)[number, place]


def check_length(path: str, frames: int, window: int) -> None:
    """Raises ``UserError`` where a file is shorter than a window."""
    if frames < window:
        seconds, least = frames / clock.FRAME_RATE, window / clock.FRAME_RATE
        raise UserError(f"{path}: lasts {seconds:g} s; the model sees windows of {least:g} s, so no less will do")


def window_starts(frames: int, window: int) -> np.ndarray:
    """Where windows begin, half a window apart, the last at the very end. ``ValueError`` where none fits."""
    if frames < window:
        raise ValueError(f"{frames} frames are shorter than a window of {window}")
    return np.unique(np.append(np.arange(0, frames - window + 1, max(1, window // 2)), frames - window))


def owners(starts: np.ndarray, window: int, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """For each frame the window in whose middle it lies most, and its place there, each int ``[frames]``."""
    places = np.arange(frames)[:, None] - starts[None, :]
    off_centre = np.where((places >= 0) & (places < window), np.abs(2 * places - window + 1), 4 * window)
    number = off_centre.argmin(axis=1)
    return number, places[np.arange(frames), number]


def fits(
    video: Float[np.ndarray, "frames latent"], audio: Float[np.ndarray, "others latent"], least: int
) -> tuple[np.ndarray, np.ndarray]:
    """How well a film and a music fit, for every distance in time at which enough of them meets.

    Args:
        video, audio: in the coordinated space; lengths may differ.
        least: frames that must meet, at least 1.

    Returns:
        The distances in frames, int ``[n]``: at ``d`` the film's frame ``t`` meets the music's frame ``t + d``; and for
        each the mean dot product of what meets, float ``[n]``. Both empty where less than ``least`` can ever meet.
    """
    # Cross-correlation through Fourier transforms: an hour against an hour would be too long a sum otherwise.
    frames, others = len(video), len(audio)
    size = 1 << (frames + others - 1).bit_length()
    spectrum = np.fft.rfft(np.asarray(audio, np.float64), size, axis=0)
    spectrum *= np.conj(np.fft.rfft(np.asarray(video, np.float64), size, axis=0))
    sums = np.fft.irfft(spectrum.sum(axis=1), size)
    distances = np.arange(-(frames - 1), others)
    meet = np.minimum(frames, others - distances) - np.maximum(0, -distances)
    enough = meet >= least
    return distances[enough], sums[distances[enough]] / meet[enough]
