"""Context parallelism: long sequences split over devices inside attention.

Where the mesh in sight has an axis ``context`` longer than one device, queries are split along their time: each device
works out the scores of its share of the queries over all keys, which are gathered. What the softmax sums over stays on
one device, so the result is that of one device but for the order of sums elsewhere. (Dubey et al. 2024, section 3.3.2,
train Llama 3 so.) A sequence that the axis does not divide stays whole.
"""

from __future__ import annotations

import jax
from jax.sharding import PartitionSpec as P
from jaxtyping import Array

AXIS = "context"


def split_along_time(x: Array, axis: int = 1) -> Array:
    """The same array, its axis of time split over the devices of ``context`` where there are several."""
    mesh = jax.sharding.get_abstract_mesh()
    ways = 1 if mesh.empty else mesh.shape.get(AXIS, 1)
    if ways == 1 or x.shape[axis] % ways:
        return x
    spec = [P.UNCONSTRAINED] * x.ndim
    spec[axis] = AXIS
    return jax.lax.with_sharding_constraint(x, P(*spec))
