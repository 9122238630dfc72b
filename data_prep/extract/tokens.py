"""Audio tokens: EnCodec's codes, through transformers.

One code path loads every preset: ``encodec_tiny`` from the package, ``encodec_32khz`` (the codec of MusicGen, from its
hub; its weights are CC-BY-NC-4.0), or any folder or hub name in transformers' format.
"""

from __future__ import annotations

import hashlib
import os
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.extract.weights import ready
from mvgen.clock import CODEC_SAMPLE_RATE, TOKEN_RATE
from mvgen.errors import UserError

PACKAGED = ("encodec_tiny",)
"""Presets whose weights come with the package, in ``mvgen/codecs``."""
HUB = {"encodec_32khz": "facebook/encodec_32khz"}
"""Presets that transformers fetches, or finds among what it has fetched."""
SAMPLES_PER_TOKEN = CODEC_SAMPLE_RATE // TOKEN_RATE
"""640."""


def codec_location(name: str) -> str:
    """A folder, or a hub name, for a preset, a folder or a hub name."""
    if name in PACKAGED:
        return str(resources.files("mvgen") / "codecs" / name)
    return HUB.get(name, name)


def weights_hash(name: str) -> str:
    """sha256 of the codec's weights file: which codec exactly made these tokens.

    Raises:
        UserError: there is no such file.
    """
    location = codec_location(name)
    if os.path.isdir(location):
        path = Path(location) / "model.safetensors"
        if not path.is_file():
            raise UserError(f"codec {name!r}: {location} holds no model.safetensors")
    else:
        from transformers.utils import cached_file

        try:
            path = Path(str(cached_file(location, "model.safetensors")))
        except (OSError, ValueError) as error:
            raise UserError(_not_found(name, error)) from None
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _not_found(name: str, error: Exception) -> str:
    return (
        f"codec {name!r} is neither a preset ({', '.join((*PACKAGED, *HUB))}), nor a folder in transformers' format, "
        f"nor a model that the hub gives here: {str(error).splitlines()[0]}"
    )


class TokenExtractor:
    """Sound to codes. Pickles by name; the weights are loaded on first use, in the process that uses them.

    Args:
        codec: see the module's text.
        device: "cpu" or "cuda"; by default a GPU where there is one.
    """

    def __init__(self, codec: str = "encodec_tiny", device: str | None = None):
        self.codec = codec
        self._device = device

    def __getstate__(self) -> dict[str, Any]:
        return {"codec": self.codec, "_device": self._device}

    @cached_property
    def _model(self) -> Any:
        import torch
        from transformers import EncodecModel
        from transformers.utils import logging

        logging.set_verbosity_error()  # the progress bars and advice of a library are not ours to print
        logging.disable_progress_bar()
        location = codec_location(self.codec)
        try:
            model = EncodecModel.from_pretrained(location, dtype=torch.float32)
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(_not_found(self.codec, error)) from None
        config = model.config
        rate = config.sampling_rate / float(np.prod(config.upsampling_ratios))
        if config.sampling_rate != CODEC_SAMPLE_RATE or rate != TOKEN_RATE or config.audio_channels != 1:
            raise UserError(
                f"codec {self.codec!r} works at {config.sampling_rate} Hz, {rate:g} tokens a second and "
                f"{config.audio_channels} channels; the clock needs {CODEC_SAMPLE_RATE} Hz, {TOKEN_RATE} and 1"
            )
        return ready(model, self._device)

    @cached_property
    def codebooks(self) -> int:
        """Codes of each token."""
        return self.extract(np.zeros(SAMPLES_PER_TOKEN * 2, np.float32)).shape[1]

    @property
    def codebook_size(self) -> int:
        """Entries of a codebook."""
        return int(self._model.config.codebook_size)

    def extract(self, sound: np.ndarray) -> np.ndarray:
        """Codes of one stretch of sound.

        Args:
            sound: float32 ``[n]`` at 32 kHz, loudness as it is; the codec sees nothing before or after it.

        Returns:
            int16 ``[ceil(n / 640), codebooks]``.

        Raises:
            ValueError: the sound is empty, not one-dimensional, or holds numbers that are not finite.
        """
        import torch

        if sound.ndim != 1 or not len(sound) or not np.isfinite(sound).all():
            raise ValueError("sound must be [n], n > 0, and finite")
        samples = torch.from_numpy(np.array(sound, np.float32))[None, None].to(self._model.device)
        with torch.inference_mode():
            # The highest bandwidth: every codebook there is.
            encoded = self._model.encode(samples, bandwidth=self._model.config.target_bandwidths[-1])
        codes = encoded.audio_codes  # [chunks, batch, codebooks, time]
        if codes.shape[0] != 1:
            raise UserError(f"codec {self.codec!r} cuts sound into chunks of its own, which the clock forbids")
        return np.ascontiguousarray(codes[0, 0].cpu().numpy().T).astype(np.int16)

    def decode(self, tokens: np.ndarray) -> np.ndarray:
        """The sound that codes stand for.

        Args:
            tokens: int16 ``[n, codebooks]``, each within the codebook.

        Returns:
            float32 ``[640 n]`` at 32 kHz.
        """
        import torch

        codes = torch.from_numpy(np.array(tokens.T, np.int64))[None, None].to(self._model.device)
        with torch.inference_mode():
            sound = self._model.decode(codes, [None]).audio_values
        return sound[0, 0].float().cpu().numpy()
