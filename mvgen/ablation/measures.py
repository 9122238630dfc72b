"""How a trained variant is measured: always on the same held-out windows, each number beside its chance level."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from mvgen import clock
from mvgen.data import used_features
from mvgen.decoding import Sampling, decode
from mvgen.errors import UserError
from mvgen.held_out import coordinates
from mvgen.losses import music_losses
from mvgen.metrics.chance import derangement
from mvgen.metrics.clips import Clip, Heard
from mvgen.metrics.onsets import moments, onset_agreement
from mvgen.metrics.retrieval import retrieval
from mvgen.models.codec import Codec
from mvgen.models.mvgen import MVGen
from mvgen.music import video_latents
from mvgen.records import RecordSource

SHUFFLES = 3  # seeded shuffles of pairs that a chance level is the mean of
TOGETHER = 16  # windows computed at once


@dataclass(frozen=True)
class HeldOut:
    """Fixed windows of held-out records.

    Attributes:
        video: ``frames`` and what else the records hold of the picture, each ``[windows, frames, ...]``.
        tokens: int32 ``[windows, tokens, codebooks]``.
        clips: what is known of each: instrument, the notes that start in it (seconds from its beginning), voices.
    """

    video: dict[str, np.ndarray]
    tokens: np.ndarray
    clips: list[Clip]

    @property
    def labels(self) -> list[str]:
        """The instrument of each."""
        return [clip.instrument for clip in self.clips]

    @property
    def onsets(self) -> list[np.ndarray]:
        """Of each, the moments at which known notes start, in seconds from its beginning."""
        return [moments(clip.notes[:, 0]) if clip.notes is not None else np.zeros(0) for clip in self.clips]

    def __len__(self) -> int:
        return len(self.tokens)


def held_out_windows(source: RecordSource, model: Any, frames: int, count: int) -> HeldOut:
    """The first window of every record, then the second of every one, and so on, ``count`` in all; none overlap.

    Args:
        source: held-out records.
        model: ``config.model``: what is used of the picture.
        frames: length of a window.
        count: how many at most.

    Raises:
        UserError: fewer than two windows, or no known notes.
    """
    places = []
    for number in range(len(source)):
        record = source[number]
        places += [(turn, number) for turn in range(clock.frames_of(len(record["tokens"])) // frames)]
    names = [name for name in used_features(source.spec, model) if name != "tokens"]
    video: dict[str, list[np.ndarray]] = {name: [] for name in names}
    tokens, clips = [], []
    for turn, number in sorted(places)[:count]:
        record, start = source[number], turn * frames
        for name in names:
            video[name].append(record[name][start : start + frames])
        tokens.append(record["tokens"][clock.tokens_of(start) : clock.tokens_of(start + frames)].astype(np.int32))
        begin, end = float(clock.frame_start(start)), float(clock.frame_start(start + frames))
        notes = np.asarray(record["notes"], float).reshape(-1, 3)
        inside = notes[(notes[:, 0] >= begin) & (notes[:, 0] < end)] - (begin, begin, 0)
        together = [int(np.sum(np.abs(notes[:, 0] - moment) <= 0.03)) for moment in moments(notes[:, 0])]
        name = f"{record['clip_id']} at {begin:g} s"
        clips.append(Clip(name, record["labels"], inside, voices=max(together, default=0)))
    if len(tokens) < 2:
        raise UserError(f"{source.folder}: split {source.split} holds fewer than two windows of {frames} frames")
    if not any(clip.known for clip in clips):
        raise UserError(f"{source.folder}: no note of split {source.split} is known; take records of Recital")
    return HeldOut({name: np.stack(v) for name, v in video.items()}, np.stack(tokens), clips)


@partial(jax.jit, static_argnames="graph")
def _cross_entropies(graph: nnx.GraphDef, state: nnx.State, latents: jax.Array, tokens: jax.Array) -> jax.Array:
    model = nnx.merge(graph, state)

    def one(latents: jax.Array, tokens: jax.Array) -> jax.Array:
        return music_losses(model, tokens[None], latents[None], jnp.ones(1, bool), ("music",))["music"]

    return jax.vmap(one)(latents, tokens)


def measure(
    model: MVGen, codec: Codec, held_out: HeldOut, generated: int, sampling: Sampling | None = None
) -> dict[str, Any]:
    """Scores of a model on the windows.

    Args:
        model: a trained model.
        codec: what its tokens belong to.
        held_out: the windows.
        generated: music is generated for so many of them, from the first on.
        sampling: how it is drawn; seeded by the window's number.

    Returns:
        ``music``: cross-entropy, nats a token, and ``music_other`` that with another clip's picture of the same
        instrument; ``r1`` (mean of both ways), ``offset`` (exact) and their chance levels; ``onset_f`` with
        ``onset_f_chance`` (the same against the notes of another window of the same instrument); ``windows``,
        ``generated``; ``per_label``: cross-entropies and onset F of each instrument.
    """
    graph, state = nnx.split(model)
    window = held_out.tokens.shape[1] // clock.TOKENS_PER_FRAME
    z_video, z_audio, own = [], [], []
    for first in range(0, len(held_out), TOGETHER):
        video, tokens = _padded(held_out, first)
        pair = coordinates(model, video, tokens, window)
        here = min(TOGETHER, len(held_out) - first)
        z_video.append(pair[0][:here])
        z_audio.append(pair[1][:here])
        own.append(np.asarray(video_latents(model, {name: jnp.asarray(v) for name, v in video.items()}))[:here])
    latents = np.concatenate(own)
    scores: dict[str, Any] = {"windows": len(held_out), "generated": min(generated, len(held_out))}
    partners = derangement(held_out.labels, seed=0)

    def cross_entropies(latents: np.ndarray) -> np.ndarray:
        rows = []
        for first in range(0, len(held_out), TOGETHER):
            index = np.minimum(first + np.arange(TOGETHER), len(held_out) - 1)
            got = _cross_entropies(graph, state, jnp.asarray(latents[index]), jnp.asarray(held_out.tokens[index]))
            rows.append(np.asarray(got)[: len(held_out) - first])
        return np.concatenate(rows)

    music, other = cross_entropies(latents), cross_entropies(latents[np.maximum(partners, 0)])
    scores["music"] = float(music.mean())
    scores["music_other"] = float(np.mean(other[partners >= 0])) if (partners >= 0).any() else None
    found = retrieval(np.concatenate(z_video), np.concatenate(z_audio))
    scores["r1"] = (found["video_to_music_r1"] + found["music_to_video_r1"]) / 2
    scores["r1_chance"] = found["chance_r1"]
    scores["offset"], scores["offset_chance"] = found.get("offset_right"), found.get("chance_offset")
    tokens = generate(model, latents[: scores["generated"]], sampling or Sampling())
    onset_f = onset_scores(codec, tokens, held_out)
    scores |= {"onset_f": onset_f["f"], "onset_f_chance": onset_f["chance"]}
    scores["per_label"] = {
        label: {"music": float(music[where].mean()), "onset_f": _mean(onset_f["each"][where[: len(onset_f["each"])]])}
        for label in sorted(set(held_out.labels))
        if (where := np.array([name == label for name in held_out.labels])).any()
    }
    return scores


def generate(model: MVGen, latents: np.ndarray, sampling: Sampling) -> np.ndarray:
    """Tokens of each window, ``[windows, tokens, codebooks]``; each has its own key, its number."""
    made = []
    for first in range(0, len(latents), TOGETHER):
        index = np.minimum(first + np.arange(TOGETHER), len(latents) - 1)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(0), jnp.asarray(index))
        made.append(np.asarray(decode(model.decoder, jnp.asarray(latents[index]), keys, sampling)))
    return np.concatenate(made)[: len(latents)]


def onset_scores(codec: Codec, tokens: np.ndarray, held_out: HeldOut) -> dict[str, Any]:
    """Onset F of the sound of tokens ``[n, tokens, codebooks]`` against the known notes of the first n windows.

    Returns:
        ``f`` and its ``chance`` (means; None where nothing counts), and ``each`` (float ``[n]``, NaN where silent).
    """
    sounds = np.asarray(codec.decode(jnp.asarray(tokens)))
    heard = [Heard(sound, codec.sampling_rate).onsets for sound in sounds]
    known = held_out.onsets[: len(heard)]
    each = np.array([onset_agreement(a, b)["f"] for a, b in zip(known, heard, strict=True)])
    shuffled = []
    for seed in range(SHUFFLES):
        partners = derangement(held_out.labels[: len(heard)], seed)
        shuffled += [onset_agreement(known[j], heard[i])["f"] for i, j in enumerate(partners) if j >= 0]
    return {"f": _mean(each), "chance": _mean(np.array(shuffled)), "each": each}


def _padded(held_out: HeldOut, first: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """``TOGETHER`` windows from the first; past the end the last one again, so that one program serves all."""
    index = np.minimum(first + np.arange(TOGETHER), len(held_out) - 1)
    return {name: values[index] for name, values in held_out.video.items()}, held_out.tokens[index]


def _mean(values: np.ndarray) -> float | None:
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else None
