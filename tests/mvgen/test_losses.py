"""The loss and its parts, against hand-computed cases."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from configs.base import get_config
from mvgen import losses
from mvgen.losses import LossConfig
from tests.mvgen.models.small import small_batch, small_model

CONFIG = LossConfig.from_config(get_config())


def _unit(key, shape):
    z = jax.random.normal(key, shape)
    return z / jnp.linalg.norm(z, axis=-1, keepdims=True)


def test_contrast_is_low_for_pairs_and_log_n_for_nothing():
    z = _unit(jax.random.key(0), (6, 20, 8))
    loss, accuracy = losses.contrast(z, z, jnp.array(50.0))
    assert loss < 1e-3 and accuracy == 1
    same = jnp.broadcast_to(z[:1], z.shape)
    np.testing.assert_allclose(losses.contrast(same, same, jnp.array(50.0))[0], np.log(6), rtol=1e-5)


def test_shift_similarities_against_a_plain_loop():
    video, audio = _unit(jax.random.key(1), (2, 3, 12, 5))
    values = np.asarray(losses.shift_similarities(video, audio, 4))
    for b in range(3):
        for number, shift in enumerate(range(-4, 5)):
            pairs = [(t, t + shift) for t in range(12) if 0 <= t + shift < 12]
            expected = np.mean([np.dot(video[b, t], audio[b, u]) for t, u in pairs])
            np.testing.assert_allclose(values[b, number], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("moved", [-3, 0, 3])
def test_shift_contrast_finds_a_known_shift(moved):
    z = _unit(jax.random.key(2), (4, 40, 8))
    loss, accuracy = losses.contrast_shifts(z, jnp.roll(z, moved, axis=1), jnp.array(50.0), 6)
    assert (accuracy == 1 and loss < 0.01) if moved == 0 else (accuracy == 0 and loss > 1)


def test_moments_are_told_apart_by_what_sounds_then():
    z = _unit(jax.random.key(3), (4, 30, 8))
    loss, accuracy = losses.contrast_moments(z, z, jnp.array(50.0))
    assert loss < 0.2 and accuracy == 1
    # Where every moment is alike, all but the two neighbours (one at either end) remain to guess among.
    same = jnp.broadcast_to(z[:, :1], z.shape)
    choices = np.array([29] + [28] * 28 + [29])
    guessed, _ = losses.contrast_moments(same, same, jnp.array(50.0))
    np.testing.assert_allclose(guessed, np.log(choices).mean(), rtol=1e-5)
    # A sound two frames late is not the frame's own.
    late, found = losses.contrast_moments(z, jnp.roll(z, 2, axis=1), jnp.array(50.0))
    assert late > 10 and found == 0


def test_forgetting_blanks_whole_columns_in_its_share_of_examples():
    columns = jnp.asarray(np.random.default_rng(0).integers(0, 24, (200, 50, 4)))
    blanked = np.asarray(losses.forget(columns, 24, jax.random.key(0), 0.5))
    gone = (blanked == 24).all(axis=2)
    np.testing.assert_array_equal(blanked[~gone], np.asarray(columns)[~gone])
    rates = gone.mean(axis=1)
    assert 0.4 < np.mean(rates > 0) < 0.6
    assert 0.55 < rates[rates > 0].mean() < 0.75  # uniform from 0.3 to 1
    np.testing.assert_array_equal(losses.forget(columns, 24, jax.random.key(0), 0.0), columns)


def test_phases_begin_the_video_end_the_forgetting_and_leave_the_encoder():
    config = dataclasses.replace(CONFIG, video_from=30, history_until=20, history_dropout=0.5, encoder_until=25)
    told = [(p.begins, p.loss.video > 0, p.loss.history_dropout, p.loss.align > 0, *p.idle) for p in config.phases()]
    assert told == [
        (0, False, 0.5, True, "denoiser"),
        (20, False, 0.0, True, "denoiser"),
        (25, False, 0.0, False, *frozenset({"encoder", "denoiser"})),
        (30, True, 0.0, False, "encoder"),
    ]
    assert all(phase.loss.music == config.music for phase in config.phases())
    plain = dataclasses.replace(config, video_from=0, history_until=0, encoder_until=0)
    (only,) = plain.phases()
    assert (only.begins, only.idle, only.loss) == (0, frozenset(), dataclasses.replace(plain, history_dropout=0.0))
    alone = dataclasses.replace(config, align=0.0, music=0.0, sketch=0.0)  # nothing to wait for, nothing to forget
    (only,) = alone.phases()
    assert not only.idle and only.loss.video > 0


def test_music_loss_of_even_odds_is_log_of_entries():
    model = small_model()
    for head in [*model.decoder.heads, *model.decoder.prior.heads]:
        head.kernel[...] = jnp.zeros_like(head.kernel[...])
    latents = jnp.zeros((3, 10, model.config.width))
    both = losses.music_loss(model, jnp.asarray(small_batch()["tokens"]), latents, jnp.ones(3, bool))
    np.testing.assert_allclose(both, np.log(24), rtol=1e-5)


@pytest.mark.parametrize(
    ("left_out", "idle"),
    [
        ({"align": 0.0}, "project_video"),
        ({"music": 0.0}, "decoder"),
        ({"video": 0.0}, "denoiser"),
        ({"sketch": 0.0}, "sketch"),
    ],
)
def test_a_zero_weight_leaves_its_part_out(left_out, idle):
    graph, state = nnx.split(small_model())
    config = dataclasses.replace(CONFIG, **left_out)

    def loss(state):
        return losses.total_loss(nnx.merge(graph, state), small_batch(), jax.random.key(0), config)

    gradients, metrics = jax.jit(jax.grad(loss, has_aux=True))(state)
    assert not left_out.keys() & metrics.keys()
    sizes = {
        jax.tree_util.keystr(path): float(jnp.abs(leaf).max())
        for path, leaf in jax.tree_util.tree_leaves_with_path(gradients)
    }
    assert all(size == 0 for path, size in sizes.items() if idle in path)
    assert any(size > 0 for path, size in sizes.items())


def test_the_whole_loss_is_finite_and_moves_every_part():
    graph, state = nnx.split(small_model())

    def loss(state):
        return losses.total_loss(nnx.merge(graph, state), small_batch(), jax.random.key(0), CONFIG)[0]

    gradients = jax.jit(jax.grad(loss))(state)
    for part in ("encoder", "decoder", "sketch", "denoiser"):
        assert any(float(jnp.abs(leaf).max()) > 0 for leaf in jax.tree.leaves(gradients[part]))
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(gradients))


def test_evaluation_does_not_augment():
    graph, state = nnx.split(small_model())
    config = dataclasses.replace(CONFIG, align=0.0, video=0.0, sketch=0.0)

    @partial(jax.jit, static_argnames="train")
    def music(key, train):
        return losses.total_loss(nnx.merge(graph, state), small_batch(), key, config, train=train)[1]["music"]

    assert music(jax.random.key(0), False) == music(jax.random.key(1), False)
    assert music(jax.random.key(0), True) != music(jax.random.key(1), True)


def test_augmentation_moves_a_whole_clip_alike():
    frames = jnp.asarray(small_batch(batch=16)["frames"])
    moved = losses.augment(frames, jax.random.key(0), 2)
    middles = np.asarray(moved)[:, :, 2:-2, 2:-2]
    for clip, middle in zip(np.asarray(frames), middles, strict=True):
        wide = np.pad(clip, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
        places = [(y, x) for y in range(5) for x in range(5)]
        found = [at for at in places if np.array_equal(wide[:, at[0] + 2 : at[0] + 14, at[1] + 2 : at[1] + 14], middle)]
        assert len(found) == 1
