"""How a stack of layers is run: its activations kept or worked out again, its program compiled once a layer or once.

*Recomputing* (rematerialisation, Chen et al. 2016): of each layer only what goes in is kept for the backward pass, and
the rest is worked out a second time: memory grows by one activation a layer instead of some thirty, for a third more
work. *Scanning*: all layers of a stack are one loop over stacked parameters, so that XLA compiles one layer, not forty.

*Context parallelism*: where the mesh has an axis ``context`` longer than one device, what goes from layer to layer is
split along its time over these devices, when they divide it. All of a layer but attention works on each moment alone;
in attention each device keeps its share of the queries and gathers the keys and values of all (Dubey et al. 2024,
section 3.3.2, train Llama 3 so), or, where there are many sequences at once, each takes whole ones.

All of these change how a model is run and not what it is: parameters keep their names and shapes, so any checkpoint
loads with any choice, and the results are the same but for the order of sums.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import PartitionSpec as P

from mvgen.errors import UserError
from mvgen.models.attention_kernels import CONTEXT

NONE, LAYERS = "none", "layers"
REMAT = (NONE, LAYERS)


@dataclasses.dataclass(frozen=True)
class LayerConfig:
    """``config.train.remat`` (one of ``REMAT``), ``config.train.scan_layers`` and ``config.mesh.context``."""

    remat: str = NONE
    scan: bool = False
    context: int = 1

    @classmethod
    def from_config(cls, config: Any) -> LayerConfig:
        """From ``config.train``; runs of before these fields have neither.

        Raises:
            UserError: no such choice.
        """
        train = config.train
        made = cls(train.get("remat", NONE), train.get("scan_layers", False), config.mesh.get("context", 1))
        if made.remat not in REMAT:
            raise UserError(f"config.train.remat is {made.remat!r}; choose one of {', '.join(REMAT)}")
        return made


def split_along_time(x: jax.Array, ways: int) -> jax.Array:
    """The same array ``[batch, time, ...]``, its time split over the ``ways`` devices of ``context``, if they divide
    it."""
    if ways == 1 or x.shape[1] % ways:
        return x
    free = [P.UNCONSTRAINED] * (x.ndim - 2)
    return jax.lax.with_sharding_constraint(x, P(P.UNCONSTRAINED, CONTEXT, *free))


class Single:
    """One layer, its activations split along time, and worked out again in the backward pass or not."""

    def __init__(self, layer: nnx.Module, config: LayerConfig):
        self._layer, self._config = layer, config

    def __call__(self, x: jax.Array, *inputs: Any, **options: Any) -> Any:
        ways = self._config.context
        x = split_along_time(x, ways)
        if self._config.remat == NONE:
            return split_along_time(self._layer(x, *inputs, **options), ways)  # type: ignore[operator]
        graphdef, params = nnx.split(self._layer)

        # Options may hold what is no array (a list that weights are appended to): they are closed over.
        @jax.checkpoint
        def run(params: Any, *inputs: Any) -> Any:
            return split_along_time(nnx.merge(graphdef, params)(*inputs, **options), ways)

        return run(params, x, *inputs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._layer, name)


class Scanned:
    """All layers of a stack as one: a loop over their stacked parameters, each given the same inputs but the first."""

    def __init__(self, layers: list[nnx.Module], config: LayerConfig):
        split = [nnx.split(layer) for layer in layers]
        self._graphdef = split[0][0]
        self._stacked = jax.tree.map(lambda *each: jnp.stack(each), *(params for _, params in split))
        self._config = config

    def __call__(self, x: Any, *inputs: Any, **options: Any) -> Any:
        ways = self._config.context

        def run(x: Any, params: Any) -> tuple[Any, None]:
            made = nnx.merge(self._graphdef, params)(split_along_time(x, ways), *inputs, **options)
            return split_along_time(made, ways), None

        # Inside a loop nothing can be merged with the forward pass, so no barrier against that is needed.
        run = run if self._config.remat == NONE else jax.checkpoint(run, prevent_cse=False)  # type: ignore[assignment]
        return jax.lax.scan(run, x, self._stacked)[0]


def arranged(model: Any, config: LayerConfig) -> Any:
    """The model with its stacks of layers run as the configuration asks; for use inside a traced function.

    A stack is an ``nnx.List`` named ``blocks`` (each called with the output of the one before and the same other
    inputs: scanned or recomputed) or ``layers`` (those of the token decoder, which are also asked for their parts:
    never scanned).
    """
    if config == LayerConfig():
        return model
    for _, module in list(nnx.iter_modules(model)):
        for name in ("blocks", "layers"):
            stack = getattr(module, name, None)
            if not isinstance(stack, nnx.List) or not len(stack):
                continue
            layers = list(stack)
            if config.scan and name == "blocks" and len(layers) > 1:
                run: list[Any] = [Scanned(layers, config)]
            else:
                run = [Single(layer, config) for layer in layers]
            # Not an nnx.List: what stands in it is no module, and the model is used for this one pass.
            object.__setattr__(module, name, run)
    return model
