"""The token decoder: causal, the same with a cache, and MusicGen's own numbers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mvgen.errors import UserError
from mvgen.models import delay
from mvgen.models.token_decoder import Text
from tests.mvgen.models.small import SMALL, small_batch, small_model

FRAMES = 10


def _decoder(**changes):
    """The small model's decoder, whose previous-timesteps convolution, which starts at zero, says something."""
    decoder = small_model(**changes).decoder
    if decoder.previous_timesteps is not None:
        for number, kernel in enumerate(
            (decoder.previous_timesteps.read.kernel, decoder.previous_timesteps.scale.kernel)
        ):
            kernel[...] = 0.1 * jax.random.normal(jax.random.key(9 + number), kernel.shape)
    return decoder


def _inputs(seed: int = 0):
    tokens = jnp.asarray(small_batch(frames=FRAMES, seed=seed)["tokens"])
    latents = jax.random.normal(jax.random.key(seed), (len(tokens), FRAMES, SMALL.width))
    return delay.delay(tokens, SMALL.codebook_size)[:, :-1], latents


def test_no_step_depends_on_later_columns():
    decoder = _decoder()
    columns, latents = _inputs()
    step = 7

    def score(embedded):
        condition = decoder.conditioned(latents)
        x = embedded + condition.locked
        causal = jnp.tril(jnp.ones((x.shape[1], x.shape[1]), bool))
        for number, layer in enumerate(decoder.layers):
            keys, values = layer.attention.keys_values(layer.norm_self(x))
            x = layer(x, keys, values, causal, condition.keys_values[number], condition.mask, condition.step_seconds)
        return decoder.logits(x, condition.token_head)[:, step].sum()

    gradient = jax.jit(jax.grad(score))(decoder.embed(columns, 0))
    reach = jnp.abs(gradient).sum(axis=(0, 2))
    assert (reach[: step + 1] > 0).all()
    assert (reach[step + 1 :] == 0).all()


def test_full_pass_changes_only_after_a_changed_column():
    decoder = _decoder()
    columns, latents = _inputs()
    full_pass = nnx.jit(lambda d, columns: d(columns, latents))
    before, after = full_pass(decoder, columns), full_pass(decoder, columns.at[:, 9].set(0))
    np.testing.assert_array_equal(before[:, :9], after[:, :9])
    assert not np.allclose(before[:, 9], after[:, 9])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"positions": "none", "attention_window": 0.0},
        {"frame_locked": False},
        {"token_head": False},
        {"cross_attention": False},
        {"previous_timesteps": 0},
        {"previous_timesteps": 1},
        {"previous_timesteps": 2},
    ],
)
def test_cached_steps_equal_the_full_pass(changes):
    decoder = _decoder(**changes)
    columns, latents = _inputs()
    full = nnx.jit(lambda d: d(columns, latents))(decoder)
    condition = decoder.conditioned(latents).laid_out()
    cache = decoder.empty_cache(len(columns), columns.shape[1])
    advance = nnx.jit(lambda d, column, step, cache: d.step(column, step, cache, condition))
    for step in range(columns.shape[1]):
        logits, cache = advance(decoder, columns[:, step], jnp.asarray(step), cache)
        np.testing.assert_allclose(logits, full[:, step], rtol=2e-4, atol=2e-5)


def test_previous_timesteps_are_gathered_whole_and_start_at_nothing():
    """A moment's codebooks, which the delay spreads over columns, meet in one sum; at first it adds nothing."""
    fresh, without = small_model().decoder, small_model(previous_timesteps=0).decoder
    columns, latents = _inputs()
    nnx.update(without, nnx.state(fresh, nnx.Not(lambda path, _: "previous_timesteps" in path)))
    np.testing.assert_array_equal(fresh(columns, latents), without(columns, latents))
    moments, width = fresh.config.previous_timesteps, fresh.config.width
    kernel = fresh.previous_timesteps.read.kernel
    age = 3  # the newest moment of which all four codebooks are known
    kernel[...] = jnp.zeros(kernel.shape).at[age * width : (age + 1) * width].set(jnp.eye(width))
    tokens = delay.undelay(jnp.pad(columns, ((0, 0), (0, 1), (0, 0)), constant_values=fresh.pad))
    whole = sum(fresh.embeddings[k](tokens[..., k]) for k in range(4))
    told = fresh.embed(columns, 0) - without.embed(columns, 0)
    # Column s holds the first codebook of moment s - 1, so moment m is `age` old at column m + 1 + age.
    np.testing.assert_allclose(told[:, 1 + age :], whole[:, : told.shape[1] - 1 - age], atol=1e-5)
    assert (told[:, : 1 + age] == 0).all() and moments > age


def test_previous_timesteps_are_scaled_by_the_frame_whose_tokens_they_lead_to():
    decoder = _decoder(frame_locked=False, token_head=False, cross_attention=False)
    columns, latents = _inputs()
    frame = 5
    changed = nnx.jit(lambda d, z: d(columns, z))(decoder, latents.at[:, frame].add(1.0))
    difference = jnp.abs(changed - nnx.jit(lambda d, z: d(columns, z))(decoder, latents)).max(axis=(0, 2, 3))
    first = 2 * frame  # step s predicts the first codebook of token s; later steps see this one in their past
    assert (difference[:first] == 0).all() and (difference[first : first + 2] > 1e-4).all()


def test_a_step_sees_its_own_frame_and_those_near_it_only():
    decoder = small_model(token_head=False).decoder
    columns, latents = _inputs()
    step = 10  # predicts the tokens of frame 5; the window of 0.2 s reaches 5 frames either way
    gradient = jax.jit(jax.grad(lambda z: decoder(columns, z)[:, step].sum()))(latents)
    reach = jnp.abs(gradient).sum(axis=(0, 2))
    assert reach[5] == reach.max()
    # Its token's middle is 0.03 s from frame 4's and 0.01 s from frame 5's.
    near = small_model(token_head=False, attention_window=0.04).decoder
    gradient = jax.jit(jax.grad(lambda z: near(columns, z)[:, step].sum()))(latents)
    reach = jnp.abs(gradient).sum(axis=(0, 2))
    assert (reach[6:] == 0).all() and (reach[4:6] > 0).all()


def test_parity_with_transformers_musicgen():
    """Same weights, same logits as transformers' MusicGen decoder, over several codebooks and a guided condition."""
    torch = pytest.importorskip("torch")
    from transformers import MusicgenDecoderConfig, MusicgenForCausalLM

    torch.manual_seed(0)
    reference = MusicgenForCausalLM(
        MusicgenDecoderConfig(
            vocab_size=24, num_codebooks=4, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, ffn_dim=128,
            max_position_embeddings=64, pad_token_id=24, bos_token_id=24, dropout=0.0,
        )
    ).eval()  # fmt: skip
    for parameter in reference.parameters():  # fresh norms are 1 and 0, which would hide a mix-up
        torch.nn.init.normal_(parameter, std=0.3)
    plain = {"positions": "none", "attention_window": 0.0, "frame_locked": False, "token_head": False}
    decoder = small_model(**plain, previous_timesteps=0).decoder
    weights = {name: value.detach().numpy() for name, value in reference.state_dict().items()}

    def linear(layer, name):
        layer.kernel[...] = jnp.asarray(weights[f"{name}.weight"].T)

    def norm(layer, name):
        layer.scale[...], layer.bias[...] = jnp.asarray(weights[f"{name}.weight"]), jnp.asarray(weights[f"{name}.bias"])

    for k in range(4):
        decoder.embeddings[k].embedding[...] = jnp.asarray(weights[f"model.decoder.embed_tokens.{k}.weight"])
        linear(decoder.heads[k], f"lm_heads.{k}")
    for number, layer in enumerate(decoder.layers):
        name = f"model.decoder.layers.{number}"
        for ours, theirs in ((layer.attention, "self_attn"), (layer.cross, "encoder_attn")):
            for part in ("q", "k", "v"):
                linear(getattr(ours, part), f"{name}.{theirs}.{part}_proj")
            linear(ours.out, f"{name}.{theirs}.out_proj")
        norm(layer.norm_self, f"{name}.self_attn_layer_norm")
        norm(layer.norm_cross, f"{name}.encoder_attn_layer_norm")
        norm(layer.norm_mlp, f"{name}.final_layer_norm")
        linear(layer.mlp.fc1, f"{name}.fc1")
        linear(layer.mlp.fc2, f"{name}.fc2")
    norm(decoder.norm, "model.decoder.layer_norm")
    columns, latents = _inputs()
    ours = nnx.jit(lambda d: d(columns, latents))(decoder)
    context = np.asarray(nnx.jit(lambda d, z: d.condition(z))(decoder, latents))
    rows = torch.from_numpy(np.array(columns).transpose(0, 2, 1).reshape(-1, columns.shape[1]))
    with torch.no_grad():
        theirs = reference(input_ids=rows, encoder_hidden_states=torch.from_numpy(context.copy())).logits
    theirs = theirs.numpy().reshape(len(columns), 4, columns.shape[1], 24).transpose(0, 2, 1, 3)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())


def test_words_stand_beside_frames_that_have_a_time_bias():
    """The bias is of the frames alone: with it, words are taken as they are without; and steps equal the full pass."""
    decoder = small_model(text_width=12, cross_positions="time_bias", token_head=False, frame_locked=False).decoder
    latents = jax.random.normal(jax.random.key(0), (2, 10, SMALL.width))
    words = Text(jax.random.normal(jax.random.key(1), (2, 3, 12)), jnp.array([[True] * 3, [True, False, False]]))
    grid = delay.delay(jnp.asarray(small_batch(batch=2)["tokens"]), decoder.pad)
    condition = decoder.conditioned(latents, words)
    assert condition.bias is not None and condition.bias.shape == (1, 2, 23, 13)
    assert not condition.bias[..., :3].any() and condition.bias[..., 3:].min() < 0
    alone = decoder.conditioned(latents)
    np.testing.assert_array_equal(alone.bias, condition.bias[..., 3:])
    whole = nnx.jit(lambda decoder, condition: decoder.scores(grid[:, :-1], condition))(decoder, condition)
    heard = nnx.jit(lambda decoder, condition: decoder.scores(grid[:, :-1], condition))(decoder, alone)
    assert np.abs(whole - heard).max() > 1e-3  # the words are heard
    cache, laid_out = decoder.empty_cache(2, grid.shape[1]), condition.laid_out()
    step = nnx.jit(lambda decoder, column, at, cache: decoder.step(column, at, cache, laid_out))
    for at in range(6):
        scores, cache = step(decoder, grid[:, at], jnp.int32(at), cache)
        np.testing.assert_allclose(scores, whole[:, at], atol=2e-4)


def test_words_cannot_be_turned_by_their_time():
    with pytest.raises(UserError, match="text has no time"):
        dataclasses.replace(SMALL, text_width=12).check()
    dataclasses.replace(SMALL, text_width=12, cross_positions="time_bias").check()
