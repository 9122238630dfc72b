"""The training step: its state, its optimizer, and the compiled programs that make, advance and evaluate that state."""

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

from mvgen.data.records import RecordSpec
from mvgen.models.attention_maps import Maps, attention_maps
from mvgen.models.config import MVGenConfig
from mvgen.models.mvgen import MVGen
from mvgen.training import sharding
from mvgen.training.initialisation import read_codebooks, read_start, start_from_codebooks
from mvgen.training.losses import LossConfig, Phase, total_loss
from mvgen.training.optimizer import make_optimizer, make_schedule, spans

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
        read_start: what the MusicGen that ``config.init_from`` names gives, in host memory: parts of the parameters,
            with ``None`` for what it has not; ``None`` where it names nothing.
        init: makes the first state from that, or from another run's parameters, sharded from the beginning; reads the
            former where nothing is given.
        phases: what is compiled for which steps: (first step, ``(state, batch) -> (state, metrics)``), in order; the
            given state's memory is used up.
        evaluate: ``(params, batch, number) -> metrics`` of the number-th (int32) evaluation batch.
        attend: ``(params, batch) -> maps``: what attention looks at in the first example of a batch.
    """

    mesh: Mesh
    graphdef: nnx.GraphDef
    abstract: TrainState
    batch_sharding: NamedSharding
    read_start: Callable[[], Params | None]
    init: Callable[..., TrainState]
    phases: tuple[tuple[int, Any], ...]
    evaluate: Any
    attend: Any


def split_parts(params: Params) -> Params:
    """The parameters by the parts that may be frozen alone: the token head is one, though the decoder holds it."""
    if "prior" not in params.get("decoder", {}):
        return dict(params)
    decoder = {name: values for name, values in params["decoder"].items() if name != "prior"}
    return {**params, "decoder": decoder, "prior": params["decoder"]["prior"]}


def join_parts(parts: Params) -> Params:
    """Inverse of :func:`split_parts`."""
    if "prior" not in parts:
        return parts
    whole = {name: values for name, values in parts.items() if name != "prior"}
    return {**whole, "decoder": {**parts["decoder"], "prior": parts["prior"]}}


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
    optimizer = make_optimizer(config)
    loss_config = LossConfig.from_config(config)
    phases = loss_config.phases()
    learning = spans(phases, config.train.steps, split_parts(param_shapes))

    def first_state(params: Params) -> TrainState:
        zero = jnp.zeros((), jnp.int32)
        # The average is a copy, not the same array: both are donated at every step.
        # Each part of the model has its own optimizer state, so that a frozen one costs nothing.
        opt_state = {part: optimizer.init(values) for part, values in split_parts(params).items()}
        return TrainState(zero, zero, params, jax.tree.map(jnp.copy, params), opt_state)

    def made(weights: Params | None) -> TrainState:
        params = nnx.to_pure_dict(nnx.state(make_model(config, spec), nnx.Param))
        codebooks = read_codebooks(spec) if config.init.codebooks else None
        if codebooks is not None:
            key = jax.random.fold_in(jax.random.key(config.seed), PROJECTION)
            params = start_from_codebooks(params, codebooks, key)
        for part, values in (weights or {}).items():
            params[part] = _overlaid(values, params[part])
        return first_state(params)

    def step(state: TrainState, batch: dict[str, jax.Array], phase: Phase) -> tuple[TrainState, Metrics]:
        params, ema, opt_state = split_parts(state.params), split_parts(state.ema), dict(state.opt_state)
        # A frozen part is used as its average, as in generation.
        fixed = {part: values for part, values in ema.items() if part in phase.idle}
        before = {part: values for part, values in params.items() if part not in phase.idle}

        def loss_of(learned: Params, batch: dict[str, jax.Array], key: jax.Array) -> tuple[jax.Array, Metrics]:
            model = nnx.merge(graphdef, join_parts({**learned, **fixed}))
            return total_loss(model, batch, key, phase.loss)

        key = jax.random.fold_in(jax.random.key(config.seed), state.step)
        (loss, metrics), gradients = jax.value_and_grad(loss_of, has_aux=True)(before, batch, key)
        norm = optax.tree.norm(gradients)
        finite = jnp.isfinite(loss) & jnp.isfinite(norm)
        shrink = jnp.minimum(1.0, config.optimizer.clip_norm / norm)
        rates: dict[str, jax.Array] = {}
        for part, gradient in gradients.items():
            begins, ends = learning[part]
            rate = make_schedule(config, begins, ends)(state.step)
            if part == "decoder":
                rate = rates["decoder_learning_rate"] = rate * config.optimizer.decoder_rate
            else:  # the largest of those that learn
                rates["learning_rate"] = jnp.maximum(rate, rates.get("learning_rate", 0.0))
            # Early on the average follows closely, or it would remember the start for 1 / (1 - decay) steps.
            age = jnp.maximum(state.step - begins, 0)
            decay = jnp.minimum(config.train.ema, (1.0 + age) / (10.0 + age))
            gradient = jax.tree.map(lambda x: x * shrink, gradient)
            updates, moments = optimizer.update(gradient, state.opt_state[part], before[part])
            moved = jax.tree.map(lambda x, by, rate=rate: x - rate * by, before[part], updates)
            average = jax.tree.map(lambda old, new, decay=decay: old + (1 - decay) * (new - old), ema[part], moved)
            # `where`, not a product: a NaN times zero is still NaN.
            params[part], ema[part], opt_state[part] = jax.tree.map(
                lambda new, old: jnp.where(finite, new, old),
                (moved, average, moments),
                (before[part], ema[part], state.opt_state[part]),
            )
        skipped = state.skipped + jnp.where(finite, 0, 1).astype(jnp.int32)
        metrics = {**metrics, **rates, "gradient_norm": norm, "skipped_steps": skipped}
        return TrainState(state.step + 1, skipped, join_parts(params), join_parts(ema), opt_state), metrics

    def evaluate(params: Params, batch: dict[str, jax.Array], number: jax.Array) -> Metrics:
        key = jax.random.fold_in(jax.random.key(config.seed), number)
        return total_loss(nnx.merge(graphdef, params), batch, key, loss_config, train=False)[1]

    def attend(params: Params, batch: dict[str, jax.Array]) -> Maps:
        return attention_maps(nnx.merge(graphdef, params), batch)

    shapes = jax.eval_shape(first_state, param_shapes)
    placed = sharding.shardings(shapes, mesh)
    abstract = jax.tree.map(lambda x, at: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=at), shapes, placed)
    # Runs once: not worth optimising, and on CPUs it compiles in half the time. The weights are an argument, since as
    # constants of the program they would be compiled with it.
    init = jax.jit(made, out_shardings=placed, compiler_options={"xla_backend_optimization_level": 0})

    def read() -> Params | None:
        decoder = read_start(config, spec, param_shapes.get("decoder", {}))
        return None if decoder is None else {"decoder": decoder}

    def first(weights: Params | None = None) -> TrainState:
        weights = read() if weights is None else weights
        if weights is not None:  # each device is given its share alone
            weights = jax.tree.map(
                lambda x, at: None if x is None else jax.device_put(x, at),
                weights,
                {part: placed.params[part] for part in weights},
                is_leaf=lambda x: x is None,
            )
        return init(weights)

    everywhere = NamedSharding(mesh, jax.sharding.PartitionSpec())
    batch_at = sharding.batch_sharding(mesh)
    return Program(
        mesh=mesh,
        graphdef=graphdef,
        abstract=abstract,
        batch_sharding=batch_at,
        read_start=read,
        init=first,
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
            for phase in phases
        ),
        evaluate=jax.jit(evaluate, in_shardings=(placed.ema, batch_at, everywhere), out_shardings=everywhere),
        # One example, now and then: compiling it must cost little, not running it.
        attend=jax.jit(
            attend,
            in_shardings=(placed.ema, batch_at),
            out_shardings=everywhere,
            compiler_options={"xla_backend_optimization_level": 0},
        ),
    )


def _overlaid(weights: Params, params: Params) -> Params:
    """The parameters, with ``weights`` wherever these are not ``None``."""
    return jax.tree.map(lambda new, old: old if new is None else new, weights, params, is_leaf=lambda x: x is None)
