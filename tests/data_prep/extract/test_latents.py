"""Latents: every kind of autoencoder, through tiny ones made on the spot; and real weights where they are."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny

from data_prep.extract.cache import Cache
from data_prep.extract.latents import LatentExtractor, _from_halves, autoencoder_hash
from mvgen.errors import UserError
from mvgen.media import read_picture

SHARED = Path(__file__).parents[4] / "shared"
TAEF2 = SHARED / "weights" / "taef2"


def frames_of(seed=0, count=3, side=16):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), np.uint8)


@pytest.fixture(scope="module")
def variational(tmp_path_factory):
    torch.manual_seed(0)
    model = AutoencoderKL(
        block_out_channels=(8, 8), norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=5, layers_per_block=1, scaling_factor=0.5, shift_factor=0.25,
    ).eval()  # fmt: skip
    folder = tmp_path_factory.mktemp("kl")
    model.save_pretrained(folder)
    return folder, model


def test_a_variational_autoencoder(variational, tmp_path):
    folder, model = variational
    extractor = LatentExtractor(str(folder), (16, 16))
    assert extractor.shape == (8, 8, 5)
    frames = frames_of()
    latents = extractor.encode(frames)
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        mean = model.encode(pixels).latent_dist.mean
        back = model.decode(mean).sample
    np.testing.assert_allclose(latents, ((mean - 0.25) * 0.5).permute(0, 2, 3, 1).numpy(), atol=2e-3)
    wanted = ((back.clamp(-1, 1) + 1) * 127.5).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(extractor.decode(latents), wanted, atol=1.5)
    kept = extractor.extract(frames, "content", Cache(tmp_path))
    np.testing.assert_array_equal(kept, latents)
    np.testing.assert_array_equal(extractor.extract(frames[:0], "content", Cache(tmp_path)), latents)
    with pytest.raises(UserError, match="multiple of what it shrinks by"):
        _ = LatentExtractor(str(folder), (17, 17)).shape


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """An AutoencoderTiny, saved by diffusers and as the author of TAESD publishes his."""
    torch.manual_seed(0)
    model = AutoencoderTiny(latent_channels=6).eval()
    one, other = tmp_path_factory.mktemp("diffusers"), tmp_path_factory.mktemp("halves")
    model.save_pretrained(one)
    decoder = {}
    for name, tensor in model.decoder.layers.state_dict().items():
        place, rest = name.split(".", 1)
        decoder[f"{int(place) + 1}.{rest}"] = tensor
    torch.save(model.encoder.layers.state_dict(), other / "tae_encoder.pth")
    torch.save(decoder, other / "tae_decoder.pth")
    return one, other, model


def test_both_formats_of_the_taesd_family_are_the_same(tiny):
    one, other, model = (LatentExtractor(str(tiny[0]), (16, 16)), LatentExtractor(str(tiny[1]), (16, 16)), tiny[2])
    frames = frames_of(1)
    latents = one.encode(frames)
    assert one.shape == other.shape == (2, 2, 6)
    np.testing.assert_array_equal(latents, other.encode(frames))
    np.testing.assert_array_equal(one.decode(latents), other.decode(latents))
    with torch.no_grad():
        wanted = model.encode(torch.from_numpy(frames).permute(0, 3, 1, 2) / 127.5 - 1).latents
    np.testing.assert_allclose(latents, wanted.permute(0, 2, 3, 1).numpy(), atol=2e-3)


def test_hashes_tell_weights_apart(tiny, variational):
    hashes = {autoencoder_hash(str(folder)) for folder in (*tiny[:2], variational[0])}
    assert len(hashes) == 3 and all(len(one) == 64 for one in hashes)
    assert autoencoder_hash("none") == ""


def test_autoencoders_that_cannot_be(tiny, tmp_path):
    with pytest.raises(UserError, match="holds neither config.json"):
        autoencoder_hash(str(tmp_path))
    with pytest.raises(UserError, match="neither a preset"):
        autoencoder_hash("nobody/no such/autoencoder")  # not even a hub name: nothing is asked of a network
    (tmp_path / "encoder.pth").write_bytes((tiny[1] / "tae_encoder.pth").read_bytes())
    # A pickle is not opened, whatever it holds.
    (tmp_path / "decoder.pth").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(UserError, match="not a file of plain tensors"):
        LatentExtractor(str(tmp_path), (16, 16)).encode(frames_of())
    torch.save({"1.weight": torch.zeros(64, 6, 3, 3)}, tmp_path / "decoder.pth")
    with pytest.raises(UserError, match="cannot be loaded"):
        LatentExtractor(str(tmp_path), (16, 16)).encode(frames_of())


@pytest.mark.skipif(not TAEF2.is_dir(), reason="the real weights are not here")
def test_a_global_branch_is_added_where_the_weights_have_one():
    model = _from_halves(TAEF2 / "taef2_encoder.pth", TAEF2 / "taef2_decoder.pth")
    block = model.encoder.layers[11]
    x = torch.randn(1, 64, 2, 2)
    with torch.no_grad():
        mixed = x + block.pool(x)
        wanted = torch.relu(block.conv(mixed) + mixed)
        torch.testing.assert_close(block(x), wanted)
        assert (block.pool(x).abs() > 1e-3).any()


@pytest.mark.skipif(not TAEF2.is_dir(), reason="the real weights are not here")
def test_round_trip_of_a_real_clip_through_real_weights():
    """The hardest of the real clips (31.5 dB at 256 pixels; the others 31.5 to 38.1)."""
    extractor = LatentExtractor(str(TAEF2), (256, 256))
    frames = read_picture(SHARED / "clips" / "drumkit_10s.mp4", (256, 256), start=3, frames=1)
    error = np.mean((frames.astype(float) - extractor.decode(extractor.encode(frames))) ** 2)
    assert 10 * np.log10(255**2 / error) >= 29
