"""transformers' MusicGen and EnCodec on torch, as peers to compare with: what benchmarks time beside ours."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mvgen.errors import UserError
from mvgen.models.config import DecoderConfig

MUSICGEN_CODEC: dict[str, Any] = {
    "upsampling_ratios": [8, 5, 4, 4], "target_bandwidths": [2.2], "num_filters": 64, "sampling_rate": 32_000,
    "codebook_size": 2048, "use_causal_conv": False, "normalize": False, "use_conv_shortcut": False,
}  # fmt: skip
"""Fields of transformers' ``EncodecConfig``, as published with MusicGen."""


def _libraries() -> tuple[Any, Any, str]:
    """torch on all cores, transformers without its chatter, and the device. Raises ``UserError`` where one is
    missing."""
    try:
        import torch
        import transformers
        from transformers.utils import logging
    except ImportError:
        raise UserError("the reference needs torch and transformers: pip install 'mvgen[prep]'") from None
    logging.set_verbosity_error()
    if hasattr(os, "sched_getaffinity"):
        torch.set_num_threads(len(os.sched_getaffinity(0)))
    return torch, transformers, "cuda" if torch.cuda.is_available() else "cpu"


class ReferenceMusicgen:
    """``MusicgenForCausalLM`` of a folder, generating greedily.

    Args:
        folder: as ``save_pretrained`` writes it.
        precision: ``float32`` or ``bfloat16``.
    """

    def __init__(self, folder: str, precision: str):
        self._torch, self._transformers, self._device = _libraries()
        model: Any = self._transformers.MusicgenForCausalLM.from_pretrained(
            folder, dtype=getattr(self._torch, precision)
        )
        self._model = model.to(self._device).eval()
        config = self._model.config
        self.config = DecoderConfig(
            config.num_codebooks, config.vocab_size, config.hidden_size, config.num_attention_heads,
            config.num_hidden_layers, config.ffn_dim, dtype=precision,
        )  # fmt: skip

    def player(self, conditioning: np.ndarray, guidance: float, tokens: int) -> Callable[[], np.ndarray]:
        """What generates ``[batch, tokens, codebooks]`` from embedded words ``[batch, words, width]`` when called:
        ``generate`` as it comes, with the cache that it should have."""
        torch, transformers, model = self._torch, self._transformers, self._model
        config, batch = self.config, len(conditioning)
        seen = torch.from_numpy(conditioning).to(self._device, model.dtype)
        if guidance != 1:
            seen = torch.cat([seen, torch.zeros_like(seen)])
        start = torch.full((batch * config.codebooks, 1), config.codebook_size, device=self._device)
        ones = torch.ones((batch, 1), dtype=torch.long, device=self._device)

        def play() -> np.ndarray:
            cache = transformers.EncoderDecoderCache(transformers.DynamicCache(), transformers.DynamicCache())
            found = model.generate(
                start, encoder_hidden_states=seen, attention_mask=ones, guidance_scale=guidance, do_sample=False,
                max_length=tokens + config.codebooks, decoder_start_token_id=config.codebook_size,
                num_return_sequences=1, past_key_values=cache,
            )  # fmt: skip
            return found.cpu().numpy().transpose(0, 2, 1)

        return play


class ReferenceCodec:
    """``EncodecModel`` of a folder."""

    def __init__(self, folder: str):
        self._torch, transformers, self._device = _libraries()
        model: Any = transformers.EncodecModel.from_pretrained(folder)
        self._model = model.to(self._device).eval()
        self.sampling_rate: int = self._model.config.sampling_rate
        self.codebook_size: int = self._model.config.codebook_size

    def encoder(self, sound: np.ndarray) -> Callable[[], np.ndarray]:
        """What encodes sound ``[batch, samples]`` to codes ``[batch, tokens, codebooks]`` when called."""
        there = self._torch.from_numpy(sound)[:, None].to(self._device)
        bandwidth = self._model.config.target_bandwidths[-1]

        def encode() -> np.ndarray:
            with self._torch.no_grad():
                return self._model.encode(there, bandwidth=bandwidth).audio_codes.cpu()[0].permute(0, 2, 1).numpy()

        return encode

    def decoder(self, codes: np.ndarray) -> Callable[[], None]:
        """What decodes codes ``[batch, tokens, codebooks]`` when called."""
        there = self._torch.from_numpy(codes).permute(0, 2, 1)[None].to(self._device)

        def decode() -> None:
            with self._torch.no_grad():
                self._model.decode(there, [None]).audio_values.cpu()

        return decode


def write_random_codec(folder: Path) -> None:
    """MusicGen's EnCodec with random weights, as ``save_pretrained`` would write it."""
    torch, transformers, _ = _libraries()
    torch.manual_seed(0)
    model: Any = transformers.EncodecModel(transformers.EncodecConfig(**MUSICGEN_CODEC))
    for layer in model.quantizer.layers:  # fresh ones are zero, and every code the same
        layer.codebook.embed.normal_()
    model.save_pretrained(folder)
