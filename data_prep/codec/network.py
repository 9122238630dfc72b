"""The network that is trained: transformers' EnCodec without its weight norm and its LSTM.

Weight norm would undo the data-dependent initialisation, and LSTMs cost more time than they earned. transformers
refuses a model with no LSTM layer, so the finished one is written with one layer of zeros, which, being residual,
changes nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save
from torch import Tensor, nn
from torch.nn.utils import parametrize
from transformers import EncodecConfig, EncodecModel

from mvgen.clock import CODEC_SAMPLE_RATE, TOKEN_RATE
from mvgen.files import whole_file, write_text


def tiny_config(
    filters: int = 8, hidden: int = 64, codebooks: int = 4, entries: int = 512, compress: int = 2
) -> EncodecConfig:
    """The architecture of MusicGen's 32 kHz EnCodec with fewer channels: 640 samples a token, not causal."""
    bits = int(np.log2(entries))
    return EncodecConfig(
        upsampling_ratios=[8, 5, 4, 4],
        num_filters=filters,
        hidden_size=hidden,
        codebook_size=entries,
        # transformers derives the number of codebooks from the bandwidth in kbit/s.
        target_bandwidths=[codebooks * bits * TOKEN_RATE / 1000],
        sampling_rate=CODEC_SAMPLE_RATE,
        use_causal_conv=False,
        use_conv_shortcut=False,
        normalize=False,
        num_lstm_layers=1,
        # Zeros before the start and after the end, as silence is; and they cost nothing in training.
        pad_mode="constant",
        compress=compress,
    )


LEVEL = 0.1
"""RMS of sound as it is trained on. Inside the network sound is divided by it, so that no layer's weights are far from
the others' in size (Adam moves all by like amounts); the written weights hold the factor."""


class Network(nn.Module):
    """Encoder and decoder to train; sound float32 ``[B, 1, 640 T]``, latents ``[B, D, T]``."""

    def __init__(self, config: EncodecConfig):
        super().__init__()
        self.config = config
        model = EncodecModel(config)
        for module in model.modules():
            if parametrize.is_parametrized(module, "weight"):
                parametrize.remove_parametrizations(module, "weight")
        self.encoder = nn.ModuleDict(_without_lstm(model.encoder.layers))
        self.decoder = nn.ModuleDict(_without_lstm(model.decoder.layers))

    def encode(self, sound: Tensor, seen: list[Tensor] | None = None) -> Tensor:
        """Latents of a sound; what each convolution makes is appended to ``seen``."""
        return _run(self.encoder.values(), sound / LEVEL, seen)

    def decode(self, latents: Tensor, seen: list[Tensor] | None = None) -> Tensor:
        """Sound of latents; what each convolution makes is appended to ``seen``."""
        return _run(self.decoder.values(), latents, seen) * LEVEL

    def convolutions(self) -> list[nn.Conv1d | nn.ConvTranspose1d]:
        """Every convolution in the order in which sound passes them, encoder first."""
        return _convolutions(self.encoder) + _convolutions(self.decoder)

    @property
    def encoder_convolutions(self) -> int:
        """How many of :meth:`convolutions` are the encoder's."""
        return len(_convolutions(self.encoder))

    def branch_ends(self) -> list[nn.Conv1d | nn.ConvTranspose1d]:
        """The last convolution of every residual branch."""
        layers: list[Any] = [*self.encoder.values(), *self.decoder.values()]
        return [layer.block[3].conv for layer in layers if hasattr(layer, "block")]


def _convolutions(part: nn.Module) -> list[nn.Conv1d | nn.ConvTranspose1d]:
    return [module for module in part.modules() if isinstance(module, (nn.Conv1d, nn.ConvTranspose1d))]


def _run(layers: Iterable[Any], x: Tensor, seen: list[Tensor] | None) -> Tensor:
    """What the layers' own forward passes compute for whole tokens, with fewer copies of large arrays."""

    def convolve(convolution: nn.Conv1d | nn.ConvTranspose1d, x: Tensor) -> Tensor:
        made = _convolve(convolution, x)
        if seen is not None:
            seen.append(made.clone())  # the caller's copy: activations work in place
        return made

    for layer in layers:
        if isinstance(layer, nn.ELU):
            x = nn.functional.elu(x)
        elif hasattr(layer, "block"):
            first_elu, first, _, second = layer.block
            inner = nn.functional.elu_(convolve(first.conv, first_elu(x)))
            x = x + convolve(second.conv, inner)
        else:
            x = convolve(layer.conv, x)
    return x


def _convolve(convolution: nn.Conv1d | nn.ConvTranspose1d, x: Tensor) -> Tensor:
    stride, taps = convolution.stride[0], convolution.kernel_size[0]
    right = (taps - stride) // 2
    left = taps - stride - right
    arguments = (convolution.weight, convolution.bias, stride, right)
    # torch pads and trims both ends alike; an odd total has one more on the left.
    if isinstance(convolution, nn.ConvTranspose1d):
        return nn.functional.conv_transpose1d(x, *arguments)[..., left - right :]
    return nn.functional.conv1d(nn.functional.pad(x, (left - right, 0)) if left > right else x, *arguments)


def _without_lstm(layers: nn.ModuleList) -> dict[str, nn.Module]:
    # Named by their place, so that a parameter's name is that of transformers' model.
    return {str(i): layer for i, layer in enumerate(layers) if type(layer).__name__ != "EncodecLSTM"}


def write_codec(network: Network, codebooks: Tensor, folder: str) -> None:
    """Writes the codec as transformers' ``EncodecModel.from_pretrained`` reads it, weights as float16.

    Args:
        network: the trained encoder and decoder.
        codebooks: float32 ``[codebooks, entries, D]``.
        folder: gets ``config.json`` and ``model.safetensors``, each replaced whole or not at all.
    """
    model = EncodecModel(network.config)
    state = {name: torch.zeros_like(value) for name, value in model.state_dict().items()}
    convolutions = network.convolutions()
    first, last = convolutions[0], convolutions[-1]
    gains = {id(first.weight): 1 / LEVEL, id(last.weight): LEVEL, id(last.bias): LEVEL}
    for part in ("encoder", "decoder"):
        for name, parameter in getattr(network, part).named_parameters():
            target, value = f"{part}.layers.{name}", parameter.detach() * gains.get(id(parameter), 1.0)
            if name.endswith(".weight"):
                # Weight norm: weight = g v / |v|, the norm over all axes but the first.
                state[target.replace(".weight", ".parametrizations.weight.original0")] = value.flatten(1).norm(dim=1)[
                    :, None, None
                ]
                state[target.replace(".weight", ".parametrizations.weight.original1")] = value
            else:
                state[target] = value
    for level, entries in enumerate(codebooks):
        book = f"quantizer.layers.{level}.codebook"
        state[f"{book}.embed"] = entries
        state[f"{book}.embed_avg"] = entries
        state[f"{book}.cluster_size"] = torch.ones(len(entries))
        state[f"{book}.inited"] = torch.ones(1)
    model.load_state_dict(state)  # names every tensor that is missing or too many
    os.makedirs(folder, exist_ok=True)
    tensors = {name: value.detach().numpy().astype(np.float16) for name, value in state.items()}
    with whole_file(os.path.join(folder, "model.safetensors")) as partial:
        partial.write_bytes(save(tensors, metadata={"format": "pt"}))
    config = network.config.to_dict() | {"architectures": ["EncodecModel"], "dtype": "float32"}
    write_text(os.path.join(folder, "config.json"), json.dumps(config, indent=2, sort_keys=True) + "\n")
