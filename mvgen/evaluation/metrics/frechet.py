"""The Frechet distance between two sets of embeddings: how far apart two sets of sounds or videos are as a whole.

Heusel et al., "GANs trained by a two time-scale update rule", NeurIPS 2017 (FID); over sounds Kilgour et al., "Frechet
Audio Distance", Interspeech 2019; over videos Unterthiner et al., "FVD", 2019.
"""

from __future__ import annotations

import numpy as np


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """``|mean difference|^2 + trace(C1 + C2 - 2 (C1 C2)^(1/2))`` of two Gaussians fitted to embeddings.

    Covariances are unbiased (n - 1). With few embeddings the distance is biased upwards, the more so the more
    dimensions there are: compare only values over equal numbers of clips.

    Args:
        first, second: embeddings, ``[n, d]`` and ``[m, d]``, at least two each.

    Raises:
        ValueError: fewer than two embeddings, another width, or numbers that are not finite.
    """
    first, second = np.asarray(first, float), np.asarray(second, float)
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1] or min(len(first), len(second)) < 2:
        raise ValueError(f"embeddings must be [n >= 2, d] and [m >= 2, d]: {first.shape} and {second.shape} were given")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("embeddings hold numbers that are not finite")
    a, b = (part - part.mean(axis=0) for part in (first, second))
    a, b = a / np.sqrt(len(a) - 1), b / np.sqrt(len(b) - 1)
    # trace((A'A B'B)^(1/2)) is the sum of the singular values of A B': no square root of a singular matrix is needed,
    # and a set of n clips costs n x m numbers, however many dimensions there are.
    shared = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    apart = np.sum((first.mean(axis=0) - second.mean(axis=0)) ** 2)
    return float(max(0.0, apart + np.sum(a**2) + np.sum(b**2) - 2.0 * shared))


def divergence(reference: np.ndarray, generated: np.ndarray, floor: float = 1e-6) -> float:
    """Kullback-Leibler divergence of ``generated`` from ``reference`` in nats: sum of p log(p / q).

    Args:
        reference, generated: probabilities of classes, ``[classes]``; none is taken as less than ``floor``.
    """
    p, q = (np.maximum(np.asarray(part, float), floor) for part in (reference, generated))
    p, q = p / p.sum(), q / q.sum()
    return float(np.sum(p * np.log(p / q)))
