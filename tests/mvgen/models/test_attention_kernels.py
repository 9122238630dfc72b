"""Attention kernels: each gives what the plain one gives, is chosen where it can run, and says why where it cannot."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mvgen.models import attention_kernels as kernels
from mvgen.models.attention_kernels import Place, attention, choose, why_not


def inputs(queries: int, keys: int, dim: int = 8, batch: int = 2, heads: int = 2, dtype=jnp.float32):
    q, k, v = (
        jax.random.normal(jax.random.key(number), (batch, length, heads, dim)).astype(dtype)
        for number, length in enumerate((queries, keys, keys))
    )
    return q, k, v


def value_and_gradients(run, *arrays):
    weight = jnp.cos(jnp.arange(arrays[0].size)).reshape(arrays[0].shape)
    return jax.jit(jax.value_and_grad(lambda *x: jnp.sum(run(*x) * weight), argnums=(0, 1, 2)))(*arrays)


@pytest.mark.parametrize("extras", ["none", "mask", "one row", "bias"])
def test_chunked_is_plain(monkeypatch, extras):
    """Seven queries in three shares, values and gradients; masks of their own for each example."""
    monkeypatch.setattr(kernels, "LARGEST_SCORES", 4 * 2 * 2 * 7 * 5 // 3)
    arrays = inputs(7, 5)
    options = {
        "none": {},
        "mask": {"mask": jax.random.bernoulli(jax.random.key(5), 0.7, (2, 1, 7, 5)).at[..., 0].set(True)},
        "one row": {"mask": jnp.arange(5)[None, None, None] < jnp.array([3, 5])[:, None, None, None]},
        "bias": {"bias": jax.random.normal(jax.random.key(6), (1, 2, 7, 5))},
    }[extras]
    assert choose(*arrays[:2], None, None, Place("cpu")) == "chunked"
    one, gradients = value_and_gradients(lambda *x: attention(*x, **options), *arrays)
    other, expected = value_and_gradients(lambda *x: attention(*x, **options, kernel="plain"), *arrays)
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), gradients, expected)


def test_splash_is_plain():
    """Interpreted on a CPU, lengths that are no multiple of its blocks, values and gradients."""
    arrays = inputs(150, 200, dim=64, batch=1, heads=1)
    one, gradients = value_and_gradients(lambda *x: attention(*x, kernel="splash", interpret=True), *arrays)
    other, expected = value_and_gradients(lambda *x: attention(*x, kernel="plain"), *arrays)
    np.testing.assert_allclose(one, other, rtol=1e-4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), gradients, expected)


def test_the_kernel_is_chosen_by_device_and_shape():
    tpu, gpu, cpu = Place("tpu", 4, 1, 2), Place("cuda", 4, 1, 2), Place("cpu")
    q, k, _ = inputs(1024, 1024, 64, batch=4, dtype=jnp.bfloat16)
    mask = jnp.ones((1, 1, 1, 1), bool)
    assert [choose(q, k, None, None, place) for place in (tpu, gpu, cpu)] == ["splash", "cudnn", "plain"]
    assert [choose(q, k, mask, None, place) for place in (tpu, gpu)] == ["plain", "plain"]
    assert choose(q[:, :100], k[:, :100], None, None, tpu) == "plain"  # too short to gain
    assert choose(q[:3], k[:3], None, None, tpu) == "plain"  # three examples over four devices
    assert choose(q.astype(jnp.float32), k, None, None, gpu) == "plain"
    large = jax.ShapeDtypeStruct((512, 4096, 16, 48), jnp.float32)
    assert [choose(large, large, None, None, place) for place in (tpu, gpu, cpu)] == ["chunked"] * 3


@pytest.mark.parametrize(
    ("kernel", "place", "masked", "words"),
    [
        ("splash", Place("cpu"), False, "runs on TPUs, not on cpu"),
        ("splash", Place("tpu"), True, "no mask"),
        ("cudnn", Place("cuda"), False, "bfloat16 or float16, not float32"),
        ("cudnn", Place("tpu"), False, "NVIDIA GPUs"),
        ("flash", Place("cpu"), False, "there are plain, chunked, splash, cudnn"),
    ],
)
def test_a_kernel_that_cannot_run_says_why(kernel, place, masked, words):
    q, k, v = inputs(4, 4)
    mask = jnp.ones((1, 1, 4, 4), bool) if masked else None
    assert words in why_not(kernel, q, k, mask, None, place)
    if place.platform == "cpu":
        with pytest.raises(ValueError, match=words):
            attention(q, k, v, mask, kernel=kernel)
