"""Which program computes softmax attention: chosen by device and shape, all giving the same.

============  ====================================================================================================
``plain``     XLA's: all scores at once, any mask, any bias, any device
``chunked``   the same over shares of the queries, one after another, scores worked out again in the backward pass:
              where all at once would take more than ``LARGEST_SCORES`` bytes of a device
``splash``    TPU: scores never leave the chip (Pallas' splash attention); no mask, no bias, heads of a multiple of 64
``cudnn``     NVIDIA GPUs: the same by cuDNN's flash attention; no mask, no bias, bfloat16, heads of at most 128
============  ====================================================================================================

Flash kernels are taken where they can run and sequences are long enough to gain (``LEAST_FLASH`` keys); of a mask or a
bias in time they know nothing, so attention with one is plain or chunked. A kernel that is asked for by name and cannot
run says why.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, Float

CONTEXT = "context"
"""The mesh axis that splits long sequences (:mod:`mvgen.training.sharding`)."""
LARGEST_SCORES = 1 << 29
"""Bytes of float32 scores on one device, above which they are worked out in shares."""
LEAST_FLASH = 512
"""Keys from which on a flash kernel is taken: below, XLA's own fusion of the plain one is as fast."""
LANES, BLOCK = 128, 512
"""Splash pads times to multiples of LANES and works on blocks of at most BLOCK."""
KERNELS = ("plain", "chunked", "splash", "cudnn")


_ALWAYS_PLAIN: ContextVar[bool] = ContextVar("_ALWAYS_PLAIN", default=False)


@contextmanager
def always_plain() -> Iterator[None]:
    """What is traced inside takes the plain kernel, whose matrix products can be counted."""
    token = _ALWAYS_PLAIN.set(True)
    try:
        yield
    finally:
        _ALWAYS_PLAIN.reset(token)


class Place(NamedTuple):
    """Where attention is to run: the platform, and by how much each mesh axis divides (1 where there is no mesh)."""

    platform: str
    batch: int = 1
    context: int = 1
    tensor: int = 1

    @classmethod
    def in_sight(cls) -> Place:
        """That of the mesh in sight, or the default backend's."""
        mesh = jax.sharding.get_abstract_mesh()
        if mesh.empty:
            return cls(jax.default_backend())
        device = mesh.abstract_device
        kind = jax.default_backend() if device is None else (device.platform or device.device_kind)
        size = dict(mesh.shape)
        platform = "cuda" if kind in ("gpu", "cuda") else "tpu" if "tpu" in kind.lower() else kind
        return cls(platform, size.get("data", 1) * size.get("fsdp", 1), size.get(CONTEXT, 1), size.get("tensor", 1))


def choose(q: Any, k: Any, mask: Any, bias: Any, place: Place) -> str:
    """The kernel for queries and keys of these shapes and types (``[batch, time, heads, dim]``)."""
    for kernel in ("splash", "cudnn"):
        if k.shape[1] >= LEAST_FLASH and not why_not(kernel, q, k, mask, bias, place):
            return kernel
    return "chunked" if shares(q, k, place) > 1 else "plain"


def why_not(kernel: str, q: Any, k: Any, mask: Any, bias: Any, place: Place) -> str:
    """Why a kernel cannot compute this; empty where it can."""
    if kernel in ("plain", "chunked"):
        return ""
    if kernel not in KERNELS:
        return f"there is no kernel {kernel!r}; there are {', '.join(KERNELS)}"
    batch, queries, heads, dim = q.shape
    if mask is not None or bias is not None:
        return f"{kernel} attention knows no mask and no bias"
    if batch % place.batch or heads % place.tensor or queries % place.context:
        return f"{kernel} attention over {q.shape} does not divide over the mesh {place}"
    if kernel == "splash":
        if place.platform != "tpu":
            return f"splash attention runs on TPUs, not on {place.platform}"
        return "" if dim % 64 == 0 else f"splash attention wants heads of a multiple of 64 channels, not {dim}"
    if place.platform != "cuda":
        return f"cuDNN's attention runs on NVIDIA GPUs, not on {place.platform}"
    if q.dtype not in (jnp.bfloat16, jnp.float16):
        return f"cuDNN's attention computes in bfloat16 or float16, not {q.dtype}"
    if place.context > 1:
        return "cuDNN's attention does not split along the sequence"
    return "" if dim % 8 == 0 and dim <= 128 else f"cuDNN's attention wants heads of 8, 16, ... 128 channels, not {dim}"


def shares(q: Any, k: Any, place: Place) -> int:
    """Into how many shares of queries the plain scores must be cut to stay below ``LARGEST_SCORES`` bytes a device."""
    batch, queries, heads, _ = q.shape
    ways = math.gcd(batch, place.batch) * math.gcd(heads, place.tensor) * math.gcd(queries, place.context)
    return min(queries, -(-4 * batch * heads * queries * k.shape[1] // (LARGEST_SCORES * ways)))


def attention(
    q: Float[Array, "batch query heads dim"],
    k: Float[Array, "batch key heads dim"],
    v: Float[Array, "batch key heads dim"],
    mask: Bool[Array, "batch heads query key"] | None = None,
    bias: Float[Array, "1 heads query key"] | None = None,
    *,
    kernel: str = "",
    interpret: bool = False,
) -> Float[Array, "batch query heads dim"]:
    """Softmax attention, scores scaled by the square root of ``dim``.

    Args:
        q: queries.
        k: keys.
        v: values.
        mask: what each query may see; axes of length one stand for all.
        bias: what is added to the scores, in float32: a bfloat16 one would make near distances equal.
        kernel: one of ``KERNELS``; empty: the best that can run here.
        interpret: run a TPU kernel by interpreting it, on any device (for tests).

    Raises:
        ValueError: the kernel that was asked for cannot compute this here.
    """
    place = Place.in_sight()
    if interpret:
        place = place._replace(platform="tpu")
    if kernel and (reason := why_not(kernel, q, k, mask, bias, place)):
        raise ValueError(reason)
    kernel = kernel or ("plain" if _ALWAYS_PLAIN.get() else choose(q, k, mask, bias, place))
    if kernel == "splash":
        return _splash(q, k, v, place, interpret)
    if kernel == "cudnn":
        return jax.nn.dot_product_attention(q, k, v, implementation="cudnn")
    if kernel == "chunked":
        return _chunked(q, k, v, mask, bias, shares(q, k, place))
    return jax.nn.dot_product_attention(q, k, v, mask=mask, bias=bias)


def _chunked(q: Array, k: Array, v: Array, mask: Array | None, bias: Array | None, count: int) -> Array:
    """Plain attention of every ``count``-th query at a time.

    Every ``count``-th, not a run of them: a sequence that is split over devices stays split in each share.
    """
    queries = q.shape[1]
    per = -(-queries // count)
    spare = per * count - queries

    def cut(x: Array, axis: int) -> Array:
        x = jnp.pad(x, [(0, spare if number == axis else 0) for number in range(x.ndim)])
        return jnp.moveaxis(x.reshape(*x.shape[:axis], per, count, *x.shape[axis + 1 :]), axis + 1, 0)

    def rows(x: Array | None) -> Array | None:
        """Shares of a mask or bias; one row for all queries stays with each share."""
        if x is None or x.shape[2] == 1:
            return None
        return cut(x, 2)

    def one(share: tuple[Array, Array | None, Array | None]) -> Array:
        part, part_mask, part_bias = share
        return jax.nn.dot_product_attention(
            part, k, v, mask=mask if part_mask is None else part_mask, bias=bias if part_bias is None else part_bias
        )

    mixed = jax.lax.map(jax.checkpoint(one, prevent_cse=False), (cut(q, 1), rows(mask), rows(bias)))
    mixed = jnp.moveaxis(mixed, 0, 2).reshape(q.shape[0], per * count, *q.shape[2:])
    return mixed[:, :queries]


@cache
def _splash_kernel(heads: int, queries: int, keys: int, interpret: bool) -> Any:
    """The kernel over lengths that are multiples of ``LANES``."""
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernels
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    def block(length: int) -> int:
        return max(size for size in range(LANES, BLOCK + 1, LANES) if length % size == 0)

    at_once, over = block(queries), block(keys)
    sizes = kernels.BlockSizes(
        block_q=at_once, block_kv=over, block_kv_compute=over,
        block_q_dkv=at_once, block_kv_dkv=over, block_kv_dkv_compute=over, block_q_dq=at_once, block_kv_dq=over,
    )  # fmt: skip
    mask = masks.MultiHeadMask([masks.FullMask((queries, keys)) for _ in range(heads)])
    return kernels.make_splash_mha(mask=mask, block_sizes=sizes, head_shards=1, q_seq_shards=1, interpret=interpret)


def _splash(q: Array, k: Array, v: Array, place: Place, interpret: bool) -> Array:
    """Splash attention of each device's share; times are padded, padded keys belong to another segment."""
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernels

    dim, keys = q.shape[3], k.shape[1]
    scale = dim**-0.5

    def one_device(q: Array, k: Array, v: Array) -> Array:
        queries = q.shape[1]

        def laid(x: Array) -> Array:
            length = -(-x.shape[1] // LANES) * LANES
            x = jnp.pad(x, ((0, 0), (0, length - x.shape[1]), (0, 0), (0, 0)))
            return x.transpose(0, 2, 1, 3)

        q, k, v = laid(q * jnp.asarray(scale, q.dtype)), laid(k), laid(v)
        kernel = _splash_kernel(q.shape[1], q.shape[2], k.shape[2], interpret)
        segments = kernels.SegmentIds(
            q=jnp.zeros(q.shape[2], jnp.int32), kv=(jnp.arange(k.shape[2]) >= keys).astype(jnp.int32)
        )
        mixed = jax.vmap(partial(kernel, segment_ids=segments))(q, k, v)
        return mixed.transpose(0, 2, 1, 3)[:, :queries].astype(v.dtype)

    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return one_device(q, k, v)
    if q.shape[0] % (place.batch * place.context) == 0:
        # Many sequences at once (the denoiser's frames, or its patches): each device takes whole ones.
        split = whole = P(("data", "fsdp", CONTEXT), None, "tensor", None)
    else:
        split = P(("data", "fsdp"), CONTEXT, "tensor", None)
        whole = P(("data", "fsdp"), None, "tensor", None)
    return jax.shard_map(one_device, in_specs=(split, whole, whole), out_specs=split, check_vma=False)(q, k, v)
