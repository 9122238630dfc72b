"""How a stack of layers is run: its activations kept or worked out again, its program compiled once a layer or once.

*Recomputing* (rematerialisation, Chen et al. 2016): of each layer only what goes in is kept for the backward pass, and
the rest is worked out a second time: memory grows by one activation a layer instead of some thirty, for a third more
work. *Scanning*: all layers of a stack are one loop over stacked parameters, so that XLA compiles one layer, not forty.

Both change how a model is run and not what it is: parameters keep their names and shapes, so any checkpoint loads with
any choice, and the results are the same.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from mvgen.errors import UserError

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


class Recomputed:
    """A layer whose activations are worked out again in the backward pass; all else of it is as it was."""

    def __init__(self, layer: nnx.Module):
        self._layer = layer

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        graphdef, params = nnx.split(self._layer)

        # Options may hold what is no array (a list that weights are appended to): they are closed over.
        @jax.checkpoint
        def run(params: Any, *inputs: Any) -> Any:
            return nnx.merge(graphdef, params)(*inputs, **options)

        return run(params, *inputs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._layer, name)


class Scanned:
    """All layers of a stack as one: a loop over their stacked parameters, each given the same inputs but the first."""

    def __init__(self, layers: list[nnx.Module], remat: str):
        split = [nnx.split(layer) for layer in layers]
        self._graphdef = split[0][0]
        self._stacked = jax.tree.map(lambda *each: jnp.stack(each), *(params for _, params in split))
        self._remat = remat

    def __call__(self, x: Any, *inputs: Any, **options: Any) -> Any:
        def run(x: Any, params: Any) -> tuple[Any, None]:
            return nnx.merge(self._graphdef, params)(x, *inputs, **options), None

        # Inside a loop nothing can be merged with the forward pass, so no barrier against that is needed.
        run = run if self._remat == NONE else jax.checkpoint(run, prevent_cse=False)  # type: ignore[assignment]
        return jax.lax.scan(run, x, self._stacked)[0]


def arranged(model: Any, config: LayerConfig) -> Any:
    """The model with its stacks of layers run as the configuration asks; for use inside a traced function.

    A stack is an ``nnx.List`` named ``blocks`` (each called with the output of the one before and the same other
    inputs: scanned or recomputed) or ``layers`` (those of the token decoder, which are also asked for their parts: never
    scanned).
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
                run: list[Any] = [Scanned(layers, config.remat)]
            elif config.remat != NONE:
                run = [Recomputed(layer) for layer in layers]
            else:
                continue
            # Not an nnx.List: what stands in it is no module, and the model is used for this one pass.
            object.__setattr__(module, name, run)
    return model
