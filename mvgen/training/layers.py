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
from collections.abc import Callable
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
    """``config.train.remat`` (one of ``REMAT``) and ``config.train.scan_layers``."""

    remat: str = NONE
    scan: bool = False

    @classmethod
    def from_config(cls, config: Any) -> LayerConfig:
        """From ``config.train``; runs of before these fields have neither.

        Raises:
            UserError: no such choice.
        """
        made = cls(config.train.get("remat", NONE), config.train.get("scan_layers", False))
        if made.remat not in REMAT:
            raise UserError(f"config.train.remat is {made.remat!r}; choose one of {', '.join(REMAT)}")
        return made


def split(x: jax.Array) -> jax.Array:
    """The same array ``[batch, time, ...]``, split over the mesh in sight: examples, and time along ``context``.

    An axis that the devices do not divide is left to the compiler. Left alone with all of it, it gathers examples
    rather than parameters over ``fsdp``, where these are fewer.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return x
    spec: list[Any] = [P.UNCONSTRAINED] * x.ndim
    if x.shape[0] % (mesh.shape["data"] * mesh.shape["fsdp"]) == 0:
        spec[0] = ("data", "fsdp")
    if x.shape[1] % mesh.shape[CONTEXT] == 0:
        spec[1] = CONTEXT
    return jax.lax.with_sharding_constraint(x, P(*spec))


class Single:
    """One layer, what goes in and out split over the mesh, and worked out again in the backward pass or not."""

    def __init__(self, layer: nnx.Module, config: LayerConfig):
        self._layer, self._config = layer, config

    def __call__(self, x: jax.Array, *inputs: Any, **options: Any) -> Any:
        x = split(x)
        if self._config.remat == NONE:
            return split(self._layer(x, *inputs, **options))
        graphdef, params = nnx.split(self._layer)

        # Options may hold what is no array (a list that weights are appended to): they are closed over.
        @jax.checkpoint
        def run(params: Any, *inputs: Any) -> Any:
            return split(nnx.merge(graphdef, params)(*inputs, **options))

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
        return self._loop(x, lambda graphdef, params, x: nnx.merge(graphdef, params)(x, *inputs, **options))

    def _loop(self, x: Any, layer: Callable[[Any, Any, Any], Any]) -> Any:
        def run(x: Any, params: Any) -> tuple[Any, None]:
            return split(layer(self._graphdef, params, split(x))), None

        # Inside a loop nothing can be merged with the forward pass, so no barrier against that is needed.
        run = run if self._config.remat == NONE else jax.checkpoint(run, prevent_cse=False)
        return jax.lax.scan(run, x, self._stacked)[0]


class ScannedDecoder(Scanned):
    """The token decoder's layers as one, with the parts that the decoder asks a layer for.

    Keys and values, which the decoder works out beforehand for each layer, are worked out inside the loop: until then
    what they are made of is handed on in their place.
    """

    @property
    def cross(self) -> Any:
        """Hands on what the cross-attention's keys and values are made of; ``None`` where there is none."""
        return self if self._has_cross else None

    @property
    def attention(self) -> Any:
        """Hands on what the self-attention's keys and values are made of."""
        return self

    def __init__(self, layers: list[nnx.Module], config: LayerConfig):
        super().__init__(layers, config)
        self._has_cross = layers[0].cross is not None  # type: ignore[attr-defined]

    def norm_self(self, x: Any) -> Any:
        """The same: each layer has its own."""
        return x

    def keys_values(self, made_of: Any, seconds: Any = None) -> tuple[Any, Any]:
        """What they are made of."""
        return made_of, seconds

    def __call__(self, x: Any, _: Any, __: Any, mask: Any, context: Any = None, *rest: Any, **options: Any) -> Any:
        def layer(graphdef: Any, params: Any, x: Any) -> Any:
            layer = nnx.merge(graphdef, params)
            keys, values = layer.attention.keys_values(layer.norm_self(x))
            pair = None if context is None else layer.cross.keys_values(*context)
            return layer(x, keys, values, mask, pair, *rest, **options)

        return self._loop(x, layer)


def arranged(model: Any, config: LayerConfig) -> Any:
    """The model with its stacks of layers run as the configuration asks; for use inside a traced function.

    A stack is an ``nnx.List`` named ``blocks`` (each called with the output of the one before and the same other
    inputs) or ``layers`` (those of the token decoder, which is also asked for their parts).
    """
    mesh = jax.sharding.get_abstract_mesh()
    if config == LayerConfig() and (mesh.empty or mesh.size == 1):
        return model
    for _, module in list(nnx.iter_modules(model)):
        for name in ("blocks", "layers"):
            stack = getattr(module, name, None)
            if not isinstance(stack, nnx.List) or not len(stack):
                continue
            layers = list(stack)
            if config.scan and len(layers) > 1:
                run: list[Any] = [(Scanned if name == "blocks" else ScannedDecoder)(layers, config)]
            else:
                run = [Single(layer, config) for layer in layers]
            # Not an nnx.List: what stands in it is no module, and the model is used for this one pass.
            object.__setattr__(module, name, run)
    return model
