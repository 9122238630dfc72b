"""The codec in Flax against transformers' EncodecModel, on the packaged weights and on random ones."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import EncodecConfig, EncodecModel

from mvgen.errors import UserError
from mvgen.interop.encodec import codec_folder, codec_hash, load_encodec
from mvgen.models.codec import Codec

ARCHITECTURES = {
    # MusicGen's codec with fewer channels, one stage less, and real LSTM layers.
    "musicgen": dict(use_causal_conv=False, use_conv_shortcut=False, num_lstm_layers=2, sampling_rate=32_000,
                     upsampling_ratios=[8, 5, 4], target_bandwidths=[2.4]),
    # The 24 kHz codec's features, and others that nothing published uses together.
    "causal": dict(use_causal_conv=True, use_conv_shortcut=True, num_lstm_layers=1, sampling_rate=24_000,
                   upsampling_ratios=[5, 4, 3], target_bandwidths=[9.6], num_residual_layers=2, kernel_size=5,
                   last_kernel_size=3, residual_kernel_size=5, compress=1, dilation_growth_rate=3),
    "trimmed": dict(use_causal_conv=True, trim_right_ratio=0.5, pad_mode="constant", num_lstm_layers=1,
                    sampling_rate=16_000, upsampling_ratios=[4, 2], target_bandwidths=[24.0]),
}  # fmt: skip


def make_reference(folder, architecture: str) -> EncodecModel:
    """A random model with codebooks filled, level by level, from its own latents; saved to the folder."""
    torch.manual_seed(0)
    sizes = {"num_filters": 4, "hidden_size": 16, "codebook_size": 64}
    config = EncodecConfig(**sizes, normalize=False, **ARCHITECTURES[architecture])
    model = EncodecModel(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))  # biases and LSTMs too, away from zero
            if name.endswith("original0"):
                parameter.mul_(2)  # so that latents differ from each other by more than rounding does
        latents = model.encoder(torch.randn(4, 1, 40 * config.hop_length)).transpose(1, 2).reshape(-1, 16)
        for layer in model.quantizer.layers:
            layer.codebook.embed.copy_(latents[torch.randperm(len(latents))[:64]])
            latents = latents - layer.codebook.embed[layer.codebook.quantize(latents)]
    model.save_pretrained(folder)
    return model


def reference_codes(model: EncodecModel, sound: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        codes = model.encode(torch.from_numpy(sound)[:, None], bandwidth=model.config.target_bandwidths[-1]).audio_codes
    return codes[0].permute(0, 2, 1).numpy()  # [1, B, K, T] to [B, T, K]


def reference_sound(model: EncodecModel, codes: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        made = model.decode(torch.from_numpy(codes).permute(0, 2, 1)[None], [None]).audio_values
    return made[:, 0].numpy()


def check_parity(codec: Codec, model: EncodecModel, lengths: tuple[int, ...], scale: float) -> None:
    rng = np.random.default_rng(1)
    same = total = 0
    seen: set[int] = set()
    for length in lengths:
        sound = (scale * rng.standard_normal((3, length))).astype(np.float32)
        expected = reference_codes(model, sound)
        codes = np.asarray(codec.encode(sound))
        assert codes.shape == expected.shape == (3, -(-length // codec.hop), codec.codebooks)
        seen |= set(expected.ravel().tolist())
        same, total = same + (codes == expected).sum(), total + codes.size
        true = reference_sound(model, expected)
        made = np.asarray(codec.decode(expected.astype(np.int32)))
        assert made.shape == true.shape == (3, expected.shape[1] * codec.hop)
        assert np.abs(made - true).max() <= 1e-4 * np.abs(true).max()
    assert len(seen) > 20  # the codebooks are really in use
    assert same / total >= 0.999


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_random_weights_agree_with_transformers(tmp_path, name):
    model = make_reference(tmp_path, name)
    codec = load_encodec(str(tmp_path))
    assert codec.codebooks == model.config.num_quantizers
    assert codec.sampling_rate == model.config.sampling_rate
    hop = codec.hop
    # Odd lengths, and one so short that reflection needs extra zeros.
    check_parity(codec, model, (25 * hop - 3, 3), scale=1.0)


@pytest.fixture(scope="module")
def codec() -> Codec:
    """The packaged one."""
    return load_encodec("encodec_tiny")


def test_packaged_codec_agrees_with_transformers(codec):
    model = EncodecModel.from_pretrained(codec_folder("encodec_tiny")).eval()
    assert (codec.sampling_rate, codec.hop, codec.codebooks, codec.codebook_size) == (32_000, 640, 4, 512)
    check_parity(codec, model, (20_001,), scale=0.1)


def test_batch_does_not_mix(codec):
    sound = 0.1 * np.random.default_rng(2).standard_normal((3, 20_001)).astype(np.float32)
    together = np.asarray(codec.encode(sound))
    alone = np.concatenate([np.asarray(codec.encode(one[None])) for one in sound])
    assert (together == alone).mean() >= 0.999


def test_zero_lstm_gives_the_same_codes(tmp_path):
    model = make_reference(tmp_path, "musicgen")
    for part in (model.encoder, model.decoder):
        for name, parameter in part.named_parameters():
            if ".lstm." in name:
                parameter.data.zero_()
    model.save_pretrained(tmp_path)
    check_parity(load_encodec(str(tmp_path)), model, (6400,), scale=1.0)


def test_every_mismatch_is_named(tmp_path):
    make_reference(tmp_path, "musicgen")
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["encoder.layers.0.conv.bias"]
    tensors["decoder.layers.0.conv.bias"] = tensors["decoder.layers.0.conv.bias"][:-1]
    tensors["decoder.layers.99.conv.bias"] = np.zeros(3, np.float32)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(UserError) as caught:
        load_encodec(str(tmp_path))
    for name in ("encoder.layers.0.conv.bias", "decoder.layers.0.conv.bias", "decoder.layers.99.conv.bias"):
        assert name in str(caught.value)


def test_another_architecture_is_refused(tmp_path):
    make_reference(tmp_path, "musicgen")
    config = json.loads((tmp_path / "config.json").read_text())
    for change in ({"model_type": "dac"}, {"normalize": True}, {"audio_channels": 2}, {"norm_type": "time_group_norm"}):
        (tmp_path / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(UserError):
            load_encodec(str(tmp_path))


def test_missing_codec_is_one_clear_line(tmp_path):
    with pytest.raises(UserError, match="encodec_tiny"):
        load_encodec("no_such_codec")
    with pytest.raises(UserError, match="config.json"):
        load_encodec(str(tmp_path))


def test_bad_input_is_refused(codec):
    with pytest.raises(UserError, match="finite"):
        codec.encode(np.full((1, 640), np.nan, np.float32))
    with pytest.raises(UserError, match="at least one sample"):
        codec.encode(np.zeros((1, 0), np.float32))
    with pytest.raises(UserError, match="512"):
        codec.decode(np.full((1, 2, 4), 512))


def test_hash_is_of_the_weights(tmp_path):
    make_reference(tmp_path, "musicgen")
    before = codec_hash(str(tmp_path))
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["encoder.layers.0.conv.bias"] += 1
    save_file(tensors, tmp_path / "model.safetensors")
    assert len(before) == 64 and codec_hash(str(tmp_path)) != before
