"""The training step: its state, its optimizer, and the compiled programs that make, advance and judge that state."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding

from mvgen import sharding
from mvgen.losses import LossConfig, Phase, total_loss
from mvgen.models.config import MVGenConfig
from mvgen.models.mvgen import MVGen
from mvgen.records import RecordSpec
from mvgen.start import read_codebooks, start_from_codebooks

Params = dict[Any, Any]
"""Nested dict of parameters, as ``nnx.to_pure_dict`` gives it; float32."""
Metrics = dict[str, jax.Array]
PROJECTION = 0xC0DEC
"""Folded into the seed for the start from codebooks: no step has this number."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """All that a run is, beside its position in the data.

    Attributes:
        step: steps done, int32 scalar; the randomness of the next one is a function of it.
        skipped: how many of them were not finite and changed nothing, int32 scalar.
        params: the parameters.
        ema: their running average, used for evaluation and generation.
        opt_state: optax's, one for each part of the model.
    """

    step: jax.Array
    skipped: jax.Array
    params: Params
    ema: Params
    opt_state: dict[str, optax.OptState]


@dataclasses.dataclass(frozen=True)
class Program:
    """What one configuration compiles to on one mesh.

    Attributes:
        mesh: the devices.
        graphdef: the model without its parameters; ``nnx.merge(graphdef, params)`` is the model.
        abstract: the state's shapes, types and shardings.
        batch_sharding: where a batch goes.
        init: makes the first state, sharded from the beginning.
        phases: what is compiled for which steps: (first step, ``(state, batch) -> (state, metrics)``), in order; the
            given state's memory is used up.
        evaluate: ``(params, batch, number) -> metrics`` of the number-th (int32) evaluation batch.
    """

    mesh: Mesh
    graphdef: nnx.GraphDef
    abstract: TrainState
    batch_sharding: NamedSharding
    init: Callable[[], TrainState]
    phases: tuple[tuple[int, Any], ...]
    evaluate: Any


def make_optimizer(config: Any) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """AdamW without its learning rate (Loshchilov and Hutter 2019), and that rate by the steps of the whole run.

    Linear warm-up, then cosine decay. Weights decay only where they are matrices: not biases, norms or the temperature.
    """
    given = config.optimizer
    steps = config.train.steps
    schedule = optax.warmup_cosine_decay_schedule(
        init_value=0.0 if given.warmup_steps else given.learning_rate,
        peak_value=given.learning_rate,
        warmup_steps=min(given.warmup_steps, max(steps - 1, 0)),
        decay_steps=max(steps, 1),
        end_value=given.learning_rate * given.final_fraction,
    )
    optimizer = optax.chain(
        optax.scale_by_adam(b1=given.b1, b2=given.b2),
        optax.add_decayed_weights(given.weight_decay, lambda params: jax.tree.map(lambda x: x.ndim >= 2, params)),
    )
    return optimizer, schedule


def make_model(config: Any, spec: RecordSpec) -> MVGen:
    """A model with fresh parameters, seeded by ``config.seed``."""
    return MVGen(MVGenConfig.from_config(config, spec), rngs=nnx.Rngs(config.seed))


def abstract_model(config: Any, spec: RecordSpec) -> tuple[nnx.GraphDef, Params]:
    """The model's structure and its parameters' shapes (``ShapeDtypeStruct``), with nothing computed."""
    graphdef, params = nnx.split(nnx.eval_shape(lambda: make_model(config, spec)), nnx.Param)
    return graphdef, nnx.to_pure_dict(params)


def build(config: Any, spec: RecordSpec, mesh: Mesh) -> Program:
    """Prepares the programs of a run; nothing is compiled until it is called.

    Raises:
        UserError: the configuration contradicts itself or the records.
        ValueError: a parameter that no sharding rule matches.
    """
    graphdef, param_shapes = abstract_model(config, spec)
    optimizer, schedule = make_optimizer(config)
    loss_config = LossConfig.from_config(config)

    def first_state(params: Params) -> TrainState:
        zero = jnp.zeros((), jnp.int32)
        # The average is a copy, not the same array: both are donated at every step.
        # Each part of the model has its own optimizer state, so that one that does not learn costs nothing.
        opt_state = {part: optimizer.init(values) for part, values in params.items()}
        return TrainState(zero, zero, params, jax.tree.map(jnp.copy, params), opt_state)

    def init() -> TrainState:
        params = nnx.to_pure_dict(nnx.state(make_model(config, spec), nnx.Param))
        codebooks = read_codebooks(spec) if config.init.codebooks else None
        if codebooks is not None:
            key = jax.random.fold_in(jax.random.key(config.seed), PROJECTION)
            params = start_from_codebooks(params, codebooks, key)
        return first_state(params)

    def step(state: TrainState, batch: dict[str, jax.Array], phase: Phase) -> tuple[TrainState, Metrics]:
        # A part that does not learn is used as its average, as in generation.
        fixed = {part: values for part, values in state.ema.items() if part in phase.idle}
        before = {part: values for part, values in state.params.items() if part not in phase.idle}

        def loss_of(params: Params, batch: dict[str, jax.Array], key: jax.Array) -> tuple[jax.Array, Metrics]:
            return total_loss(nnx.merge(graphdef, {**params, **fixed}), batch, key, phase.loss)

        key = jax.random.fold_in(jax.random.key(config.seed), state.step)
        (loss, metrics), gradients = jax.value_and_grad(loss_of, has_aux=True)(before, batch, key)
        norm = optax.tree.norm(gradients)
        finite = jnp.isfinite(loss) & jnp.isfinite(norm)
        shrink = jnp.minimum(1.0, config.optimizer.clip_norm / norm)
        taken = state.step - state.skipped
        rate = schedule(taken)
        # Early on the average follows closely, or it would remember the random start for 1 / (1 - decay) steps.
        decay = jnp.minimum(config.train.ema, (1.0 + taken) / (10.0 + taken))
        params, ema, opt_state = dict(state.params), dict(state.ema), dict(state.opt_state)
        for part, gradient in gradients.items():
            gradient = jax.tree.map(lambda x: x * shrink, gradient)
            updates, moments = optimizer.update(gradient, state.opt_state[part], before[part])
            moved = jax.tree.map(lambda x, by: x - rate * by, before[part], updates)
            average = jax.tree.map(lambda old, new: old + (1 - decay) * (new - old), state.ema[part], moved)
            # `where`, not a product: a NaN times zero is still NaN.
            params[part], ema[part], opt_state[part] = jax.tree.map(
                lambda new, old: jnp.where(finite, new, old),
                (moved, average, moments),
                (before[part], state.ema[part], state.opt_state[part]),
            )
        skipped = state.skipped + jnp.where(finite, 0, 1).astype(jnp.int32)
        metrics = {**metrics, "gradient_norm": norm, "learning_rate": rate, "skipped_steps": skipped}
        return TrainState(state.step + 1, skipped, params, ema, opt_state), metrics

    def evaluate(params: Params, batch: dict[str, jax.Array], number: jax.Array) -> Metrics:
        key = jax.random.fold_in(jax.random.key(config.seed), number)
        return total_loss(nnx.merge(graphdef, params), batch, key, loss_config, train=False)[1]

    shapes = jax.eval_shape(first_state, param_shapes)
    placed = sharding.shardings(shapes, mesh)
    abstract = jax.tree.map(lambda x, at: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=at), shapes, placed)
    everywhere = NamedSharding(mesh, jax.sharding.PartitionSpec())
    batch_at = sharding.batch_sharding(mesh)
    return Program(
        mesh=mesh,
        graphdef=graphdef,
        abstract=abstract,
        batch_sharding=batch_at,
        # Runs once: not worth optimising, and on CPUs it compiles in half the time.
        init=jax.jit(init, out_shardings=placed, compiler_options={"xla_backend_optimization_level": 0}),
        phases=tuple(
            (
                phase.begins,
                jax.jit(
                    partial(step, phase=phase),
                    in_shardings=(placed, batch_at),
                    out_shardings=(placed, everywhere),
                    donate_argnums=0,
                ),
            )
            for phase in loss_config.phases()
        ),
        evaluate=jax.jit(evaluate, in_shardings=(placed.ema, batch_at, everywhere), out_shardings=everywhere),
    )
