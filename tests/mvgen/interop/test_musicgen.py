"""MusicGen from transformers' format: the same logits and the same greedy tokens, and every mismatch named."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from mvgen.errors import UserError
from mvgen.inference.sampling import Sampling, decode
from mvgen.interop.musicgen import load_musicgen, read_musicgen, start_from_musicgen
from mvgen.models.token_decoder import Text, TokenDecoder

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SIZES = {
    "four": (32, 4, 32, 2, 2, 128),
    "three": (17, 3, 48, 3, 3, 80),
    "small": (2048, 4, 1024, 24, 16, 4096),  # the real one, by hand: MVGEN_MUSICGEN_SMALL=1
}
FIELDS = ("vocab_size", "num_codebooks", "hidden_size", "num_hidden_layers", "num_attention_heads", "ffn_dim")
TESTED = ["four", "three"] + (["small"] if os.environ.get("MVGEN_MUSICGEN_SMALL") else [])


def config_of(size: str):
    """transformers' configuration of a decoder."""
    pad = SIZES[size][0]
    sizes = dict(zip(FIELDS, SIZES[size], strict=True))
    return transformers.MusicgenDecoderConfig(**sizes, pad_token_id=pad, bos_token_id=pad, dropout=0.0)


def shake(model, std: float) -> None:
    """Random weights everywhere: fresh norms are 1 and 0, which would hide a mix-up."""
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        centre = 1.0 if "layer_norm.weight" in name else 0.0
        torch.nn.init.normal_(parameter, mean=centre, std=std)


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Per size transformers' decoder with random weights, the folder it is saved in, and ours from that folder."""
    made = {}
    for size in TESTED:
        model = transformers.MusicgenForCausalLM(config_of(size)).eval()
        shake(model, 0.02 if size == "small" else 0.2)
        folder = tmp_path_factory.mktemp(size)
        model.save_pretrained(folder)
        made[size] = (model, folder, load_musicgen(folder))
    return made


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory):
    """A whole MusicGen, with a text encoder of another width and a codec, and the folder it is saved in."""
    config = transformers.MusicgenConfig(
        text_encoder=transformers.T5Config(
            vocab_size=50, d_model=20, d_kv=8, d_ff=24, num_layers=1, num_heads=2
        ).to_dict(),
        audio_encoder=transformers.EncodecConfig(
            sampling_rate=32000, num_filters=2, hidden_size=8, codebook_size=32, upsampling_ratios=[8, 5, 4, 4],
            target_bandwidths=[1.0], num_lstm_layers=1, use_causal_conv=False, normalize=False, use_conv_shortcut=False,
        ).to_dict(),
        decoder=config_of("four").to_dict(),
    )  # fmt: skip
    model = transformers.MusicgenForConditionalGeneration(config).eval()
    shake(model, 0.2)
    folder = tmp_path_factory.mktemp("whole")
    model.save_pretrained(folder)
    return model, folder


def context(batch: int, words: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(batch, words, width)).astype(np.float32)


def everywhere(embeddings: np.ndarray) -> Text:
    """Text that is all words."""
    return Text(jnp.asarray(embeddings), jnp.ones(embeddings.shape[:2], bool))


def close(ours, theirs: np.ndarray) -> None:
    """Within 1e-4 of the largest logit."""
    np.testing.assert_allclose(np.asarray(ours), theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())


full_pass = nnx.jit(lambda decoder, columns, text: decoder(columns, None, text))


@pytest.mark.parametrize("size", TESTED)
@pytest.mark.parametrize(("batch", "length", "words"), [(1, 1, 1), (3, 13, 5)])
def test_logits_are_transformers(references: dict, size: str, batch: int, length: int, words: int) -> None:
    reference, _, musicgen = references[size]
    entries, codebooks, width = SIZES[size][:3]
    rng = np.random.default_rng(length)
    columns = rng.integers(0, entries + 1, (batch, length, codebooks))
    seen = context(batch, words, width)
    mask = np.ones((batch, words), np.int64)
    mask[-1, (words + 1) // 2 :] = 0
    rows = torch.from_numpy(columns.transpose(0, 2, 1).reshape(-1, length))
    with torch.no_grad():
        theirs = reference(
            input_ids=rows, encoder_hidden_states=torch.from_numpy(seen), encoder_attention_mask=torch.from_numpy(mask)
        ).logits.numpy()
    ours = full_pass(musicgen.decoder, jnp.asarray(columns), Text(jnp.asarray(seen), jnp.asarray(mask, bool)))
    close(ours, theirs.reshape(batch, codebooks, length, entries).transpose(0, 2, 1, 3))


@pytest.mark.parametrize(("batch", "tokens", "guidance"), [(1, 13, 1.0), (3, 20, 3.0)])
@pytest.mark.parametrize("size", TESTED)
def test_greedy_tokens_are_transformers(references: dict, size: str, batch: int, tokens: int, guidance: float) -> None:
    reference, _, musicgen = references[size]
    entries, codebooks, width = SIZES[size][:3]
    seen = context(batch, 4, width)
    given = np.concatenate([seen, np.zeros_like(seen)]) if guidance > 1 else seen
    start = torch.full((batch * codebooks, 1), entries)
    theirs = reference.generate(
        start, encoder_hidden_states=torch.from_numpy(given), guidance_scale=guidance, do_sample=False,
        max_length=tokens + codebooks, decoder_start_token_id=entries, num_return_sequences=1,
        # The cache that generate() would make by itself mixes the keys of both attentions.
        past_key_values=transformers.EncoderDecoderCache(transformers.DynamicCache(), transformers.DynamicCache()),
        # The start has the id of padding, and would else be hidden from itself.
        attention_mask=torch.ones((batch, 1), dtype=torch.long),
    )  # fmt: skip
    sampling = Sampling(temperature=0, text_guidance=guidance)
    keys = jax.random.split(jax.random.key(0), batch)
    ours = decode(musicgen.decoder, None, keys, sampling, text=everywhere(seen), tokens=tokens)
    assert len(np.unique(ours)) > 3  # a tune, not one note
    np.testing.assert_array_equal(ours, theirs.numpy().transpose(0, 2, 1))


def test_a_whole_musicgen_reads_text_of_another_width(whole) -> None:
    reference, folder = whole
    musicgen = load_musicgen(folder)
    words = torch.tensor([[5, 9, 11, 1], [7, 1, 0, 0]])
    mask = (words != 0).long()
    columns = np.random.default_rng(0).integers(0, 33, (2, 7, 4))
    rows = torch.from_numpy(columns.transpose(0, 2, 1).reshape(-1, 7))
    with torch.no_grad():
        theirs = reference(input_ids=words, attention_mask=mask, decoder_input_ids=rows).logits.numpy()
        embedded = reference.text_encoder(input_ids=words, attention_mask=mask).last_hidden_state.numpy()
    ours = full_pass(musicgen.decoder, jnp.asarray(columns), Text(jnp.asarray(embedded), jnp.asarray(mask.numpy() > 0)))
    close(ours, theirs.reshape(2, 4, 7, 32).transpose(0, 2, 1, 3))
    # Its codec came along.
    codes = np.random.default_rng(1).integers(0, 32, (1, 6, 4))
    assert musicgen.codec is not None and musicgen.codec.codebooks == 4
    with torch.no_grad():
        sound = reference.audio_encoder.decode(torch.from_numpy(codes).permute(0, 2, 1)[None], [None]).audio_values
    np.testing.assert_allclose(musicgen.codec.decode(codes), sound[:, 0].numpy(), rtol=1e-4, atol=1e-5)


def test_several_files_and_torch_files_read_the_same(references: dict, tmp_path: Path) -> None:
    model, folder, _ = references["four"]
    whole = read_musicgen(folder).tensors
    model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    (tmp_path / "torch").mkdir()
    shutil.copy(folder / "config.json", tmp_path / "torch")
    torch.save(model.state_dict(), tmp_path / "torch" / "pytorch_model.bin")
    for other in ("shards", "torch"):
        tensors = read_musicgen(tmp_path / other).tensors
        assert tensors.keys() == whole.keys()
        for name, value in tensors.items():
            np.testing.assert_array_equal(value, whole[name])


def test_an_mvgen_starts_from_musicgen_and_keeps_what_meets_the_video(references: dict) -> None:
    _, folder, musicgen = references["four"]
    files = read_musicgen(folder)
    config = dataclasses.replace(files.config, video_width=12, text_width=0, frame_locked=True)
    shapes = nnx.to_pure_dict(nnx.state(nnx.eval_shape(lambda: TokenDecoder(config, rngs=nnx.Rngs(0))), nnx.Param))
    params = jax.tree.map(lambda leaf: np.full(leaf.shape, 7, np.float32), shapes)
    made = start_from_musicgen(params, config, files)
    theirs = nnx.to_pure_dict(nnx.state(musicgen.decoder, nnx.Param))
    for name in ("embeddings", "layers", "norm", "heads"):
        jax.tree.map(np.testing.assert_array_equal, made[name], theirs[name])
    jax.tree.map(np.testing.assert_array_equal, made["condition"], params["condition"])
    with pytest.raises(UserError, match="MusicGen with hidden 128, and config.model.decoder_hidden is 64"):
        start_from_musicgen(params, dataclasses.replace(config, hidden=64), files)


def changed(folder: Path, out: Path, config: dict | None = None, tensors=None) -> Path:
    """A copy of a model with another configuration or other tensors."""
    shutil.copytree(folder, out)
    if config:
        held = json.loads((out / "config.json").read_text())
        (out / "config.json").write_text(json.dumps(held | config))
    if tensors:
        held = load_file(out / "model.safetensors")
        save_file(tensors(held), out / "model.safetensors")
    return out


@pytest.mark.parametrize(
    ("config", "tensors", "said"),
    [
        ({"model_type": "t5"}, None, "is of a 't5' model, not of a MusicGen"),
        ({"audio_channels": 2}, None, "audio_channels=2 is not supported"),
        ({"activation_function": "relu"}, None, "activation_function='relu' is not supported"),
        ({"pad_token_id": 0}, None, "pad_token_id=0 is not supported"),
        ({"ffn_dim": 64}, None, r"layers.0.fc1.weight is \(128, 32\), not \(64, 32\)"),
        (None, lambda held: {k: v for k, v in held.items() if "lm_heads.2" not in k}, "lm_heads.2.weight is missing"),
        (None, lambda held: held | {"lm_heads.9.weight": np.zeros(2)}, "lm_heads.9.weight has no place"),
        (
            None,
            lambda held: held | {"model.decoder.embed_positions.weights": np.zeros((9, 32), np.float32)},
            "embed_positions.weights are not MusicGen's sinusoids",
        ),
    ],
)
def test_what_does_not_fit_is_named(references: dict, tmp_path: Path, config, tensors, said: str) -> None:
    with pytest.raises(UserError, match=said):
        load_musicgen(changed(references["four"][1], tmp_path / "model", config, tensors))


def test_positions_that_older_files_hold_are_taken(references: dict, tmp_path: Path) -> None:
    model, folder, _ = references["four"]
    table = model.model.decoder.embed_positions.weights.numpy()
    name = "model.decoder.embed_positions.weights"
    load_musicgen(changed(folder, tmp_path / "old", tensors=lambda held: held | {name: table.astype(np.float16)}))


def test_what_cannot_be_read_is_one_line(references: dict, whole, tmp_path: Path) -> None:
    for name in ("nowhere", "../nowhere/", "a b/c"):
        with pytest.raises(UserError, match="neither a folder nor a hub's name"):
            read_musicgen(name)
    with pytest.raises(UserError, match="holds no config.json"):
        read_musicgen(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "musicgen_decoder"}))
    with pytest.raises(UserError, match="holds no model.safetensors"):
        read_musicgen(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match="cannot read"):
        read_musicgen(tmp_path)
    extra = changed(whole[1], tmp_path / "extra", tensors=lambda held: held | {"vocoder.x": np.zeros(1, np.float32)})
    with pytest.raises(UserError, match="no part of a MusicGen: vocoder.x"):
        read_musicgen(extra)
