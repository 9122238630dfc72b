"""Layers scanned and recomputed: what they compute, and the parameters' names, stay as they were."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mvgen.errors import UserError
from mvgen.models.mvgen import MVGen
from mvgen.training.layers import LayerConfig, Scanned, ScannedDecoder, Single, arranged
from mvgen.training.losses import LossConfig, total_loss
from mvgen.training.step import make_model
from tests.mvgen.synthetic import SPEC, tiny


def config_of_two_layers():
    config = tiny("")
    for part in ("video_layers", "audio_layers", "decoder_layers", "denoiser_layers"):
        config.model[part] = 2
    return config


@pytest.fixture(scope="module")
def plain():
    """A model of two layers a stack, its parameters, and the loss and gradients of a batch, run as ever."""
    config = config_of_two_layers()
    # The video tower and the token decoder: a stack of either kind, and half of the time to compile.
    config.loss.align = config.loss.video = config.loss.movement = 0.0
    config.loss.token_head = config.loss.history_corruption = 0.0
    config.model.token_head, config.model.previous_timesteps = False, 0
    model = make_model(config, SPEC)
    rng = np.random.default_rng(0)
    batch = {
        "tokens": jnp.asarray(rng.integers(0, 64, (2, 20, 4)), jnp.int32),
        "frames": jnp.asarray(rng.integers(0, 256, (2, 10, 16, 16, 3)), jnp.uint8),
        "flow": jnp.asarray(rng.normal(size=(2, 10, 4, 4, 2)), jnp.float16),
    }
    graphdef, params = nnx.split(model, nnx.Param)

    def run(how: LayerConfig):
        def loss(params):
            model = arranged(nnx.merge(graphdef, params), how)
            return total_loss(model, batch, jax.random.key(1), LossConfig.from_config(config))[0]

        return jax.jit(jax.value_and_grad(loss))(params)

    return run, run(LayerConfig())


@pytest.mark.parametrize("how", [LayerConfig("layers", False), LayerConfig("layers", True)])
def test_the_loss_and_all_gradients_are_the_same(plain, how):
    run, (value, gradients) = plain
    other, others = run(how)
    np.testing.assert_allclose(other, value, rtol=1e-5)
    assert jax.tree.structure(others) == jax.tree.structure(gradients)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), others, gradients)


def test_stacks_are_found_and_one_layer_is_not_scanned():
    model: MVGen = arranged(make_model(config_of_two_layers(), SPEC), LayerConfig("none", True))
    stacks = (model.encoder.video.tower.blocks, model.encoder.audio.tower.blocks, model.denoiser.blocks)
    assert [len(stack) for stack in stacks] == [1, 1, 1] and all(isinstance(stack[0], Scanned) for stack in stacks)
    assert isinstance(model.decoder.layers[0], ScannedDecoder)
    model = arranged(make_model(tiny(""), SPEC), LayerConfig("none", True))
    assert isinstance(model.decoder.layers[0], Single)
    config = tiny("")
    config.train.remat = "some"
    with pytest.raises(UserError, match="config.train.remat is 'some'; choose one of none, layers"):
        LayerConfig.from_config(config)
