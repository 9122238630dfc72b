"""Attention: the bias by distance in time, and weights that can be asked for without changing what is computed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mvgen import delay
from mvgen.errors import UserError
from mvgen.models.attention import Attention, attention_weights
from mvgen.models.positions import FARTHEST_SECONDS, NEAREST_SECONDS, distance_bias
from tests.mvgen.models.small import small_batch, small_model


def test_distance_bias_is_one_at_each_heads_reach():
    bias = np.asarray(distance_bias(jnp.array([0.0, 1.0]), jnp.array([0.0, NEAREST_SECONDS, FARTHEST_SECONDS]), 3))
    assert bias.shape == (1, 3, 2, 3)
    np.testing.assert_allclose(bias[0, 0, 0], [0, -1, -FARTHEST_SECONDS / NEAREST_SECONDS], rtol=1e-5)
    np.testing.assert_allclose(bias[0, 2, 0], [0, -NEAREST_SECONDS, -1], rtol=1e-5)
    np.testing.assert_allclose(bias[0, 1, 1, 0], -1 / np.sqrt(NEAREST_SECONDS * FARTHEST_SECONDS), rtol=1e-5)
    np.testing.assert_allclose(bias[0, :, 1, 2], 0)  # the same moment


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


def test_without_positions_the_program_is_as_it_was():
    """The bias is no part of the program unless it is asked for, nor are the weights."""
    attention = Attention(16, 2, rngs=nnx.Rngs(0))
    x = jnp.ones((1, 5, 16))
    at = jnp.arange(5) / 25
    plain = str(jax.make_jaxpr(lambda x: attention(x, query_seconds=at))(x))
    again = str(jax.make_jaxpr(lambda x: attention(x, query_seconds=at, bias=None, weights=None))(x))
    biased = str(jax.make_jaxpr(lambda x: attention(x, bias=distance_bias(at, at, 2)))(x))
    assert plain == again and "abs" not in plain and "abs" in biased


def test_biased_model_steps_as_it_passes():
    """One cached step equals a row of the full pass, with the bias in both."""
    model = small_model(positions="bias", frame_prior=False, frame_locked=False)
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
    with pytest.raises(UserError, match="not bias"):
        small_model(positions="bias", text_width=8, frame_prior=False).config.check()
