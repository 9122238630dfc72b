"""How parameters move: which parts learn, AdamW, its learning rate over time, and their running average."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from mvgen.errors import UserError

PARTS = ("encoder", "decoder", "movement", "denoiser")
"""Parts of the model that can be frozen, by the names of their parameters."""
NEVER = 2**31 - 1


def learned_parts(config: Any) -> tuple[str, ...]:
    """The parts that a loss reaches and that are not frozen.

    Raises:
        UserError: ``config.train.frozen`` names something else, or nothing is left to learn.
    """
    loss = config.loss
    reached = {
        "encoder": loss.align or loss.music or loss.prior,
        "decoder": loss.music or loss.prior,
        "movement": loss.movement,
        "denoiser": loss.video,
    }
    frozen = [name.strip() for name in config.train.get("frozen", "").split(",") if name.strip()]
    if unknown := sorted(set(frozen) - set(PARTS)):
        raise UserError(f"config.train.frozen names {unknown[0]!r}; it can name {', '.join(PARTS)}")
    learned = tuple(part for part in PARTS if reached[part] and part not in frozen)
    if not learned:
        raise UserError(
            "there is nothing to learn: config.loss.align, music, prior, video and movement reach no part that "
            "config.train.frozen leaves free"
        )
    return learned


def make_optimizer(config: Any) -> optax.GradientTransformation:
    """AdamW without its learning rate (Loshchilov and Hutter 2019), clipped by the norm of all gradients together.

    Weights decay only where they are matrices: not biases, norms or the temperature. Where a gradient is not finite,
    nothing moves and nothing is remembered; how often that was is counted in its state.
    """
    given = config.optimizer
    return optax.apply_if_finite(
        optax.chain(
            optax.clip_by_global_norm(given.clip_norm),
            optax.scale_by_adam(b1=given.b1, b2=given.b2),
            optax.add_decayed_weights(given.weight_decay, lambda params: jax.tree.map(lambda x: x.ndim >= 2, params)),
        ),
        max_consecutive_errors=NEVER,
    )


def make_schedule(config: Any) -> optax.Schedule:
    """The learning rate of a step: linear warm-up, then cosine decay to the last step."""
    given = config.optimizer
    return optax.warmup_cosine_decay_schedule(
        init_value=0.0 if given.warmup_steps else given.learning_rate,
        peak_value=given.learning_rate,
        warmup_steps=min(given.warmup_steps, max(config.train.steps - 1, 0)),
        decay_steps=max(config.train.steps, 1),
        end_value=given.learning_rate * given.final_fraction,
    )


def average_step(config: Any, step: jax.Array) -> jax.Array:
    """By how much the running average moves towards the parameters after a step.

    Early on it follows closely, or it would remember the start for 1 / (1 - decay) steps.
    """
    return 1.0 - jnp.minimum(config.train.ema, (1.0 + step) / (10.0 + step))
