"""Image autoencoders in JAX: the TAESD family, and the variational one of latent diffusion (AutoencoderKL).

Weights are named as diffusers names them, and the networks are read off those names: how many levels and blocks there
are, which change their width, and whether a block has a global branch (TAEF2's middle blocks do). Pictures are
``[batch, height, width, 3]`` from -1 to 1. Latents are ``(z - shift) * scale``, with about unit variance; of the
variational one, z is the mean.

TAESD: github.com/madebyollin/taesd. AutoencoderKL: Rombach et al. 2022, "High-Resolution Image Synthesis with Latent
Diffusion Models".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Weights = Mapping[str, Array]
"""By name: kernels of convolutions ``[height, width, in, out]``, of linear layers ``[in, out]``, vectors."""
Picture = Float[Array, "batch height width channels"]
POOL_GROUPS = 4
"""Of the group norm in a global branch."""
CLAMP = 3.0
"""TAESD's decoders take latents through ``3 tanh(z / 3)``."""
EPSILON = 1e-6


@dataclasses.dataclass(frozen=True)
class Form:
    """What the weights do not say: ``tiny`` or ``kl``, the latents' shift and scale, and the groups of norms."""

    kind: str
    shift: float = 0.0
    scale: float = 1.0
    groups: int = 32


def encode(weights: Weights, form: Form, picture: Picture) -> Picture:
    """Latents of pictures."""
    if form.kind == "tiny":
        z = _tiny(weights, "encoder.layers", (picture + 1) / 2, decoder=False)
    else:
        z = _kl_encoder(weights, form, picture)
    return (z - form.shift) * form.scale


def decode(weights: Weights, form: Form, latents: Picture) -> Picture:
    """Pictures from latents; they may lie a little outside of -1 to 1."""
    z = latents / form.scale + form.shift
    if form.kind == "tiny":
        return 2 * _tiny(weights, "decoder.layers", CLAMP * jnp.tanh(z / CLAMP), decoder=True) - 1
    return _kl_decoder(weights, form, z)


jitted_encode = partial(jax.jit, static_argnames="form")(encode)
jitted_decode = partial(jax.jit, static_argnames="form")(decode)


# --- layers ---------------------------------------------------------------------------------------------------------


def _convolution(weights: Weights, name: str, x: Picture, stride: int = 1, padding: int | None = None) -> Picture:
    kernel = weights[f"{name}.weight"]
    around = (kernel.shape[0] - 1) // 2 if padding is None else padding
    x = jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), [(around, around)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    bias = weights.get(f"{name}.bias")
    return x if bias is None else x + bias


def _group_norm(weights: Weights, name: str, x: Picture, groups: int, epsilon: float) -> Picture:
    batch, height, width, channels = x.shape
    parts = x.reshape(batch, height * width, groups, channels // groups)
    mean = parts.mean(axis=(1, 3), keepdims=True)
    variance = parts.var(axis=(1, 3), keepdims=True)
    normal = ((parts - mean) * jax.lax.rsqrt(variance + epsilon)).reshape(x.shape)
    return normal * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def _doubled(x: Picture) -> Picture:
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)


def _numbers(weights: Weights, prefix: str) -> list[int]:
    """Which numbers follow ``prefix.`` in the names of weights, in order."""
    return sorted({int(name[len(prefix) + 1 :].split(".", 1)[0]) for name in weights if name.startswith(f"{prefix}.")})


# --- TAESD ----------------------------------------------------------------------------------------------------------


def _tiny(weights: Weights, prefix: str, x: Picture, *, decoder: bool) -> Picture:
    """The sequence of layers. A convolution without bias follows a change of size: half on the way in, twice back."""
    for number in _numbers(weights, prefix):
        name = f"{prefix}.{number}"
        if f"{name}.conv.0.weight" in weights:
            x = _tiny_block(weights, name, x)
        elif f"{name}.bias" in weights:
            x = _convolution(weights, name, x)
            x = jax.nn.relu(x) if decoder and number == 0 else x
        else:
            x = _convolution(weights, name, _doubled(x) if decoder else x, 1 if decoder else 2)
    return x


def _tiny_block(weights: Weights, name: str, x: Picture) -> Picture:
    if f"{name}.pool.0.weight" in weights:
        y = _convolution(weights, f"{name}.pool.0", x)
        y = jax.nn.relu(_group_norm(weights, f"{name}.pool.1", y, POOL_GROUPS, 1e-5))
        x = x + _convolution(weights, f"{name}.pool.3", y)
    y = x
    for layer in (0, 2, 4):
        y = _convolution(weights, f"{name}.conv.{layer}", jax.nn.relu(y) if layer else y)
    skip = _convolution(weights, f"{name}.skip", x) if f"{name}.skip.weight" in weights else x
    return jax.nn.relu(y + skip)


# --- AutoencoderKL --------------------------------------------------------------------------------------------------


def _residual(weights: Weights, form: Form, name: str, x: Picture) -> Picture:
    y = x
    for number in (1, 2):
        y = jax.nn.silu(_group_norm(weights, f"{name}.norm{number}", y, form.groups, EPSILON))
        y = _convolution(weights, f"{name}.conv{number}", y)
    short = f"{name}.conv_shortcut"
    return y + (_convolution(weights, short, x) if f"{short}.weight" in weights else x)


def _attention(weights: Weights, form: Form, name: str, x: Picture) -> Picture:
    """Self-attention over all places with one head."""
    batch, height, width, channels = x.shape
    y = _group_norm(weights, f"{name}.group_norm", x, form.groups, EPSILON).reshape(batch, -1, channels)

    def linear(part: str, y: Array) -> Array:
        return y @ weights[f"{name}.{part}.weight"] + weights[f"{name}.{part}.bias"]

    q, k, v = (linear(part, y) for part in ("to_q", "to_k", "to_v"))
    shares = jax.nn.softmax(jnp.einsum("bqc,bkc->bqk", q, k) / channels**0.5, axis=-1)
    return x + linear("to_out.0", jnp.einsum("bqk,bkc->bqc", shares, v)).reshape(x.shape)


def _middle(weights: Weights, form: Form, name: str, x: Picture) -> Picture:
    x = _residual(weights, form, f"{name}.resnets.0", x)
    if f"{name}.attentions.0.to_q.weight" in weights:
        x = _attention(weights, form, f"{name}.attentions.0", x)
    return _residual(weights, form, f"{name}.resnets.1", x)


def _levels(
    weights: Weights, form: Form, prefix: str, x: Picture, resize: Callable[[str, Picture], Picture]
) -> Picture:
    for level in _numbers(weights, prefix):
        for block in _numbers(weights, f"{prefix}.{level}.resnets"):
            x = _residual(weights, form, f"{prefix}.{level}.resnets.{block}", x)
        x = resize(f"{prefix}.{level}", x)
    return x


def _ending(weights: Weights, form: Form, prefix: str, x: Picture) -> Picture:
    x = jax.nn.silu(_group_norm(weights, f"{prefix}.conv_norm_out", x, form.groups, EPSILON))
    return _convolution(weights, f"{prefix}.conv_out", x)


def _kl_encoder(weights: Weights, form: Form, x: Picture) -> Picture:
    def halved(name: str, x: Picture) -> Picture:
        if f"{name}.downsamplers.0.conv.weight" not in weights:
            return x
        x = jnp.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))
        return _convolution(weights, f"{name}.downsamplers.0.conv", x, 2, 0)

    x = _convolution(weights, "encoder.conv_in", x)
    x = _levels(weights, form, "encoder.down_blocks", x, halved)
    x = _ending(weights, form, "encoder", _middle(weights, form, "encoder.mid_block", x))
    x = _convolution(weights, "quant_conv", x) if "quant_conv.weight" in weights else x
    return x[..., : x.shape[-1] // 2]  # the rest are log variances


def _kl_decoder(weights: Weights, form: Form, x: Picture) -> Picture:
    def twice(name: str, x: Picture) -> Picture:
        upsampler = f"{name}.upsamplers.0.conv"
        return _convolution(weights, upsampler, _doubled(x)) if f"{upsampler}.weight" in weights else x

    x = _convolution(weights, "post_quant_conv", x) if "post_quant_conv.weight" in weights else x
    x = _middle(weights, form, "decoder.mid_block", _convolution(weights, "decoder.conv_in", x))
    return _ending(weights, form, "decoder", _levels(weights, form, "decoder.up_blocks", x, twice))
