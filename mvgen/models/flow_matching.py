"""Flow matching of frames: the path from noise to picture, its loss, and the sampler.

Levels run from 0 (pure noise) to 1 (clean): ``x_t = t x + (1 - t) noise``, with velocity ``x - noise`` (Lipman et al.
2023, Liu et al. 2023). The network predicts ``x``, as what differs from the given image, and is judged by how far it is
from ``x`` in pixels: a prediction that is vague is then smooth, and no noise is left in it (Li and He 2025).
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

CHANGE = 0.2  # how far frames are from the given image, as a standard deviation (pixels run from -1 to 1)
BLIND = 0.5  # share of training levels at pure noise
LEVEL_MEAN, LEVEL_SPREAD = -0.8, 1.2  # of the logit of the others
SAMPLERS = ("euler", "multistep")
SHIFT = 4.0  # how much finer the sampler's steps are near noise, where it is settled what is seen, than near the end


def draw_levels(key: jax.Array, shape: tuple[int, ...]) -> Array:
    """Training levels in [0, 1): half of them 0, the others the sigmoid of a normal variable (Esser et al. 2024).

    A picture shows its change through much noise, and only where it does not must the sound be heard; so much of the
    training is where there is nothing but noise.
    """
    drawn, blind = jax.random.split(key)
    level = jax.nn.sigmoid(LEVEL_MEAN + LEVEL_SPREAD * jax.random.normal(drawn, shape))
    return jnp.where(jax.random.bernoulli(blind, BLIND, shape), 0.0, level)


def mix(clean: Float[Array, "batch frames *rest"], noise: Array, level: Float[Array, "batch frames"]) -> Array:
    """The point of the path at each frame's level."""
    level = level.reshape(*level.shape, *(1,) * (clean.ndim - 2))
    return level * clean + (1 - level) * noise


def loss(
    predicted: Float[Array, "batch frames patches values"],
    clean: Array,
    counted: Float[Array, "batch frames"],
) -> Array:
    """Mean squared error over the counted frames in units of ``CHANGE``.

    Plain: a weight on what changes would pull the prediction away from the mean, towards whatever changes most, and
    the sampler would build on it.
    """
    error = jnp.mean((predicted - clean) ** 2, axis=(-2, -1)) / CHANGE**2
    return jnp.sum(error * counted) / jnp.maximum(jnp.sum(counted), 1.0)


def schedule(steps: int) -> Float[Array, " steps_and_one"]:
    """The sampler's levels from 0 to 1, shifted towards noise (Esser et al. 2024)."""
    even = jnp.linspace(0.0, 1.0, steps + 1)
    return even / (even + SHIFT * (1 - even))


def _ahead(levels: Float[Array, " steps_and_one"]) -> Float[Array, " steps"]:
    """By how much of its last change each step's prediction is extrapolated, so that a step is of second order.

    On the path dx/dt = (p(t) - x) / (1 - t) the prediction p is taken to go on as it went in the step before, and the
    step from a to b is worked out exactly: the exponential integrator of Zhang and Chen 2023 (DEIS) with a multistep
    of two. The first step has nothing to go on from.
    """
    a, b = levels[1:-1], levels[2:]
    # (1 - b) log((1 - b) / (1 - a)) tends to 0 at b = 1.
    left = jnp.where(b < 1, (1 - b) * jnp.log(jnp.maximum(1 - b, 1e-12) / (1 - a)), 0.0)
    more = (b - a + left) * (1 - a) / ((b - a) * (a - levels[:-2]))
    return jnp.concatenate([jnp.zeros(1), more])


def sample(
    predict: Callable[[Array, Array], Array],
    noise: Float[Array, "batch frames patches values"],
    steps: int,
    known: Array,
    known_level: Float[Array, "batch frames"],
    is_known: Array,
    sampler: str = "euler",
) -> Array:
    """Steps from noise to frames.

    Both samplers predict once a step. ``euler`` goes straight to what is predicted; ``multistep`` extrapolates it from
    the step before (:func:`_ahead`). Either way the last step lands on a prediction, in which no noise is left.

    Args:
        predict: ``(noisy, level) -> clean`` with guidance already applied.
        noise: where the path begins.
        steps: how many steps.
        known: frames that are given (read only where ``is_known``).
        known_level: at which level given frames are shown to the network.
        is_known: ``[batch, frames]`` bool.
        sampler: one of :data:`SAMPLERS`.
    """
    choose = is_known[..., None, None]
    shown = mix(known, noise, known_level)
    levels = schedule(steps)
    ahead = _ahead(levels) if sampler == "multistep" else jnp.zeros(steps)

    def advance(state: tuple[Array, Array], now: tuple[Array, Array, Array]) -> tuple[tuple[Array, Array], None]:
        x, before = state
        here, there, more = now
        level = jnp.where(is_known, known_level, here)
        x = jnp.where(choose, shown, x)
        predicted = predict(x, level)
        goal = predicted + more * (predicted - before)
        # The last step lands on the goal itself: (1 - t) v from level t is exactly goal - x.
        share = (there - here) / (1 - here)
        return (x + share * (goal - x), predicted), None

    (x, _), _ = jax.lax.scan(advance, (noise, jnp.zeros_like(noise)), (levels[:-1], levels[1:], ahead))
    return jnp.where(choose, known, x)
