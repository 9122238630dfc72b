"""Video to music, at any length: windows of the trained length, each of which goes on from the tokens before it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, UInt8

from mvgen import clock
from mvgen.inference.progress import Progress, told
from mvgen.inference.sampling import Following, Sampling, decode, ready, stream
from mvgen.models.mvgen import MVGen
from mvgen.models.token_decoder import Text

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
    return model.video_latents(batch)


def video_latents(model: MVGen, batch: dict[str, Array]) -> Float[Array, "batch frames dim"]:
    """Latents of a window of video (``frames`` uint8, ``flow``, ``semantic``, ``landmarks``), one a frame."""
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
    following: Following | None = None,
    progress: Progress = False,
) -> Int[np.ndarray, "batch tokens codebooks"]:
    """Plays the music of silent videos.

    Args:
        model: a trained model.
        video: ``frames`` uint8 ``[batch, frames, height, width, 3]``; ``flow``, ``semantic`` and ``landmarks`` as the
            model uses them.
        keys: one random key a video.
        sampling: how tokens are drawn.
        window: frames the model was trained on at a time.
        text: embedded prompts, one a video, for a model that reads text; heard in every window.
        prompt: tokens that the music begins with, and goes on from; at most two a frame.
        following: tokens from the beginning on that are followed where the picture leaves it open.
        progress: tells of windows.

    Returns:
        Two tokens a frame, exactly.

    Raises:
        ValueError: the prompt is longer than the music.
    """
    score, decoder = _Score(video, window, prompt, model.config.codebooks, following), ready(model.decoder)
    for part, span, kept, number in score.windows(progress):
        score.tokens[:, span] = decode(
            decoder, video_latents(model, part), window_keys(keys, number), sampling,
            jnp.asarray(score.tokens[:, span]), kept, text=text, following=score.followed(span),
        )  # fmt: skip
    return score.tokens[:, : score.length]


def stream_music(
    model: MVGen,
    video: dict[str, UInt8[np.ndarray, "batch frames ..."]],
    keys: Array,
    sampling: Sampling,
    window: int,
    *,
    text: Text | None = None,
    prompt: Int[np.ndarray, "batch known codebooks"] | None = None,
    following: Following | None = None,
    chunk: int = clock.TOKEN_RATE // 2,
) -> Iterator[Int[np.ndarray, "batch some codebooks"]]:
    """Plays the same music as :func:`generate_music`, and gives its tokens as they come.

    Args:
        model, video, keys, sampling, window, text, prompt, following: see :func:`generate_music`.
        chunk: tokens that are drawn before they are given.
    """
    score, decoder = _Score(video, window, prompt, model.config.codebooks, following), ready(model.decoder)
    given = score.given
    if given:
        yield score.tokens[:, :given]
    for part, span, kept, number in score.windows():
        at = span.start
        latents, known = video_latents(model, part), jnp.asarray(score.tokens[:, span])
        pieces = stream(
            decoder, latents, window_keys(keys, number), sampling, known, kept, text=text, chunk=chunk,
            following=score.followed(span),
        )  # fmt: skip
        for piece in pieces:
            score.tokens[:, at : at + piece.shape[1]] = piece
            at += piece.shape[1]
            if at > given:
                yield score.tokens[:, given : min(at, score.length)]
                given = at
            if given >= score.length:  # a video that does not fill its window
                return


class _Score:
    """The tokens of a piece of music while its windows are filled, in their order."""

    def __init__(
        self,
        video: dict[str, np.ndarray],
        window: int,
        prompt: np.ndarray | None,
        codebooks: int,
        following: Following | None,
    ):
        self.video, self.window, self.following = video, window, following
        self.frames = video["frames"].shape[1]
        self.length = clock.tokens_of(self.frames)
        total = clock.tokens_of(max(self.frames, window))
        self.tokens = np.zeros((len(video["frames"]), total, codebooks), np.int32)
        self.given = 0 if prompt is None else prompt.shape[1]
        if self.given > self.length:
            raise ValueError(f"a prompt of {self.given} tokens is longer than the music, {self.length}")
        if prompt is not None:
            self.tokens[:, : self.given] = prompt

    def windows(self, progress: Progress = False) -> Iterator[tuple[dict[str, Array], slice, int, int]]:
        """Video of a window, where its tokens lie, how many of them are known, and its number; none that is known."""
        found = windows_over(self.frames, self.window)
        for number, (start, known) in enumerate(told(found, "music", progress)):
            span = slice(clock.tokens_of(start), clock.tokens_of(start + self.window))
            kept = max(clock.tokens_of(known), self.given - span.start)
            if kept >= clock.tokens_of(self.window):
                continue
            part = {name: jnp.asarray(_stretch(values, start, self.window)) for name, values in self.video.items()}
            yield part, span, kept, number

    def followed(self, span: slice) -> Following | None:
        """What is to be followed in a window."""
        if self.following is None:
            return None
        tokens = np.full_like(self.tokens[:, span], -1)
        told = np.asarray(self.following.tokens)[:, span]
        tokens[:, : told.shape[1]] = told
        return self.following._replace(tokens=jnp.asarray(tokens))


def window_keys(keys: Array, number: Array | int) -> Array:
    """One key a request for the number-th window."""
    return jax.vmap(jax.random.fold_in, (0, None))(keys, number)
