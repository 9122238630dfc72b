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
from jax.sharding import Mesh, NamedSharding, use_abstract_mesh

from mvgen.data.records import RecordSpec
from mvgen.models.attention_maps import Maps, attention_maps
from mvgen.models.config import MVGenConfig
from mvgen.models.mvgen import MVGen
from mvgen.training import sharding
from mvgen.training.initialisation import read_codebooks, read_start, start_from_codebooks
from mvgen.training.layers import LayerConfig, arranged
from mvgen.training.losses import LossConfig, total_loss
from mvgen.training.optimizer import average_step, learned_parts, make_optimizer, make_schedule

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
        params: the parameters.
        ema: their running average, used for evaluation and generation.
        opt_state: optax's, of the parts that learn; in it how many steps were not finite and changed nothing.
    """

    step: jax.Array
    params: Params
    ema: Params
    opt_state: optax.OptState


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
        step: ``(state, batch) -> (state, metrics)``; the given state's memory is used up.
        evaluate: ``(params, batch, number) -> metrics`` of the number-th (int32) evaluation batch.
        attend: ``(params, batch) -> maps``: what attention looks at in the first example of a batch.
    """

    mesh: Mesh
    graphdef: nnx.GraphDef
    abstract: TrainState
    batch_sharding: NamedSharding
    read_start: Callable[[], Params | None]
    init: Callable[..., TrainState]
    step: Any
    evaluate: Any
    attend: Any


def make_model(config: Any, spec: RecordSpec) -> MVGen:
    """A model with fresh parameters, seeded by ``config.seed``."""
    return MVGen(MVGenConfig.from_config(config, spec), rngs=_Keys(config.seed))  # type: ignore[arg-type]


class _Keys:
    """The keys of ``nnx.Rngs(seed)``, one after another, counted by Python.

    Flax counts in a variable that is set anew for each parameter, and setting one while tracing searches all that has
    been traced so far: minutes for a model of a hundred layers.
    """

    def __init__(self, seed: int):
        self._key, self._count = jax.random.key(seed), 0

    def params(self) -> jax.Array:
        """The next key."""
        self._count += 1
        return jax.random.fold_in(self._key, self._count - 1)


def abstract_model(config: Any, spec: RecordSpec) -> tuple[nnx.GraphDef, Params]:
    """The model's structure and its parameters' shapes (``ShapeDtypeStruct``), with nothing computed."""
    graphdef, params = nnx.split(nnx.eval_shape(lambda: make_model(config, spec)), nnx.Param)
    return graphdef, nnx.to_pure_dict(params)


def first_state(config: Any, params: Params) -> TrainState:
    """The state before the first step, of parameters (or their shapes, where it is traced)."""
    opt_state = make_optimizer(config).init({part: params[part] for part in learned_parts(config)})
    # The average is a copy, not the same array: both are donated at every step.
    return TrainState(jnp.zeros((), jnp.int32), params, jax.tree.map(jnp.copy, params), opt_state)


def build(config: Any, spec: RecordSpec, mesh: Mesh) -> Program:
    """Prepares the programs of a run; nothing is compiled until it is called.

    Raises:
        UserError: the configuration contradicts itself or the records.
        ValueError: a parameter that no sharding rule matches.
    """
    graphdef, param_shapes = abstract_model(config, spec)
    optimizer, schedule = make_optimizer(config), make_schedule(config)
    loss_config = LossConfig.from_config(config)
    learning = learned_parts(config)
    run_layers = LayerConfig.from_config(config)

    def model_of(params: Params) -> MVGen:
        return arranged(nnx.merge(graphdef, params), run_layers)

    def made(weights: Params | None) -> TrainState:
        params = nnx.to_pure_dict(nnx.state(make_model(config, spec), nnx.Param))
        codebooks = read_codebooks(spec) if config.init.codebooks else None
        if codebooks is not None:
            key = jax.random.fold_in(jax.random.key(config.seed), PROJECTION)
            params = start_from_codebooks(params, codebooks, key)
        for part, values in (weights or {}).items():
            params[part] = _overlaid(values, params[part])
        return first_state(config, params)

    def step(state: TrainState, batch: dict[str, jax.Array]) -> tuple[TrainState, Metrics]:
        frozen = {part: values for part, values in state.params.items() if part not in learning}
        before = {part: state.params[part] for part in learning}

        def loss_of(learned: Params, batch: dict[str, jax.Array], key: jax.Array) -> tuple[jax.Array, Metrics]:
            with use_abstract_mesh(mesh.abstract_mesh):  # which models ask for, to split sequences and choose kernels
                return total_loss(model_of({**frozen, **learned}), batch, key, loss_config)

        key = jax.random.fold_in(jax.random.key(config.seed), state.step)
        (_, metrics), gradients = jax.value_and_grad(loss_of, has_aux=True)(before, batch, key)
        updates, opt_state = optimizer.update(gradients, state.opt_state, before)
        rate = schedule(state.step)
        rates = {"learning_rate": rate, "decoder_learning_rate": rate * config.optimizer.decoder_rate}

        def moved(path: tuple[Any, ...], value: jax.Array, by: jax.Array) -> jax.Array:
            in_decoder = path[0].key == "decoder" and path[1].key != "token_head"
            return value - rates["decoder_learning_rate" if in_decoder else "learning_rate"] * by

        after = jax.tree_util.tree_map_with_path(moved, before, updates)
        follows = jnp.where(opt_state.last_finite, average_step(config, state.step), 0.0)
        average = optax.incremental_update(after, {part: state.ema[part] for part in learning}, follows)
        metrics = {**metrics, **rates, "gradient_norm": optax.tree.norm(gradients),
                   "skipped_steps": opt_state.total_notfinite, "skipped_in_row": opt_state.notfinite_count}  # fmt: skip
        return TrainState(state.step + 1, {**frozen, **after}, {**state.ema, **average}, opt_state), metrics

    def evaluate(params: Params, batch: dict[str, jax.Array], number: jax.Array) -> Metrics:
        key = jax.random.fold_in(jax.random.key(config.seed), number)
        with use_abstract_mesh(mesh.abstract_mesh):
            return total_loss(model_of(params), batch, key, loss_config, train=False)[1]

    def attend(params: Params, batch: dict[str, jax.Array]) -> Maps:
        return attention_maps(nnx.merge(graphdef, params), batch)

    shapes = jax.eval_shape(partial(first_state, config), param_shapes)
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
        step=jax.jit(step, in_shardings=(placed, batch_at), out_shardings=(placed, everywhere), donate_argnums=0),
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
