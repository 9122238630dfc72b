"""Residual quantisation: codebooks follow the data, dead entries restart, gradients pass."""

from __future__ import annotations

import torch

from data_prep.codec.codebooks import Codebooks


def latents_of(batch: int, length: int, dimension: int, seed: int) -> torch.Tensor:
    return torch.randn(batch, dimension, length, generator=torch.Generator().manual_seed(seed))


def laid(levels: int = 3, entries: int = 32, dimension: int = 8, decay: float = 0.9) -> Codebooks:
    books = Codebooks(levels, entries, dimension, decay)
    points = latents_of(1, 2000, dimension, seed=0)[0].T
    books.lay(points, points_a_batch=100, generator=torch.Generator().manual_seed(0))
    return books


def test_laid_codebooks_are_all_in_use_and_each_level_helps():
    books = laid().eval()
    latents = latents_of(4, 500, 8, seed=0)
    quantised = books(latents)
    for level in quantised.codes:
        assert len(torch.unique(level)) == 32
    left = latents.transpose(1, 2)
    sizes = [left.square().mean().item()]
    for level in range(3):
        left = left - books.entries[level][quantised.codes[level]]
        sizes.append(left.square().mean().item())
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] < 0.5 * sizes[0]
    assert torch.equal(books.encode(latents), quantised.codes)


def test_gradients_pass_straight_through():
    books = laid()
    latents = latents_of(2, 20, 8, seed=1).requires_grad_()
    books(latents).latents.sum().backward()
    torch.testing.assert_close(latents.grad, torch.ones_like(latents))


def test_entries_follow_the_data():
    books = laid(levels=1)
    centre = 5.0
    for seed in range(80):
        books(latents_of(2, 50, 8, seed) * 0.1 + centre, torch.Generator().manual_seed(seed))
    assert (books.entries.mean() - centre).abs() < 0.5


def test_dead_entries_restart_on_the_batch():
    books = laid(levels=1)
    books.entries[0, :30] += 1000.0  # nothing will ever fall to these
    books.sums[0, :30] = books.entries[0, :30] * books.counts[0, :30, None]
    for seed in range(80):
        books(latents_of(2, 50, 8, seed), torch.Generator().manual_seed(seed))
    books.eval()
    used = torch.unique(books.encode(latents_of(20, 100, 8, seed=999)))
    assert len(used) >= 30
    assert books.entries.abs().max() < 100


def test_nothing_is_learned_in_evaluation():
    books = laid().eval()
    before = books.entries.clone()
    books(latents_of(2, 50, 8, seed=3))
    assert torch.equal(books.entries, before)


def test_use_tells_even_from_uneven():
    books = laid(levels=1).eval()
    even = books(latents_of(4, 500, 8, seed=0)).use
    uneven = books(torch.zeros(4, 8, 500) + 0.01 * latents_of(4, 500, 8, seed=0)).use
    assert 0 <= even < uneven <= 1
