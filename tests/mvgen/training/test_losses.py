"""The loss and its parts, against hand-computed cases."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from configs.base import get_config
from mvgen.data.note_rolls import COLUMNS
from mvgen.errors import UserError
from mvgen.models import delay
from mvgen.training import losses
from mvgen.training.losses import LossConfig
from mvgen.training.optimizer import learned_parts
from mvgen.training.preparation import check_config
from tests.mvgen.models.small import SMALL, small_batch, small_model

CONFIG = LossConfig.from_config(get_config())
# What runs once is not worth optimising: half the time to compile.
quick_jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


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


def test_belonging_is_judged_where_a_pair_fits_best_and_teaches_the_line_alone():
    model = small_model()
    z = _unit(jax.random.key(2), (4, 20, 16))
    late = jnp.roll(z, 3, axis=1)
    best = losses.best_similarities(z, late, 4)
    assert (jnp.diagonal(best) > 0.8).all() and best[0, 1] < 0.5  # found 3 frames later, where 17 of 20 meet
    np.testing.assert_allclose(best[2, 1], losses.shift_similarities(z[2:3], late[1:2], 4).max(), rtol=1e-5)
    assert losses.best_similarities(z, late, 1).max() < 0.5

    def loss(params, video, audio):
        return losses.belonging_loss(nnx.merge(graph, params), video, audio, 4)[0]

    graph, params = nnx.split(model)
    taught, reached = quick_jit(jax.grad(loss, argnums=(0, 1)))(params, z, late)
    assert not jnp.abs(reached).any()
    moved = {
        jax.tree_util.keystr(path, simple=True, separator="/"): float(jnp.abs(leaf).max())
        for path, leaf in jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(taught))
    }
    assert {name for name, size in moved.items() if size} == {
        "encoder/belonging_log_slope",
        "encoder/belonging_threshold",
    }
    right, auc = losses.belonging_loss(model, z, late, 4)
    wrong, none = losses.belonging_loss(model, z, jnp.roll(late, 1, axis=0), 4)
    assert right < 0.1 < wrong and auc == 1 and none < 0.7


@pytest.mark.parametrize("moved", [-3, 0, 3])
def test_shift_contrast_finds_a_known_shift(moved):
    z = _unit(jax.random.key(2), (4, 40, 8))
    loss, accuracy = losses.contrast_shifts(z, jnp.roll(z, moved, axis=1), jnp.array(50.0), 6)
    assert (accuracy == 1 and loss < 0.01) if moved == 0 else (accuracy == 0 and loss > 1)


def test_moments_are_told_apart_by_what_sounds_then():
    z = _unit(jax.random.key(3), (4, 30, 8))
    loss, accuracy = losses.contrast_frames(z, z, jnp.array(50.0))
    assert loss < 0.2 and accuracy == 1
    # Where every moment is alike, all but the two neighbours (one at either end) remain to guess among.
    same = jnp.broadcast_to(z[:, :1], z.shape)
    choices = np.array([29] + [28] * 28 + [29])
    guessed, _ = losses.contrast_frames(same, same, jnp.array(50.0))
    np.testing.assert_allclose(guessed, np.log(choices).mean(), rtol=1e-5)
    # A sound two frames late is not the frame's own.
    late, found = losses.contrast_frames(z, jnp.roll(z, 2, axis=1), jnp.array(50.0))
    assert late > 10 and found == 0


def test_a_part_learns_where_a_loss_reaches_it_and_it_is_not_frozen():
    config = get_config()
    assert learned_parts(config) == ("encoder", "decoder", "movement", "denoiser")
    config.loss.video = config.loss.movement = 0.0
    assert learned_parts(config) == ("encoder", "decoder")
    config.train.frozen = "encoder"
    assert learned_parts(config) == ("decoder",)
    config.train.frozen = " encoder , decoder "
    with pytest.raises(UserError, match="nothing to learn"):
        learned_parts(config)
    config.loss.video = 1.0
    assert learned_parts(config) == ("denoiser",)
    config.train.frozen = "brain"
    with pytest.raises(UserError, match="'brain'; it can name encoder, decoder, movement, denoiser"):
        learned_parts(config)


def test_the_priors_weight_is_a_share_of_the_musics():
    config = get_config()
    config.loss.music, config.loss.token_head = 0.5, 3.0
    assert LossConfig.from_config(config).token_head == 1.5


def test_music_losses_of_even_odds_are_log_of_entries():
    model = small_model()
    for head in [*model.decoder.heads, *model.decoder.token_head.heads]:
        head.kernel[...] = jnp.zeros_like(head.kernel[...])
    latents = jnp.zeros((3, 10, model.config.width))
    tokens, keep = jnp.asarray(small_batch()["tokens"]), jnp.ones(3, bool)
    found = losses.music_losses(model, tokens, latents, keep)
    assert found.keys() == {"token_head", "music"}
    np.testing.assert_allclose(list(found.values()), np.log(24), rtol=1e-5)
    assert losses.music_losses(model, tokens, latents, keep, ["music"]).keys() == {"music"}
    assert losses.music_losses(small_model(token_head=False), tokens, latents, keep).keys() == {"music"}


@pytest.mark.parametrize(
    ("left_out", "idle"),
    [
        ({"align": 0.0, "video": 0.0}, ("project_video", "denoiser")),
        ({"music": 0.0, "token_head": 0.0, "movement": 0.0}, ("decoder", "movement")),
    ],
)
def test_a_zero_weight_leaves_its_part_out(left_out, idle):
    graph, state = nnx.split(small_model())
    config = dataclasses.replace(CONFIG, **left_out)

    def loss(state):
        return losses.total_loss(nnx.merge(graph, state), small_batch(), jax.random.key(0), config)

    gradients, metrics = quick_jit(jax.grad(loss, has_aux=True))(state)
    assert not left_out.keys() & metrics.keys()
    sizes = {
        jax.tree_util.keystr(path): float(jnp.abs(leaf).max())
        for path, leaf in jax.tree_util.tree_leaves_with_path(gradients)
    }
    for part in ("project_video", "decoder", "denoiser", "movement"):
        assert any(size > 0 for path, size in sizes.items() if part in path) == (part not in idle)


def test_contrasts_inside_a_clip_have_weights_of_their_own():
    model, batch = small_model(), small_batch(batch=2, frames=6)
    config = dataclasses.replace(CONFIG, music=0.0, token_head=0.0, video=0.0, movement=0.0)

    graph, state = nnx.split(model)

    @quick_jit
    def align(state):
        def of(**weights: float):
            given = dataclasses.replace(config, **weights)
            model = nnx.merge(graph, state)
            return losses.total_loss(model, batch, jax.random.key(0), given, train=False)[1]["align"]

        return of(), of(shifts=0.0), of(shifts=0.0, frame_level=0.0), of(shifts=0.5, frame_level=0.5)

    whole, without_shifts, neither, halves = map(float, align(state))
    assert whole > without_shifts > neither > 0
    np.testing.assert_allclose(halves, (whole + neither) / 2, rtol=1e-5)


def test_the_whole_loss_is_finite_and_moves_every_part():
    graph, state = nnx.split(small_model())

    def loss(state):
        return losses.total_loss(nnx.merge(graph, state), small_batch(), jax.random.key(0), CONFIG)[0]

    gradients = quick_jit(jax.grad(loss))(state)
    for part in ("encoder", "decoder", "movement", "denoiser"):
        assert any(float(jnp.abs(leaf).max()) > 0 for leaf in jax.tree.leaves(gradients[part]))
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(gradients))


def test_a_corrupted_history_is_of_another_time_and_ends_before_what_is_taught():
    tokens = jnp.asarray(small_batch(batch=32, frames=24)["tokens"]).astype(jnp.int32)
    pad = small_model().decoder.pad
    grid = np.asarray(delay.delay(tokens, pad))
    same, right = losses.with_corrupted_history(tokens, pad, jax.random.key(0), 0.0)
    np.testing.assert_array_equal(same, grid)
    assert right.all()
    heard, right = map(np.asarray, losses.with_corrupted_history(tokens, pad, jax.random.key(0), 1.0))
    np.testing.assert_array_equal(heard[right], grid[right])
    for example in range(len(tokens)):
        wrong = int((~right[example]).sum())
        assert 2 <= wrong <= grid.shape[1] - tokens.shape[1] // 6 and not right[example, :wrong].any()
        moved = [
            by
            for by in range(tokens.shape[1])
            if (np.asarray(delay.delay(jnp.roll(tokens[example], by, axis=0)[None], pad))[0, :wrong]
                == heard[example, :wrong]).all()
        ]  # fmt: skip
        assert moved and (wrong < 8 or 0 not in moved)
    some = np.asarray(losses.with_corrupted_history(tokens, pad, jax.random.key(1), 0.5)[1])
    assert 4 <= (~some).any(axis=1).sum() <= 28


def test_tokens_of_a_corrupted_history_are_not_taught():
    graph, state = nnx.split(small_model())
    batch = small_batch(frames=24)
    tokens = jnp.asarray(batch["tokens"]).astype(jnp.int32)
    latents = jax.random.normal(jax.random.key(2), (len(tokens), 24, SMALL.width))
    grid, right = losses.with_corrupted_history(tokens, SMALL.codebook_size, jax.random.key(3), 1.0)

    def music(tokens, right):
        model = nnx.merge(graph, state)
        keep = jnp.ones(len(tokens), bool)
        return losses.music_losses(model, tokens, latents, keep, ("music",), (grid, right))["music"]

    music = quick_jit(music)
    first = tokens.at[:, 0, 0].add(1) % SMALL.codebook_size  # the first column of all: never right here
    assert music(first, right) == music(tokens, right) != music(tokens, jnp.ones_like(right))
    assert music(first, jnp.ones_like(right)) != music(tokens, jnp.ones_like(right))


def test_evaluation_does_not_augment():
    graph, state = nnx.split(small_model())
    config = dataclasses.replace(CONFIG, align=0.0, video=0.0, movement=0.0)

    @partial(quick_jit, static_argnames="train")
    def music(key, train):
        return losses.total_loss(nnx.merge(graph, state), small_batch(), key, config, train=train)[1]["music"]

    assert music(jax.random.key(0), False) == music(jax.random.key(1), False)
    assert music(jax.random.key(0), True) != music(jax.random.key(1), True)


def test_the_films_losses_learn_from_landmarks_and_from_latents():
    """Every part has its loss, which a parameter of it moves; what cannot be read off a grid has none."""
    rng = np.random.default_rng(0)
    batch = small_batch(batch=2)
    places = rng.uniform(0.2, 0.8, (2, 10, 3, 2))
    batch["landmarks"] = np.concatenate([places, np.ones((2, 10, 3, 1))], axis=-1).astype(np.float16)
    batch["latents"] = rng.normal(size=(2, 10, 8, 8, 4)).astype(np.float16)
    config = dataclasses.replace(CONFIG, align=0.0, music=0.0, token_head=0.0)
    named = {"landmarks": 3, "landmark_parents": (0, 0, 2)}
    latent = {"use_latents": True, "use_frames": False, "latent_shape": (8, 8, 4), "denoiser_patch": 2}
    for changes in (named, latent):
        graph, state = nnx.split(small_model(**changes))

        def loss(state, graph=graph):
            return losses.total_loss(nnx.merge(graph, state), batch, jax.random.key(0), config)

        gradients, metrics = quick_jit(jax.grad(loss, has_aux=True))(state)
        assert {"points", "plan", "carry", "movement", "video"} <= metrics.keys()
        assert (metrics["points"] > 0) == (changes is named) and metrics["plan"] > 0 and metrics["carry"] > 0
        for part in ("reader", "planner"):
            assert any(float(jnp.abs(leaf).max()) > 0 for leaf in jax.tree.leaves(gradients["movement"][part]))
        assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(gradients))


def test_notes_are_learned_where_they_are_known_and_shape_what_sees_them():
    model = small_model(notes_width=8)
    batch = small_batch(batch=2)
    rng = np.random.default_rng(0)
    batch["notes"] = rng.uniform(size=(2, 10, 2, COLUMNS)).astype(np.float16)
    logits = model.notes(model.video_latents(batch))
    likely = jax.nn.sigmoid(logits)
    expected = -(batch["notes"] * jnp.log(likely) + (1 - batch["notes"]) * jnp.log(1 - likely)).sum((2, 3))
    np.testing.assert_allclose(losses.note_loss(logits, batch["notes"]), expected.mean(), rtol=1e-3)
    batch["notes"][1] = np.nan
    np.testing.assert_allclose(losses.note_loss(logits, batch["notes"]), expected[0].mean(), rtol=1e-3)
    assert losses.note_loss(logits, batch["notes"] * np.nan) == 0
    alone = dataclasses.replace(
        CONFIG, align=0.0, music=0.0, token_head=0.0, video=0.0, movement=0.0, notes=1.0, shift=0, colour=0.0
    )
    graph, params = nnx.split(model)

    @quick_jit
    def gradients(params):
        def loss(params):
            return losses.total_loss(nnx.merge(graph, params), batch, jax.random.key(0), alone)[0]

        return jax.grad(loss)(params)

    found = nnx.to_pure_dict(gradients(params))
    moved = {part for part, values in found.items() if any(np.any(leaf) for leaf in jax.tree.leaves(values))}
    # The video tower learns to tell notes apart; neither decoder nor film hears of it.
    assert moved == {"encoder", "notes"}
    reached = {jax.tree_util.keystr(path) for path, leaf in jax.tree.leaves_with_path(found["encoder"]) if np.any(leaf)}
    assert reached and not any("audio" in name for name in reached)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))
    config = get_config()
    assert "notes" not in learned_parts(config)
    config.loss.notes = 1.0
    assert "notes" in learned_parts(config)
    alone = config.copy_and_resolve_references()
    alone.loss.update(align=0.0, music=0.0, token_head=0.0, video=0.0, movement=0.0)
    assert learned_parts(alone) == ("encoder", "notes")
    with pytest.raises(UserError, match="no note head: set config.model.notes_width"):
        config.data.path = "records"
        check_config(config)
