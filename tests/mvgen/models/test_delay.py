"""The delay pattern, against its definition and transformers."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mvgen.models import delay


@settings(max_examples=8, deadline=None)  # each shape compiles anew
@given(st.integers(1, 12), st.integers(1, 6))
def test_there_and_back(time, codebooks):
    tokens = np.random.default_rng(0).integers(0, 9, (2, time, codebooks))
    grid = delay.delay(jnp.asarray(tokens), 9)
    assert grid.shape == (2, delay.steps(time, codebooks) + 1, codebooks)
    np.testing.assert_array_equal(delay.undelay(grid), tokens)
    assert (np.asarray(grid) != 9).sum() == tokens.size
    for step in range(delay.steps(time, codebooks)):
        np.testing.assert_array_equal(delay.written(step, time, codebooks), np.asarray(grid[0, step + 1]) != 9)


def test_codebook_k_comes_k_steps_later():
    grid = np.asarray(delay.delay(jnp.arange(12).reshape(1, 3, 4), 99))[0]
    assert grid[:, 0].tolist() == [99, 0, 4, 8, 99, 99, 99]
    assert grid[:, 3].tolist() == [99, 99, 99, 99, 3, 7, 11]
    assert delay.token_times(3, 4).tolist() == [0, 1, 2, 2, 2, 2]


def test_scores_stand_at_the_step_that_predicts_their_token():
    tokens = np.random.default_rng(0).integers(0, 9, (2, 5, 4))
    scores = delay.delay_scores(jnp.asarray(np.eye(9)[tokens]))
    columns = np.asarray(delay.delay(jnp.asarray(tokens), 9))[:, 1:]
    real = columns != 9
    np.testing.assert_array_equal(np.asarray(scores.argmax(-1))[real], columns[real])
    assert (np.asarray(scores)[~real] == 0).all()


def test_same_layout_as_transformers():
    torch = pytest.importorskip("torch")
    from transformers import MusicgenDecoderConfig, MusicgenForCausalLM

    model = MusicgenForCausalLM(
        MusicgenDecoderConfig(
            vocab_size=9, num_codebooks=4, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, ffn_dim=8
        )
    )
    tokens = np.random.default_rng(0).integers(0, 9, (1, 5, 4))
    rows = torch.from_numpy(np.concatenate([np.full((4, 1), 9), tokens[0].T], axis=1))
    _, mask = model.build_delay_pattern_mask(rows, pad_token_id=9, max_length=5 + 4)
    theirs = mask.numpy().T
    ours = np.asarray(delay.delay(jnp.asarray(tokens), 9))[0]
    np.testing.assert_array_equal(np.where(theirs == -1, 9, theirs), ours)
