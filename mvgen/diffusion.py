"""Flow matching of frames: the path from noise to picture, its loss, and the sampler.

Levels run from 0 (pure noise) to 1 (clean): ``x_t = t x + (1 - t) noise``, with velocity ``x - noise`` (Lipman et al.
2023, Liu et al. 2023). The network predicts ``x``, as what differs from the given image.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

CHANGE = 0.2  # how far frames are from the given image, as a standard deviation (pixels run from -1 to 1)
NEAREST_TO_CLEAN = 0.05  # 1 - t is taken no smaller than this, where it divides


@dataclasses.dataclass(frozen=True)
class Levels:
    """Distribution of training levels: the sigmoid of a normal variable (Esser et al. 2024)."""

    mean: float = -0.8
    spread: float = 1.0

    def draw(self, key: jax.Array, shape: tuple[int, ...]) -> Array:
        """Levels in (0, 1)."""
        return jax.nn.sigmoid(self.mean + self.spread * jax.random.normal(key, shape))


def mix(clean: Float[Array, "batch frames *rest"], noise: Array, level: Float[Array, "batch frames"]) -> Array:
    """The point of the path at each frame's level."""
    level = level.reshape(*level.shape, *(1,) * (clean.ndim - 2))
    return level * clean + (1 - level) * noise


def precondition(level: Float[Array, "batch frames"]) -> tuple[Array, Array]:
    """How much of the noisy picture to keep, and how large what is left to predict is: ``(skip, scale)``.

    If a frame were the given image plus a Gaussian change of deviation ``CHANGE``, its mean given ``x_t`` would
    be ``image + skip * (x_t - t image)``, and ``scale`` the deviation around it. A network that predicts the rest in
    units of ``scale`` has targets of size 1 at every level (Karras et al. 2022, for this path and a known image).
    """
    remaining = jnp.maximum(1 - level, NEAREST_TO_CLEAN)
    total = level**2 * CHANGE**2 + remaining**2
    return level * CHANGE**2 / total, CHANGE * remaining / jnp.sqrt(total)


def loss(
    predicted: Float[Array, "batch frames patches values"],
    clean: Array,
    level: Float[Array, "batch frames"],
    counted: Float[Array, "batch frames"],
    emphasis: Array | float = 1.0,
) -> Array:
    """Mean squared error over the counted frames in units of :func:`precondition`'s scale, times ``emphasis``."""
    _, scale = precondition(level)
    error = jnp.mean(emphasis * (predicted - clean) ** 2, axis=(-2, -1)) / scale**2
    return jnp.sum(error * counted) / jnp.maximum(jnp.sum(counted), 1.0)


def sample(
    predict: Callable[[Array, Array], Array],
    noise: Float[Array, "batch frames patches values"],
    steps: int,
    known: Array,
    known_level: Float[Array, "batch frames"],
    is_known: Array,
) -> Array:
    """Euler steps from noise to frames.

    Args:
        predict: ``(noisy, level) -> clean`` with guidance already applied.
        noise: where the path begins.
        steps: how many Euler steps.
        known: frames that are given (read only where ``is_known``).
        known_level: at which level given frames are shown to the network.
        is_known: ``[batch, frames]`` bool.
    """
    choose = is_known[..., None, None]
    shown = mix(known, noise, known_level)
    levels = jnp.linspace(0.0, 1.0, steps + 1)

    def advance(x: Array, bounds: Array) -> tuple[Array, None]:
        level = jnp.where(is_known, known_level, bounds[0])
        x = jnp.where(choose, shown, x)
        predicted = predict(x, level)
        # The last step lands on the prediction itself: (1 - t) v from level t is exactly predicted - x.
        share = (bounds[1] - bounds[0]) / (1 - bounds[0])
        return x + share * (predicted - x), None

    x, _ = jax.lax.scan(advance, noise, jnp.stack([levels[:-1], levels[1:]], axis=1))
    return jnp.where(choose, known, x)
