"""Data-dependent initialisation and k-means."""

from __future__ import annotations

import numpy as np
import torch

from data_prep.codec.initialise import HIDDEN, LATENT, OUTPUT, k_means, nearest_entry, scale_by_data
from data_prep.codec.network import LEVEL, Network, tiny_config


def a_sound(batch: int = 2, tokens: int = 10) -> torch.Tensor:
    """Two partials and a little noise, at the level of training sound."""
    time = torch.arange(640 * tokens) / 32_000
    noise = torch.randn(batch, 1, len(time), generator=torch.Generator().manual_seed(0))
    return LEVEL * (torch.sin(2 * np.pi * 300 * time) + 0.5 * torch.sin(2 * np.pi * 750 * time) + 0.1 * noise)


def test_every_output_has_its_size():
    torch.manual_seed(0)
    network, sound = Network(tiny_config(filters=4, hidden=16)), a_sound()
    scale_by_data(network, sound, torch.Generator().manual_seed(0))
    seen: list[torch.Tensor] = []
    made = network.decode(network.encode(sound, seen), seen)
    latents = seen[network.encoder_convolutions - 1]
    np.testing.assert_allclose(seen[0].std().item(), HIDDEN, rtol=1e-3)
    np.testing.assert_allclose(latents.std().item(), LATENT, rtol=1e-3)
    np.testing.assert_allclose(made.std().item(), OUTPUT * LEVEL, rtol=1e-3)


def test_start_knows_polarity():
    """A negated sound has nearly negated latents; a network that begins blind to the sign never finds the waveform."""
    torch.manual_seed(0)
    network, sound = Network(tiny_config(filters=4, hidden=16)), a_sound()
    scale_by_data(network, sound, torch.Generator().manual_seed(0))
    silence = network.encode(torch.zeros_like(sound))
    up, down = network.encode(sound) - silence, silence - network.encode(-sound)
    assert torch.corrcoef(torch.stack([up.flatten(), down.flatten()]))[0, 1] > 0.5


def test_k_means_finds_separate_clouds():
    generator = torch.Generator().manual_seed(0)
    true = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])
    points = (true[:, None] + 0.1 * torch.randn(4, 50, 2, generator=generator)).reshape(-1, 2)
    centres, nearest = k_means(points, entries=8, rounds=10, generator=generator)
    assert len(torch.unique(nearest)) > 4
    # Every point's centre lies in its own cloud.
    assert (points - centres[nearest]).norm(dim=1).max() < 1.0


def test_nearest_entry_agrees_with_all_distances():
    generator = torch.Generator().manual_seed(1)
    points, entries = torch.randn(100, 5, generator=generator), torch.randn(17, 5, generator=generator)
    expected = torch.cdist(points, entries).argmin(1)
    assert torch.equal(nearest_entry(points, entries), expected)
