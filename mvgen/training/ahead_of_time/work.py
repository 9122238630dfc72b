"""Model FLOPs: the matrix products that a training step asks for, counted from what is traced, before any compiler.

Written definition. All products of matrices (``dot_general``) and convolutions of the loss and its gradients, for the
whole batch, two operations a multiply-add; a loop's body as often as it runs; attention in full, masked scores too (of
a causal decoder half of them are zero: here under 1 % of all); nothing that rematerialisation does again, no optimizer,
no elementwise work. Model FLOPs utilisation (MFU; Chowdhery et al. 2022, appendix B) is these, divided by the step's
time, the number of devices and what one of them could do in that time.
"""

from __future__ import annotations

import math
from typing import Any

import jax


def products(jaxpr: Any) -> float:
    """Operations of all matrix products in a jaxpr and what it calls."""
    total = 0.0
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        if name == "dot_general":
            ((over, _), _) = equation.params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            total += 2.0 * math.prod(equation.outvars[0].aval.shape) * math.prod(left[axis] for axis in over)
        elif name == "conv_general_dilated":
            kernel = equation.invars[1].aval.shape
            out = equation.params["dimension_numbers"].rhs_spec[0]
            total += 2.0 * math.prod(equation.outvars[0].aval.shape) * math.prod(kernel) / kernel[out]
        else:
            inner = [products(each) for each in _called(equation.params)]
            if name == "scan":
                total += equation.params["length"] * sum(inner)
            elif name == "cond":
                total += max(inner, default=0.0)
            elif name not in ("custom_jvp_call", "custom_vjp_call"):
                total += sum(inner)
            else:  # what is called stands first, its rules after it
                total += inner[0] if inner else 0.0
    return total


def _called(params: dict[str, Any]) -> list[Any]:
    found = []
    for value in params.values():
        for each in value if isinstance(value, (tuple, list)) else (value,):
            each = getattr(each, "jaxpr", each)
            if hasattr(each, "eqns"):
                found.append(each)
    return found


def model_flops(function: Any, *shapes: Any) -> float:
    """Model FLOPs of a function that is traced with these shapes."""
    return products(jax.make_jaxpr(function)(*shapes).jaxpr)
