"""Products in half precision: rounded once, with the plain gradients, and without a float32 copy of the weights."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mvgen.inference.sampling import ready
from mvgen.models.linear import Linear
from tests.mvgen.models.small import small_model


def _multiplies_bfloat16() -> bool:
    """Whether the CPU has instructions for it (AVX512-BF16, AMX-BF16)."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _layer(dtype: str) -> Linear:
    return Linear(64, 32, dtype=jnp.dtype(dtype), param_dtype=jnp.dtype(dtype), rngs=nnx.Rngs(0))


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("shape", [(64,), (1, 64), (1, 1, 64), (3, 64), (2, 5, 64)])
def test_half_precision_is_the_float32_product_rounded_once(shape, turned):
    layer = _layer("bfloat16")
    x = jax.random.normal(jax.random.key(1), shape, jnp.bfloat16)
    true = np.asarray(x, np.float32) @ np.asarray(layer.kernel[...], np.float32)
    if turned:
        layer.turn()
        layer.turn()  # no second time
        assert layer.turned and layer.kernel.shape == (32, 64)
    made = jax.jit(lambda x: layer(x))(x)
    assert made.dtype == jnp.bfloat16
    assert made.shape == (*shape[:-1], 32)
    np.testing.assert_allclose(np.asarray(made, np.float32), true, rtol=2**-8, atol=1e-5)


def test_float32_is_flax_own_to_the_bit():
    layer, x = _layer("float32"), jax.random.normal(jax.random.key(1), (4, 64))
    plain = nnx.Linear(64, 32, rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(layer(x), plain(x))


@pytest.mark.parametrize("rows", [1, 6])
def test_gradients_in_half_precision_are_flax_own(rows):
    x = jax.random.normal(jax.random.key(1), (rows, 64), jnp.bfloat16)
    plain = nnx.Linear(64, 32, dtype=jnp.bfloat16, param_dtype=jnp.bfloat16, rngs=nnx.Rngs(0))

    def gradients(layer):
        weigh = jnp.arange(32, dtype=jnp.bfloat16)
        return nnx.grad(lambda layer, x: (layer(x) * weigh).sum(), argnums=(0, 1))(layer, x)

    for ours, theirs in zip(*(jax.tree.leaves(gradients(each)) for each in (_layer("bfloat16"), plain)), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.skipif(jax.default_backend() != "cpu" or not _multiplies_bfloat16(), reason="told of such CPUs alone")
@pytest.mark.parametrize("batch", [1, 4])
def test_steps_in_half_precision_hold_no_second_copy_of_the_weights(batch):
    given = small_model(dtype="bfloat16", width=256, latent_dim=16, previous_timesteps=0, token_head=False).decoder
    decoder = ready(given)
    assert decoder.layers[0].mlp.fc1.kernel.dtype == jnp.bfloat16 and decoder.layers[0].mlp.fc1.turned
    assert given.layers[0].mlp.fc1.kernel.dtype == jnp.float32 and not given.layers[0].mlp.fc1.turned
    assert ready(decoder) is decoder
    graph, state = nnx.split(decoder)

    @jax.jit
    def play(state, columns):
        decoder = nnx.merge(graph, state)

        def step(carry, number):
            column, cache = carry
            scores, cache = decoder.step(column, number, cache, condition)
            return (scores.argmax(-1).astype(column.dtype), cache), None

        condition = decoder.conditioned(jnp.zeros((batch, 2, 256), jnp.bfloat16)).laid_out()
        return jax.lax.scan(step, (columns, decoder.empty_cache(batch, 4)), jnp.arange(4))[0][0]

    held = play.lower(state, jnp.zeros((batch, 4), jnp.int32)).compile().memory_analysis()
    weights = sum(layer.mlp.fc1.kernel.size + layer.mlp.fc2.kernel.size for layer in decoder.layers)
    assert held.temp_size_in_bytes < 2 * weights, "less than half of a float32 copy of the widest weights alone"


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="elsewhere nothing is laid out anew")
def test_a_decoder_in_half_precision_stays_as_it_was_when_it_is_made_ready():
    given = small_model(dtype="bfloat16", width=64).decoder
    graph, state = nnx.split(given)
    half = nnx.merge(graph, jax.tree.map(lambda x: x.astype(jnp.bfloat16), state))
    before = jax.tree.map(jnp.copy, nnx.state(half))
    made = ready(half)
    assert not half.layers[0].mlp.fc1.turned and made.layers[0].mlp.fc1.turned
    for ours, old in zip(jax.tree.leaves(nnx.state(half)), jax.tree.leaves(before), strict=True):
        np.testing.assert_array_equal(ours, old)
    assert ready(half, donate=True) is half and half.layers[0].mlp.fc1.turned
    float32 = small_model(width=64).decoder
    assert ready(float32) is float32
