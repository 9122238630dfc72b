"""Image autoencoders in JAX against diffusers' on the same weights, random and real."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny

from mvgen.errors import UserError
from mvgen.interop.image_autoencoder import load_autoencoder
from mvgen.media import read_picture
from mvgen.models.image_autoencoder import decode, encode

SHARED = Path(__file__).parents[4] / "shared"
TAEF2 = SHARED / "weights" / "taef2"


def pictures(side: int = 32, count: int = 2) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (count, side, side, 3)).astype(np.float32)


def as_torch(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(x)).permute(0, 3, 1, 2)


def test_a_variational_autoencoder_is_diffusers_to_a_thousandth(tmp_path):
    torch.manual_seed(0)
    reference = AutoencoderKL(
        block_out_channels=(8, 16), norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=5, layers_per_block=2, scaling_factor=0.5, shift_factor=0.25,
    ).eval()  # fmt: skip
    reference.save_pretrained(tmp_path)
    ours = load_autoencoder(str(tmp_path))
    x = pictures()
    with torch.no_grad():
        mean = reference.encode(as_torch(x)).latent_dist.mean
        back = reference.decode(mean).sample.permute(0, 2, 3, 1).numpy()
    latents = encode(ours.weights, ours.form, jnp.asarray(x))
    np.testing.assert_allclose(latents, ((mean - 0.25) * 0.5).permute(0, 2, 3, 1).numpy(), atol=1e-4)
    np.testing.assert_allclose(decode(ours.weights, ours.form, latents), back, atol=1e-3)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    torch.manual_seed(0)
    model = AutoencoderTiny(latent_channels=6).eval()
    folder = tmp_path_factory.mktemp("tiny")
    model.save_pretrained(folder)
    return folder, model


def test_the_taesd_family_is_diffusers_to_a_thousandth(tiny):
    folder, reference = tiny
    ours = load_autoencoder(str(folder))
    x = pictures()
    with torch.no_grad():
        z = reference.encode(as_torch(x)).latents
        back = reference.decode(z).sample.permute(0, 2, 3, 1).numpy()
    latents = encode(ours.weights, ours.form, jnp.asarray(x))
    np.testing.assert_allclose(latents, z.permute(0, 2, 3, 1).numpy(), atol=1e-4)
    np.testing.assert_allclose(decode(ours.weights, ours.form, latents), back, atol=1e-3)


def test_what_is_no_autoencoder_is_told_in_one_line(tmp_path):
    with pytest.raises(UserError, match="holds neither config.json"):
        load_autoencoder(str(tmp_path))
    (tmp_path / "config.json").write_text('{"_class_name": "UNet2DModel"}')
    (tmp_path / "diffusion_pytorch_model.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="is a 'UNet2DModel'; it can be AutoencoderKL or AutoencoderTiny"):
        load_autoencoder(str(tmp_path))
    (tmp_path / "config.json").write_text('{"_class_name": "AutoencoderTiny"}')
    with pytest.raises(UserError, match="cannot be loaded"):
        load_autoencoder(str(tmp_path))


@pytest.mark.skipif(not TAEF2.is_dir(), reason="the real weights are not here")
def test_real_weights_bring_a_real_frame_back():
    """The hardest of the real clips: 31.5 dB at 256 pixels, as the same weights give in PyTorch."""
    ours = load_autoencoder(str(TAEF2))
    frames = read_picture(SHARED / "clips" / "drumkit_10s.mp4", (256, 256), start=3, frames=1)
    latents = ours.encode(frames)
    assert latents.shape == (1, 32, 32, 32)
    error = np.mean((frames.astype(float) - ours.decode(latents)) ** 2)
    assert 10 * np.log10(255**2 / error) == pytest.approx(31.5, abs=1.5)
