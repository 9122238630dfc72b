"""Prompts: as T5 embeds them, kept in a file, and refused in one line where they do not fit."""

from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from mvgen.errors import UserError
from mvgen.interop import text as prompts
from mvgen.models.token_decoder import Text

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small T5 encoder with a tokenizer of whole words."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = tmp_path_factory.mktemp("t5")
    torch.manual_seed(0)
    config = transformers.T5Config(vocab_size=8, d_model=12, d_kv=6, d_ff=16, num_layers=1, num_heads=2)
    transformers.T5EncoderModel(config).save_pretrained(folder)
    words = Tokenizer(
        models.WordLevel({w: n for n, w in enumerate(["<pad>", "<unk>", "slow", "piano", "hall"])}, "<unk>")
    )
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", unk_token="<unk>").save_pretrained(
        folder
    )
    return folder


def test_prompts_are_embedded_as_t5_does_and_kept(t5: Path, tmp_path: Path) -> None:
    text = prompts.embed(["slow piano", "hall"], str(t5))
    assert text.embeddings.shape == (2, 2, 12)
    np.testing.assert_array_equal(text.mask, [[True, True], [True, False]])
    encoder = transformers.T5EncoderModel.from_pretrained(t5).eval()
    with torch.no_grad():
        alone = encoder(input_ids=torch.tensor([[4]])).last_hidden_state.numpy()
    np.testing.assert_allclose(text.embeddings[1:, :1], alone, rtol=1e-4, atol=1e-5)
    out = tmp_path / "prompt.safetensors"
    assert prompts.command(["--encoder", str(t5), "--text", "slow piano", "--out", str(out)]) == 0
    read = prompts.read_text(out)
    np.testing.assert_allclose(read.embeddings, text.embeddings[:1], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(read.mask, [[True, True]])


def test_what_is_no_prompt_is_one_line(t5: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the prompt is empty"):
        prompts.embed([" "], str(t5))
    with pytest.raises(UserError, match="at most 512 are taken"):
        prompts.embed(["slow " * 513], str(t5))
    with pytest.raises(UserError, match="cannot load a T5"):
        prompts.embed(["slow"], str(tmp_path))
    path = tmp_path / "prompt.safetensors"
    with pytest.raises(UserError, match="no such file"):
        prompts.read_text(path)
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match="not an embedded prompt"):
        prompts.read_text(path)
    save_file({"embeddings": np.zeros((1, 2, 3), np.float32), "mask": np.ones((1, 3), np.uint8)}, path)
    with pytest.raises(UserError, match="embeddings must be"):
        prompts.read_text(path)
    prompts.write_text(path, Text(jnp.full((1, 2, 3), jnp.nan), jnp.ones((1, 2), bool)))
    with pytest.raises(UserError, match="finite"):
        prompts.read_text(path)
