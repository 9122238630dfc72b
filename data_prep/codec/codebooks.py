"""Residual vector quantisation whose codebooks follow the data by moving averages.

As in EnCodec (Defossez et al., "High Fidelity Neural Audio Compression", 2022): level after level, the nearest entry
is taken off what is left; entries are exponential moving averages of what fell to them; an entry that gets nothing is
laid anew on a point of the batch. Gradients pass straight through.

The first level may be told to look at the first channels alone: its entries are zero in the others, which then add
the same to every distance, so that the nearest entry is the nearest in those channels. The format stays EnCodec's.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from data_prep.codec.initialise import k_means, nearest_entry


class Quantised(NamedTuple):
    """What the quantiser makes of latents ``[B, D, T]``."""

    latents: Tensor
    """``[B, D, T]``, the sum of the chosen entries; gradients go to the input."""
    codes: Tensor
    """int64 ``[levels, B, T]``."""
    commitment: Tensor
    """Scalar: mean squared distance to the chosen entry, over levels; pulls the encoder to its codebooks."""
    use: Tensor
    """Scalar in [0, 1]: how far soft assignments are, on average, from using all entries alike (see
    :meth:`Codebooks.forward`)."""


class Codebooks(nn.Module):
    """Codebooks ``[levels, entries, D]``.

    Args:
        decay: of the moving averages.
        dead_below: an entry whose average count of points a batch falls below this is laid anew.
        content: how many channels the first level looks at; 0: all.
    """

    def __init__(
        self,
        levels: int,
        entries: int,
        dimension: int,
        decay: float = 0.99,
        dead_below: float = 0.03,
        content: int = 0,
    ):
        super().__init__()
        self.decay, self.dead_below = decay, dead_below
        seen = torch.ones(levels, dimension)
        if content:
            seen[0, content:] = 0
        self.register_buffer("seen", seen, persistent=False)
        self.seen: Tensor
        self.register_buffer("entries", torch.zeros(levels, entries, dimension))
        self.register_buffer("sums", torch.zeros(levels, entries, dimension))
        self.register_buffer("counts", torch.ones(levels, entries))
        self.entries: Tensor
        self.sums: Tensor
        self.counts: Tensor

    @torch.no_grad()
    def lay(self, latents: Tensor, points_a_batch: float, generator: torch.Generator, rounds: int = 12) -> None:
        """Lays every level by k-means on what the levels before leave of the latents ``[n, D]``.

        Args:
            points_a_batch: how many points a training batch has, to which the starting counts are scaled.
        """
        residual = latents
        for level in range(len(self.entries)):
            centres, nearest = k_means(residual * self.seen[level], self.entries.shape[1], rounds, generator)
            counts = torch.bincount(nearest, minlength=len(centres)) * (points_a_batch / len(latents))
            self.entries[level] = centres
            self.counts[level] = counts.clamp_min(2 * self.dead_below)
            self.sums[level] = centres * self.counts[level, :, None]
            residual = residual - centres[nearest]

    def forward(self, latents: Tensor, generator: torch.Generator | None = None) -> Quantised:
        """Quantises latents ``[B, D, T]``; in training mode the codebooks follow and dead entries restart.

        The use term: softmax of minus squared distances over their mean gap gives each point a soft assignment; the
        entropy of the batch's mean assignment is compared with that of an even spread, ``1 - H / log N``.
        """
        batch, dimension, length = latents.shape
        points = latents.transpose(1, 2).reshape(-1, dimension)
        residual, total = points, torch.zeros_like(points)
        codes, commitments, uses = [], [], []
        for level, entries in enumerate(self.entries.clone()):
            looked_at = residual * self.seen[level]
            distance = looked_at.square().sum(1, keepdim=True) - 2 * looked_at @ entries.T + entries.square().sum(1)
            least, nearest = distance.min(1)
            chosen = entries[nearest]
            commitments.append((looked_at - chosen).square().sum(1).mean() / self.seen[level].sum())
            temperature = least.detach().mean().clamp_min(1e-6)
            spread = torch.softmax(-distance / temperature, dim=1).mean(0)
            entropy = -(spread * (spread + 1e-9).log()).sum()
            uses.append(1 - entropy / torch.log(torch.tensor(float(len(entries)))))
            if self.training:
                self._follow(level, looked_at.detach(), nearest, generator)
            codes.append(nearest.view(batch, length))
            total = total + chosen
            residual = residual - chosen
        through = points + (total - points).detach()
        return Quantised(
            through.view(batch, length, dimension).transpose(1, 2),
            torch.stack(codes),
            torch.stack(commitments).mean(),
            torch.stack(uses).mean(),
        )

    @torch.no_grad()
    def _follow(self, level: int, points: Tensor, nearest: Tensor, generator: torch.Generator | None) -> None:
        counts = torch.bincount(nearest, minlength=self.counts.shape[1]).to(points.dtype)
        sums = torch.zeros_like(self.sums[level]).index_add_(0, nearest, points)
        self.counts[level].lerp_(counts, 1 - self.decay)
        self.sums[level].lerp_(sums, 1 - self.decay)
        dead = self.counts[level] < self.dead_below
        if dead.any():
            fresh = torch.randint(len(points), (int(dead.sum()),), generator=generator)
            # A restarted entry is given the count of an averagely used one, so that it has time to be chosen.
            start = len(points) / len(counts)
            self.counts[level][dead] = start
            self.sums[level][dead] = points[fresh] * start
        self.entries[level] = self.sums[level] / self.counts[level, :, None]

    @torch.no_grad()
    def encode(self, latents: Tensor) -> Tensor:
        """Codes int64 ``[levels, B, T]`` of latents ``[B, D, T]``; nothing is learned."""
        points = latents.transpose(1, 2).reshape(-1, latents.shape[1])
        codes = []
        for entries in self.entries:
            nearest = nearest_entry(points, entries)
            points = points - entries[nearest]
            codes.append(nearest.view(latents.shape[0], -1))
        return torch.stack(codes)

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Latents ``[B, D, T]`` of codes int64 ``[levels, B, T]``: the sum of their entries."""
        chosen = [entries[level] for entries, level in zip(self.entries, codes, strict=True)]
        return torch.stack(chosen).sum(0).transpose(1, 2).contiguous()
