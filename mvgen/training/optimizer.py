"""How parameters move: which parts learn, AdamW, its learning rate over time, and their running average."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mvgen.errors import UserError

PARTS = ("encoder", "decoder", "movement", "denoiser", "notes")
"""Parts of the model that can be frozen, by the names of their parameters."""
NEVER = 2**31 - 1
USUAL_DECAY, USUAL_AFTER = 0.98, 20
"""Of the mean norm of gradients: what a step leaves of it, and how many gradients make it known."""


def frozen_parts(config: Any) -> list[str]:
    """The names in ``config.train.frozen``."""
    return [name.strip() for name in config.train.get("frozen", "").split(",") if name.strip()]


def learned_parts(config: Any) -> tuple[str, ...]:
    """The parts that a loss reaches and that are not frozen.

    Raises:
        UserError: ``config.train.frozen`` names something else, or nothing is left to learn.
    """
    loss = config.loss
    reached = {
        "encoder": loss.align or loss.music or loss.token_head or loss.get("notes", 0.0),
        "decoder": loss.music or loss.token_head,
        "movement": loss.movement,
        "denoiser": loss.video,
        "notes": loss.get("notes", 0.0),
    }
    frozen = frozen_parts(config)
    if unknown := sorted(set(frozen) - set(PARTS)):
        raise UserError(f"config.train.frozen names {unknown[0]!r}; it can name {', '.join(PARTS)}")
    learned = tuple(part for part in PARTS if reached[part] and part not in frozen)
    if not learned:
        raise UserError(
            "there is nothing to learn: config.loss.align, music, token_head, video, movement and notes reach no part "
            "that config.train.frozen leaves free"
        )
    return learned


def make_optimizer(config: Any) -> optax.GradientTransformation:
    """AdamW without its learning rate (Loshchilov and Hutter 2019), clipped by the norm of all gradients together.

    Weights decay only where they are matrices: not biases, norms or the temperature. Where a gradient is not finite
    (or with ``config.optimizer.spike`` far larger than usual, :func:`without_spikes`), nothing moves and nothing is
    remembered; how often that was is counted in its state.
    """
    given = config.optimizer
    adamw = optax.chain(
        optax.clip_by_global_norm(given.clip_norm),
        optax.scale_by_adam(b1=given.b1, b2=given.b2),
        optax.add_decayed_weights(given.weight_decay, lambda params: jax.tree.map(lambda x: x.ndim >= 2, params)),
    )
    spike = given.get("spike", 0.0)
    return without_spikes(adamw, spike) if spike else optax.apply_if_finite(adamw, max_consecutive_errors=NEVER)


class SpikeState(NamedTuple):
    """State of :func:`without_spikes`: the fields of ``optax.ApplyIfFiniteState``, and the gradient's usual norm."""

    notfinite_count: jax.Array  # steps in a row, up to the last one, that changed nothing
    last_finite: jax.Array  # whether the last one changed something
    total_notfinite: jax.Array  # steps that changed nothing
    inner_state: Any
    usual_norm: jax.Array  # mean norm, forgotten at the rate of USUAL_DECAY
    seen: jax.Array  # gradients in it


def without_spikes(inner: optax.GradientTransformation, factor: float) -> optax.GradientTransformation:
    """Leaves out a step whose gradient is not finite, or ``factor`` times as long as usual.

    What is usual is the running mean of norms, from ``USUAL_AFTER`` gradients on; a longer one counts in it as one of
    the length that is just allowed, so that what stays large becomes usual within some steps, and one that is not
    finite does not count at all: neither can poison it.
    """

    def init(params: Any) -> SpikeState:
        return SpikeState(
            jnp.zeros((), jnp.int32), jnp.ones((), bool), jnp.zeros((), jnp.int32), inner.init(params),
            jnp.zeros(()), jnp.zeros((), jnp.int32),
        )  # fmt: skip

    def update(updates: Any, state: SpikeState, params: Any = None) -> tuple[Any, SpikeState]:
        norm = optax.tree.norm(updates)
        finite = jnp.isfinite(norm)
        largest = jnp.where(state.seen >= USUAL_AFTER, factor * state.usual_norm, jnp.inf)
        good = finite & (norm <= largest)
        share = jnp.maximum(1.0 - USUAL_DECAY, 1.0 / (1.0 + state.seen))
        usual = state.usual_norm + share * (jnp.minimum(jnp.where(finite, norm, 0.0), largest) - state.usual_norm)
        made, after = inner.update(updates, state.inner_state, params)
        # Chosen, not multiplied by zero: zero times "not a number" is not a number.
        made = jax.tree.map(lambda x: jnp.where(good, x, jnp.zeros_like(x)), made)
        after = jax.tree.map(lambda new, old: jnp.where(good, new, old), after, state.inner_state)
        missed = jnp.where(good, 0, 1)
        return made, SpikeState(
            jnp.where(good, 0, state.notfinite_count + 1),
            good,
            state.total_notfinite + missed,
            after,
            jnp.where(finite, usual, state.usual_norm),
            state.seen + finite.astype(jnp.int32),
        )

    return optax.GradientTransformation(init, update)


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
