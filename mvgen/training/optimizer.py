"""How parameters move: AdamW, its learning rate over time, and which part of the model learns when."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mvgen.training.losses import Phase


def make_optimizer(config: Any) -> optax.GradientTransformation:
    """AdamW without its learning rate (Loshchilov and Hutter 2019).

    Weights decay only where they are matrices: not biases, norms or the temperature.
    """
    given = config.optimizer
    return optax.chain(
        optax.scale_by_adam(b1=given.b1, b2=given.b2),
        optax.add_decayed_weights(given.weight_decay, lambda params: jax.tree.map(lambda x: x.ndim >= 2, params)),
    )


def make_schedule(config: Any, begins: int, ends: int) -> optax.Schedule:
    """The learning rate of what learns from step ``begins`` until ``ends``: linear warm-up, then cosine decay."""
    given = config.optimizer
    length = max(ends - begins, 1)
    schedule = optax.warmup_cosine_decay_schedule(
        init_value=0.0 if given.warmup_steps else given.learning_rate,
        peak_value=given.learning_rate,
        warmup_steps=min(given.warmup_steps, length - 1),
        decay_steps=length,
        end_value=given.learning_rate * given.final_fraction,
    )
    return lambda step: schedule(jnp.maximum(step - begins, 0))


def spans(phases: list[Phase], steps: int, parts: Iterable[str]) -> dict[str, tuple[int, int]]:
    """From which step until which each part of the model learns; parts that never learn are left out."""
    ends = [phase.begins for phase in phases[1:]] + [steps]
    learned = {
        part: [(phase.begins, end) for phase, end in zip(phases, ends, strict=True) if part not in phase.idle]
        for part in parts
    }
    return {part: (runs[0][0], min(runs[-1][1], steps)) for part, runs in learned.items() if runs}
