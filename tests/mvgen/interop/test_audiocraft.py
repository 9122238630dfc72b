"""audiocraft's own MusicGen decoder against ours, same weights. Runs where audiocraft is installed."""

from __future__ import annotations

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import save_file

from mvgen.interop.musicgen import load_musicgen, transformers_config
from mvgen.models.config import DecoderConfig
from mvgen.models.token_decoder import Text

torch = pytest.importorskip("torch")
lm = pytest.importorskip("audiocraft.models.lm", reason="audiocraft is not installed: parity with it is not tested")

CONFIG = DecoderConfig(4, 32, 48, 3, 2, 192, text_width=48)


def reference():
    """audiocraft's language model in the form that MusicGen was trained in, with random weights."""
    from audiocraft.modules.codebooks_patterns import DelayedPatternProvider
    from audiocraft.modules.conditioners import ConditionFuser, ConditioningProvider

    fuser = ConditionFuser({"cross": ["description"], "prepend": [], "sum": [], "input_interpolate": []})
    torch.manual_seed(0)
    model = lm.LMModel(
        DelayedPatternProvider(n_q=CONFIG.codebooks), ConditioningProvider({}), fuser, n_q=CONFIG.codebooks,
        card=CONFIG.codebook_size, dim=CONFIG.width, num_heads=CONFIG.heads, hidden_scale=4, norm="layer_norm",
        norm_first=True, bias_proj=False, num_layers=CONFIG.layers, dropout=0.0, activation="gelu", bias_ff=False,
        bias_attn=False, causal=True, custom=True, cross_attention=True, positional_embedding="sin",
    ).eval()  # fmt: skip
    for name, parameter in model.named_parameters():
        norm = "norm" in name and name.endswith("weight")
        torch.nn.init.normal_(parameter, mean=1.0 if norm else 0.0, std=0.2)
    return model


def translated(model) -> dict[str, np.ndarray]:
    """Its weights by transformers' names."""
    parts = {
        "cross_attention": "encoder_attn", "linear1": "fc1", "linear2": "fc2", "norm1": "self_attn_layer_norm",
        "norm_cross": "encoder_attn_layer_norm", "norm2": "final_layer_norm",
    }  # fmt: skip
    tensors = {}
    for name, value in model.state_dict().items():
        words = name.split(".")
        if words[0] == "transformer":
            words = ["model", "decoder", *(parts.get(word, word) for word in words[1:])]
        elif words[0] == "emb":
            words = ["model", "decoder", "embed_tokens", *words[1:]]
        elif words[0] == "out_norm":
            words = ["model", "decoder", "layer_norm", *words[1:]]
        else:
            words = ["lm_heads", *words[1:]]
        if words[-1] == "in_proj_weight":
            for projection, piece in zip("qkv", value.chunk(3), strict=True):
                tensors[".".join([*words[:-1], f"{projection}_proj", "weight"])] = piece.numpy()
        else:
            tensors[".".join(words)] = value.numpy()
    return {name: np.ascontiguousarray(value) for name, value in tensors.items()}


def test_logits_are_audiocrafts(tmp_path: Path) -> None:
    model = reference()
    save_file(translated(model), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(transformers_config(CONFIG)))
    ours = load_musicgen(tmp_path).decoder
    rng = np.random.default_rng(0)
    columns = rng.integers(0, 33, (2, 13, 4))
    words = rng.normal(size=(2, 5, 48)).astype(np.float32)
    condition = {"description": (torch.from_numpy(words), torch.ones(2, 5))}
    with torch.no_grad():
        theirs = model(torch.from_numpy(columns.transpose(0, 2, 1)), [], condition).numpy().transpose(0, 2, 1, 3)
    text = Text(jnp.asarray(words), jnp.ones((2, 5), bool))
    found = nnx.jit(lambda decoder, columns, text: decoder(columns, None, text))(ours, jnp.asarray(columns), text)
    np.testing.assert_allclose(np.asarray(found), theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())
