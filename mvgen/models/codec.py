"""EnCodec in Flax: sound to tokens and back, number for number as transformers' ``EncodecModel``.

The architecture is that of Defossez et al., "High Fidelity Neural Audio Compression" (2022): a convolutional encoder
(SEANet), residual vector quantisation, a mirrored decoder. MusicGen's codec is one of these: 32 kHz, 640 samples a
token, 4 codebooks. Weights come through :func:`mvgen.interop.encodec.load_encodec`.

Activations are ``[batch, time, channels]``. Strided and transposed convolutions have kernels twice their stride, so
both are written as plain matrix products over blocks of ``stride`` samples, which XLA runs faster than the
convolutions themselves, on a CPU above all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jaxtyping import Array, Float, Int

from mvgen.errors import UserError

HIGHEST = lax.Precision.HIGHEST
"""Codes are decided by small differences: accelerators must not round products to bfloat16 or TF32."""


@dataclass(frozen=True)
class CodecConfig:
    """The fields of transformers' ``EncodecConfig`` that matter, under its names; see :meth:`from_dict`.

    ``codebooks`` is transformers' ``num_quantizers``, which it derives from the highest target bandwidth.
    """

    sampling_rate: int = 32_000
    num_filters: int = 64
    hidden_size: int = 128
    codebooks: int = 4
    codebook_size: int = 2048
    codebook_dim: int = 128
    upsampling_ratios: tuple[int, ...] = (8, 5, 4, 4)
    num_residual_layers: int = 1
    kernel_size: int = 7
    last_kernel_size: int = 7
    residual_kernel_size: int = 3
    dilation_growth_rate: int = 2
    compress: int = 2
    num_lstm_layers: int = 2
    use_causal_conv: bool = False
    use_conv_shortcut: bool = False
    pad_mode: str = "reflect"
    trim_right_ratio: float = 1.0

    @property
    def hop(self) -> int:
        """Samples a token."""
        return math.prod(self.upsampling_ratios)

    @classmethod
    def from_dict(cls, config: dict) -> CodecConfig:
        """From the content of a ``config.json``; fields that it lacks have transformers' defaults.

        Raises:
            UserError: the configuration asks for what this module does not do (stereo, loudness normalisation, group
                norm, chunked encoding) or is none of EnCodec's.
        """
        if config.get("model_type") != "encodec":
            raise UserError(f"the configuration is of a {config.get('model_type')!r} model, not of an EnCodec")
        defaults = {"sampling_rate": 24_000, "num_filters": 32, "codebook_size": 1024, "use_causal_conv": True,
                    "upsampling_ratios": (8, 5, 4, 2), "use_conv_shortcut": True}  # fmt: skip
        unsupported = {"normalize": False, "norm_type": "weight_norm", "audio_channels": 1, "chunk_length_s": None}
        for name, wanted in unsupported.items():
            if config.get(name, wanted) != wanted:
                raise UserError(f"an EnCodec with {name}={config[name]!r} is not supported, only {wanted!r}")
        if config.get("pad_mode", "reflect") not in ("reflect", "constant", "replicate"):
            raise UserError(f"an EnCodec with pad_mode={config['pad_mode']!r} is not supported")
        names = [name for name in cls.__dataclass_fields__ if name != "codebooks"]
        values = {name: config.get(name, defaults.get(name)) for name in names}
        values = {name: value for name, value in values.items() if value is not None}
        values["upsampling_ratios"] = tuple(values["upsampling_ratios"])
        values.setdefault("codebook_dim", values.get("hidden_size", cls.hidden_size))
        rate = math.ceil(values["sampling_rate"] / math.prod(values["upsampling_ratios"]))
        bits = math.ceil(math.log2(values["codebook_size"]))
        bandwidth = config.get("target_bandwidths", (1.5, 3.0, 6.0, 12.0, 24.0))[-1]
        return cls(codebooks=int(1000 * bandwidth // (rate * bits)), **values)


def pad_time(x: Float[Array, "B n C"], left: int, right: int, mode: str) -> Float[Array, "B m C"]:
    """Pads along time as transformers does: zeros first lengthen ``x`` where a reflection would reach past its end."""
    widths = ((0, 0), (left, right), (0, 0))
    if mode == "constant":
        return jnp.pad(x, widths)
    if mode == "replicate":
        return jnp.pad(x, widths, mode="edge")
    extra = max(0, max(left, right) - x.shape[1] + 1)
    padded = jnp.pad(jnp.pad(x, ((0, 0), (0, extra), (0, 0))), widths, mode="reflect")
    return padded[:, : padded.shape[1] - extra]


class Elu(nnx.Module):
    """The activation, as a module so that places in the list of layers are transformers' own."""

    def __call__(self, x: Array) -> Array:
        return jax.nn.elu(x)


class Convolution(nnx.Module):
    """EnCodec's convolution: ``[B, n, in]`` to ``[B, ceil(n / stride), out]``."""

    def __init__(self, config: CodecConfig, inputs: int, outputs: int, taps: int, stride: int = 1, dilation: int = 1):
        self.kernel = nnx.Param(jnp.zeros((taps, inputs, outputs)))
        self.bias = nnx.Param(jnp.zeros(outputs))
        self.causal, self.pad_mode = config.use_causal_conv, config.pad_mode
        self.stride, self.dilation = stride, dilation

    def __call__(self, x: Float[Array, "B n I"]) -> Float[Array, "B m O"]:
        taps, inputs, outputs = self.kernel.shape
        stride = self.stride
        total = (taps - 1) * self.dilation + 1 - stride
        extra = -x.shape[1] % stride  # so that every sample falls into an output
        right = 0 if self.causal else total // 2
        x = pad_time(x, total - right, right + extra, self.pad_mode)
        kernel = self.kernel[...]
        if taps == 1:
            return jnp.einsum("bni,io->bno", x, kernel[0], precision=HIGHEST) + self.bias[...]
        if taps == 2 * stride and self.dilation == 1:
            # Blocks of `stride` samples; an output takes its own block and the next.
            blocks = x.reshape(x.shape[0], -1, stride * inputs)
            pairs = jnp.concatenate([blocks[:, :-1], blocks[:, 1:]], axis=-1)
            matrix = kernel.reshape(taps * inputs, outputs)
            return jnp.einsum("bnp,po->bno", pairs, matrix, precision=HIGHEST) + self.bias[...]
        made = lax.conv_general_dilated(
            x, kernel, (stride,), "VALID", rhs_dilation=(self.dilation,), dimension_numbers=("NWC", "WIO", "NWC"),
            precision=HIGHEST,
        )  # fmt: skip
        return made + self.bias[...]


class TransposedConvolution(nnx.Module):
    """EnCodec's transposed convolution with ``2 stride`` taps: ``[B, n, in]`` to ``[B, n stride, out]``."""

    def __init__(self, config: CodecConfig, inputs: int, outputs: int, stride: int):
        self.kernel = nnx.Param(jnp.zeros((2 * stride, inputs, outputs)))
        self.bias = nnx.Param(jnp.zeros(outputs))
        self.stride = stride
        self.trim_right = math.ceil(stride * config.trim_right_ratio) if config.use_causal_conv else stride // 2

    def __call__(self, x: Float[Array, "B n I"]) -> Float[Array, "B m O"]:
        _, inputs, outputs = self.kernel.shape
        stride, (batch, n, _) = self.stride, x.shape
        matrix = self.kernel[...].transpose(1, 0, 2).reshape(inputs, 2 * stride * outputs)
        both = jnp.einsum("bni,ip->bnp", x, matrix, precision=HIGHEST)
        # Each input fills its own block of `stride` outputs and the next.
        own, following = both[..., : stride * outputs], both[..., stride * outputs :]
        made = jnp.pad(own, ((0, 0), (0, 1), (0, 0))) + jnp.pad(following, ((0, 0), (1, 0), (0, 0)))
        made = made.reshape(batch, (n + 1) * stride, outputs)
        first = stride - self.trim_right
        return made[:, first : first + n * stride] + self.bias[...]


class Recurrence(nnx.Module):
    """A stack of LSTM layers beside an identity path, ``[B, n, D]`` to the same.

    ``silent`` is set by the loader when all weights are zero: the layers then add exactly nothing and are skipped.
    """

    def __init__(self, dimension: int, layers: int):
        self.input_kernels = nnx.Param(jnp.zeros((layers, dimension, 4 * dimension)))
        self.state_kernels = nnx.Param(jnp.zeros((layers, dimension, 4 * dimension)))
        self.biases = nnx.Param(jnp.zeros((layers, 4 * dimension)))
        self.silent = False

    def __call__(self, x: Float[Array, "B n D"]) -> Float[Array, "B n D"]:
        return self.advance(x, self.start(x.shape[0]))[0]

    def start(self, batch: int) -> Float[Array, "layers 2 B D"]:
        """State and cell of every layer before anything was heard."""
        layers, dimension = self.biases.shape[0], self.biases.shape[1] // 4
        return jnp.zeros((layers, 2, batch, dimension), self.biases.dtype)

    def advance(self, x: Float[Array, "B n D"], states: Float[Array, "layers 2 B D"]) -> tuple[Array, Array]:
        """Goes on from ``states``; the result for ``x``, and the states after it."""
        if self.silent:
            return x, states
        made, after = x, []
        for layer in range(self.biases.shape[0]):
            weights = self.input_kernels[layer], self.state_kernels[layer], self.biases[layer]
            made, state = self._layer(made, *weights, states[layer])
            after.append(state)
        return made + x, jnp.stack(after)

    @staticmethod
    def _layer(x: Array, input_kernel: Array, state_kernel: Array, bias: Array, start: Array) -> tuple[Array, Array]:
        drive = jnp.einsum("bnd,dg->nbg", x, input_kernel, precision=HIGHEST) + bias

        def advance(carry: tuple[Array, Array], drive_now: Array) -> tuple[tuple[Array, Array], Array]:
            state, cell = carry
            gates = drive_now + jnp.matmul(state, state_kernel, precision=HIGHEST)
            admit, keep, candidate, show = jnp.split(gates, 4, axis=-1)  # torch's order: i, f, g, o
            cell = jax.nn.sigmoid(keep) * cell + jax.nn.sigmoid(admit) * jnp.tanh(candidate)
            state = jax.nn.sigmoid(show) * jnp.tanh(cell)
            return (state, cell), state

        end, states = lax.scan(advance, (start[0], start[1]), drive)
        return states.transpose(1, 0, 2), jnp.stack(end)


class ResidualBlock(nnx.Module):
    """Two convolutions beside an identity path (or a 1-tap convolution), ``[B, n, C]`` to the same."""

    def __init__(self, config: CodecConfig, channels: int, dilation: int):
        hidden = channels // config.compress
        self.block = nnx.List([
            Elu(), Convolution(config, channels, hidden, config.residual_kernel_size, dilation=dilation),
            Elu(), Convolution(config, hidden, channels, 1),
        ])  # fmt: skip
        self.shortcut = Convolution(config, channels, channels, 1) if config.use_conv_shortcut else None

    def __call__(self, x: Float[Array, "B n C"]) -> Float[Array, "B n C"]:
        made = x
        for layer in self.block:
            made = layer(made)
        return made + (x if self.shortcut is None else self.shortcut(x))


class Encoder(nnx.Module):
    """Sound ``[B, n, 1]`` to latents ``[B, ceil(n / hop), D]``."""

    def __init__(self, config: CodecConfig):
        channels = config.num_filters
        layers: list[nnx.Module] = [Convolution(config, 1, channels, config.kernel_size)]
        for ratio in reversed(config.upsampling_ratios):
            layers += [
                ResidualBlock(config, channels, config.dilation_growth_rate**j)
                for j in range(config.num_residual_layers)
            ]
            layers += [Elu(), Convolution(config, channels, 2 * channels, 2 * ratio, stride=ratio)]
            channels *= 2
        layers += [Recurrence(channels, config.num_lstm_layers), Elu()]
        layers += [Convolution(config, channels, config.hidden_size, config.last_kernel_size)]
        self.layers = nnx.List(layers)

    def __call__(self, x: Float[Array, "B n 1"]) -> Float[Array, "B T D"]:
        for layer in self.layers:
            x = layer(x)
        return x


class Decoder(nnx.Module):
    """Latents ``[B, T, D]`` to sound ``[B, T hop, 1]``."""

    def __init__(self, config: CodecConfig):
        channels = config.num_filters * 2 ** len(config.upsampling_ratios)
        layers: list[nnx.Module] = [Convolution(config, config.hidden_size, channels, config.kernel_size)]
        layers += [Recurrence(channels, config.num_lstm_layers)]
        for ratio in config.upsampling_ratios:
            layers += [Elu(), TransposedConvolution(config, channels, channels // 2, ratio)]
            channels //= 2
            layers += [
                ResidualBlock(config, channels, config.dilation_growth_rate**j)
                for j in range(config.num_residual_layers)
            ]
        layers += [Elu(), Convolution(config, channels, 1, config.last_kernel_size)]
        self.layers = nnx.List(layers)

    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B n 1"]:
        for layer in self.layers:
            x = layer(x)
        return x


class EncodecNetwork(nnx.Module):
    """Encoder, codebooks and decoder; all weights are zero until they are loaded."""

    def __init__(self, config: CodecConfig):
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.entries = nnx.Param(jnp.zeros((config.codebooks, config.codebook_size, config.codebook_dim)))

    def encode(self, sound: Float[Array, "B n"]) -> Int[Array, "B T K"]:
        """Codes: on every level the entry nearest to what the levels before have left."""
        residual = self.encoder(sound[:, :, None])
        codes = []
        for entries in self.entries[...]:
            products = jnp.einsum("btd,nd->btn", residual, entries, precision=HIGHEST)
            distances = jnp.square(residual).sum(-1, keepdims=True) - 2 * products + jnp.square(entries).sum(-1)
            nearest = jnp.argmin(distances, axis=-1)
            residual = residual - entries[nearest]
            codes.append(nearest)
        return jnp.stack(codes, axis=-1).astype(jnp.int32)

    def decode(self, codes: Int[Array, "B T K"]) -> Float[Array, "B n"]:
        """Sound from the sum of the entries."""
        return self.decoder(self.latents(codes))[:, :, 0]

    def latents(self, codes: Int[Array, "B T K"]) -> Float[Array, "B T D"]:
        """The sum of the entries."""
        latents = self.entries[0][codes[:, :, 0]]
        for level in range(1, codes.shape[-1]):
            latents = latents + self.entries[level][codes[:, :, level]]
        return latents


class Codec:
    """A codec ready to use; both ways are compiled once for each shape they meet.

    Args:
        network: with its weights loaded.
        name: what it is called in records and messages.

    Attributes:
        sampling_rate: samples a second. codebooks: tokens per time step. codebook_size: entries of each codebook.
        hop: samples a time step. graph, state: the network, split.
    """

    def __init__(self, network: EncodecNetwork, name: str):
        config = network.config
        self.name, self.config = name, config
        self.sampling_rate, self.hop = config.sampling_rate, config.hop
        self.codebooks, self.codebook_size = config.codebooks, config.codebook_size
        graph, self.state = nnx.split(network)
        self.graph = graph
        # Weights are an argument, not a constant: constants of this size slow compilation down.
        self._encode = jax.jit(lambda state, sound: nnx.merge(graph, state).encode(sound))
        self._decode = jax.jit(lambda state, codes: nnx.merge(graph, state).decode(codes))

    def encode(self, sound: Float[Array, "B n"] | np.ndarray) -> Int[Array, "B T K"]:
        """Tokens of a sound: float32 ``[B, n]`` at :attr:`sampling_rate` to int32 ``[B, ceil(n / hop), codebooks]``.

        Raises:
            UserError: the sound is empty or has samples that are not finite numbers.
        """
        if sound.ndim != 2 or sound.shape[1] == 0:
            raise UserError(f"sound must be [batch, samples] with at least one sample, not {tuple(sound.shape)}")
        if not np.isfinite(np.asarray(sound)).all():
            raise UserError("the sound has samples that are not finite numbers")
        return self._encode(self.state, jnp.asarray(sound, jnp.float32))

    def decode(self, codes: Int[Array, "B T K"] | np.ndarray) -> Float[Array, "B n"]:
        """Sound of tokens: ``[B, T, codebooks]``, or fewer of the first codebooks, to float32 ``[B, T hop]``.

        Raises:
            UserError: a token lies outside the codebook (as special tokens of the language model do).
        """
        self.check(np.asarray(codes))
        return self._decode(self.state, jnp.asarray(codes, jnp.int32))

    def check(self, codes: np.ndarray) -> None:
        """Raises ``UserError`` for what :meth:`decode` cannot take."""
        if codes.ndim != 3 or codes.shape[1] == 0 or not 1 <= codes.shape[2] <= self.codebooks:
            raise UserError(f"tokens must be [batch, time, up to {self.codebooks}], not {tuple(codes.shape)}")
        if codes.min() < 0 or codes.max() >= self.codebook_size:
            raise UserError(f"tokens must lie in 0 to {self.codebook_size - 1}, not {codes.min()} to {codes.max()}")
