"""Notes in and out: read from videos of any length, and followed by music where the picture leaves it open."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mvgen.data.note_rolls import COLUMNS
from mvgen.errors import UserError
from mvgen.inference.following import distances, following
from mvgen.inference.sampling import Following, Sampling
from mvgen.inference.video_to_music import generate_music, stream_music
from mvgen.inference.video_to_notes import read_rolls
from mvgen.interop.encodec import load_encodec
from tests.mvgen.models.small import SMALL, small_batch, small_model

GREEDY = Sampling(temperature=0, guidance=1)
KEYS = jax.random.split(jax.random.key(0), 1)


def seen(frames: int, batch: int = 1) -> dict[str, np.ndarray]:
    made = small_batch(batch=batch, frames=frames)
    return {name: made[name] for name in ("frames", "flow")}


@pytest.mark.parametrize("frames", [3, 10, 27])
def test_rolls_are_as_long_as_the_video(frames):
    model = small_model(notes_width=8)
    video = {name: values[0] for name, values in seen(frames).items()}
    rolls = read_rolls(model, video, 10)
    assert rolls.shape == (frames, 2, COLUMNS) and rolls.min() >= 0 and rolls.max() <= 1
    if frames == 10:  # a single window
        latents = model.video_latents({name: jnp.asarray(values)[None] for name, values in video.items()})
        np.testing.assert_allclose(rolls, jax.nn.sigmoid(model.notes(latents))[0], atol=1e-5)
    with pytest.raises(UserError, match="no note head"):
        read_rolls(small_model(), video, 10)


def asked(strength: float, tokens: np.ndarray) -> Following:
    """Tokens to follow, of codebooks whose entries are all equally far from each other."""
    size = SMALL.codebook_size
    apart = np.broadcast_to(1.0 - np.eye(size), (SMALL.codebooks, size, size))
    return Following(jnp.asarray(tokens), jnp.asarray(-strength * apart))


def test_what_is_asked_for_is_played_as_far_as_it_is_asked_for():
    model, video = small_model(), seen(27)
    wanted = np.random.default_rng(1).integers(0, SMALL.codebook_size, (1, 30, 4))
    wanted[:, 20:24] = -1  # nothing is asked for
    free = generate_music(model, video, KEYS, GREEDY, 10)
    np.testing.assert_array_equal(generate_music(model, video, KEYS, GREEDY, 10, following=asked(0.0, wanted)), free)
    played = generate_music(model, video, KEYS, GREEDY, 10, following=asked(100.0, wanted))
    told = wanted >= 0
    np.testing.assert_array_equal(played[:, :30][told], wanted[told])
    assert played.shape == free.shape == (1, 54, 4) and np.mean(free[:, :30][told] == wanted[told]) < 0.3
    pieces = stream_music(model, video, KEYS, GREEDY, 10, following=asked(100.0, wanted), chunk=8)
    np.testing.assert_array_equal(np.concatenate(list(pieces), axis=1), played)
    weakly = generate_music(model, video, KEYS, GREEDY, 10, following=asked(0.05, wanted))
    assert np.mean(free == weakly) > np.mean(free == played)


def test_entries_are_as_far_apart_as_they_lie():
    entries = np.random.default_rng(0).normal(size=(2, 7, 3)).astype(np.float32)
    found = distances(entries)
    expected = np.sum((entries[:, :, None] - entries[:, None]) ** 2, axis=-1)
    np.testing.assert_allclose(found, expected / expected.mean(axis=(1, 2), keepdims=True), atol=1e-5)


def test_a_score_asks_for_its_own_tokens(tmp_path):
    pretty_midi = pytest.importorskip("pretty_midi")
    pytest.importorskip("tinysoundfont")
    midi, part = pretty_midi.PrettyMIDI(), pretty_midi.Instrument(0)
    part.notes.append(pretty_midi.Note(100, 60, 0.2, 0.4))
    midi.instruments.append(part)
    midi.write(str(tmp_path / "a.mid"))
    codec = load_encodec("encodec_tiny")
    found = following(str(tmp_path / "a.mid"), codec, strength=3.0)
    assert found.tokens.shape == (1, 70, 4)  # 0.4 s and the second in which it rings out
    best = jnp.argmax(found.at(jnp.array([20, 20, 20, 20])), axis=-1)
    np.testing.assert_array_equal(best[0], found.tokens[0, 20])
    with pytest.raises(UserError, match="notes to follow are a MIDI file"):
        following("a.wav", codec)
    with pytest.raises(UserError, match="--follow-notes nan"):
        following(str(tmp_path / "a.mid"), codec, strength=float("nan"))
