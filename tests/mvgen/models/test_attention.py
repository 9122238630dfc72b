"""Attention: the bias by distance in time, and weights that can be asked for without changing what is computed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mvgen import clock
from mvgen.models import delay
from mvgen.models.attention import Attention, attention_weights
from mvgen.models.positions import FARTHEST_SECONDS, NEAREST_SECONDS, distance_bias, head_time_bias
from tests.mvgen.models.small import small_batch, small_model


def test_distance_bias_is_one_at_each_heads_reach():
    bias = np.asarray(distance_bias(jnp.array([0.0, 1.0]), jnp.array([0.0, NEAREST_SECONDS, FARTHEST_SECONDS]), 3))
    assert bias.shape == (1, 3, 2, 3)
    np.testing.assert_allclose(bias[0, 0, 0], [0, -1, -FARTHEST_SECONDS / NEAREST_SECONDS], rtol=1e-5)
    np.testing.assert_allclose(bias[0, 2, 0], [0, -NEAREST_SECONDS, -1], rtol=1e-5)
    np.testing.assert_allclose(bias[0, 1, 1, 0], -1 / np.sqrt(NEAREST_SECONDS * FARTHEST_SECONDS), rtol=1e-5)
    np.testing.assert_allclose(bias[0, :, 1, 2], 0)  # the same moment


def test_each_head_starts_at_a_moment_of_its_own():
    tokens, frames = jnp.asarray(clock.token_centres(60)), jnp.asarray(clock.frame_centres(30))
    weights = np.asarray(jax.nn.softmax(head_time_bias(tokens, frames, 6), axis=-1))[0]
    for token in (28, 29):  # both of frame 14
        own = weights[0, token]
        assert own.argmax() == 14 and own[14] > 0.9
        looked_at = np.sum(weights[:, token] * np.asarray(frames), axis=-1) - np.asarray(tokens)[token]
        # A frame's two tokens lie 10 ms before and after its middle: moments are met to within that.
        np.testing.assert_allclose(looked_at[1:5], [-0.08, 0.08, -0.16, 0.16], atol=0.011)
        spread = [
            np.sqrt(np.sum(w * (np.asarray(frames) - np.sum(w * np.asarray(frames))) ** 2)) for w in weights[:5, token]
        ]
        np.testing.assert_allclose(spread[1:], [0.04, 0.04, 0.08, 0.08], rtol=0.1)
    later = np.asarray(head_time_bias(tokens + 1.0, frames + 1.0, 6))
    np.testing.assert_allclose(later, head_time_bias(tokens, frames, 6), rtol=1e-3, atol=1e-2)  # distances alone count


def test_no_moment_lies_beyond_the_farthest():
    bias = head_time_bias(jnp.array([2.0]), jnp.arange(100) / 25, 16)
    moments = np.asarray(bias)[0, :, 0].argmax(-1) / 25 - 2.0
    assert np.abs(moments).max() <= FARTHEST_SECONDS + 1e-6


@pytest.mark.parametrize("masked", [False, True])
def test_weights_are_what_the_fast_path_mixes_by(masked):
    q, k, v = jax.random.normal(jax.random.key(0), (3, 2, 6, 2, 8))
    at = jnp.arange(6) / 25
    bias = distance_bias(at, at, 2)
    mask = jnp.tril(jnp.ones((6, 6), bool)) if masked else None
    attention = Attention(16, 2, rngs=nnx.Rngs(0))
    seen: list = []
    out = attention.attend(q, k, v, mask, bias, seen)
    (weights,) = seen
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)
    mixed = jnp.einsum("bhqk,bkhd->bqhd", weights, v).reshape(2, 6, 16)
    np.testing.assert_allclose(attention.out(mixed), out, atol=1e-5)
    np.testing.assert_array_equal(attention.attend(q, k, v, mask, bias), out)  # asking changes nothing
    if masked:
        assert (np.asarray(weights)[:, :, ~np.tril(np.ones((6, 6), bool))] == 0).all()
    else:  # the bias favours what is near
        unbiased = attention_weights(q, k)
        assert np.trace(weights.mean((0, 1))) > np.trace(unbiased.mean((0, 1)))


def test_without_positions_order_is_not_seen():
    """Without rotary positions or a bias, moments that change places take what they see with them, and nothing else."""
    attention = Attention(16, 2, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (1, 5, 16))
    at, order = jnp.arange(5) / 25, jnp.array([3, 0, 4, 1, 2])
    np.testing.assert_allclose(attention(x[:, order]), attention(x)[:, order], atol=1e-6)
    for seen in ({"query_seconds": at}, {"bias": distance_bias(at, at, 2)}):
        assert np.abs(attention(x[:, order], **seen) - attention(x, **seen)[:, order]).max() > 1e-3


@pytest.mark.parametrize("positions", ["alibi", "time_bias"])
def test_biased_model_steps_as_it_passes(positions):
    """One cached step equals a row of the full pass, with the bias in both."""
    model = small_model(positions=positions, token_head=False, frame_locked=False)
    batch = small_batch(batch=2)
    latents = jax.random.normal(jax.random.key(1), (2, 10, model.config.width))
    grid = delay.delay(jnp.asarray(batch["tokens"]), model.decoder.pad)
    condition = model.decoder.conditioned(latents)
    assert condition.bias is not None and condition.bias.shape == (1, 2, 23, 10)
    whole = jax.jit(model.decoder.scores)(grid[:, :-1], condition)
    step = jax.jit(model.decoder.step)
    cache = model.decoder.empty_cache(2, 23)
    for number in range(4):
        scores, cache = step(grid[:, number], jnp.asarray(number), cache, condition.laid_out())
        np.testing.assert_allclose(scores, whole[:, number], atol=1e-4)
