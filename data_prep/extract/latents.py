"""Frames as latents of an image autoencoder: diffusers' AutoencoderKL, and the TAESD family (AutoencoderTiny).

Latents are ``(z - shift) * scale`` with the shift and scale that the autoencoder's configuration states, so that they
have about unit variance; of a variational autoencoder, z is the mean. :meth:`LatentExtractor.decode` is the way back.

The TAESD family (github.com/madebyollin/taesd) is also read as its author publishes it: a folder with one file that
ends in ``encoder`` and one that ends in ``decoder`` (.safetensors, or .pth without pickled objects), at any number of
latent channels. TAEF2's middle blocks have a global branch that diffusers' class lacks; it is added where the weights
have it.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.extract.cache import Cache
from mvgen.errors import UserError
from mvgen.interop.autoencoder_files import KINDS, NONE, autoencoder_hash, read_tensors, settings_file, weight_files
from mvgen.interop.weights import ready

__all__ = ["NONE", "LatentExtractor", "autoencoder_hash"]

BATCH = 16
"""Frames that go through the network together."""


class LatentExtractor:
    """Frames to latents and back. Pickles by name; the weights are loaded on first use.

    Args:
        autoencoder: preset, folder or hub name.
        frame_size: (height, width) of the frames.
        device: "cpu" or "cuda"; by default a GPU where there is one.
    """

    def __init__(self, autoencoder: str, frame_size: tuple[int, int], device: str | None = None):
        self.autoencoder, self.frame_size, self._device = autoencoder, frame_size, device

    def __getstate__(self) -> dict[str, Any]:
        return {"autoencoder": self.autoencoder, "frame_size": self.frame_size, "_device": self._device}

    @cached_property
    def _model(self) -> Any:
        from diffusers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        files = weight_files(self.autoencoder)
        try:
            model = _from_halves(*files) if len(files) == 2 else self._from_diffusers(files[0].parent)
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(
                f"autoencoder {self.autoencoder!r} cannot be loaded: {str(error).strip().splitlines()[0]}"
            ) from None
        return ready(model, self._device)

    def _from_diffusers(self, folder: Path) -> Any:
        import diffusers

        kind = json.loads(settings_file(self.autoencoder, "config.json").read_text()).get("_class_name")
        if kind not in KINDS:
            raise UserError(f"autoencoder {self.autoencoder!r} is a {kind!r}; it can be {' or '.join(KINDS)}")
        return getattr(diffusers, kind).from_pretrained(str(folder), use_safetensors=True)

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of a frame's latents.

        Raises:
            UserError: the autoencoder cannot take frames of this size and give them back.
        """
        shape = self.encode(np.zeros((1, *self.frame_size, 3), np.uint8)).shape[1:]
        if self.decode(np.zeros((1, *shape), np.float16)).shape[1:3] != tuple(self.frame_size):
            raise UserError(
                f"autoencoder {self.autoencoder!r} does not give frames of {self.frame_size} back at their size; "
                "make config.frame_size a multiple of what it shrinks by (8 for most)"
            )
        return shape

    def _scale(self) -> tuple[float, float]:
        config = self._model.config
        shift, scale = getattr(config, "shift_factor", None), getattr(config, "scaling_factor", None)
        return float(shift or 0.0), float(scale or 1.0)

    def encode(self, frames: np.ndarray) -> np.ndarray:
        """Latents of frames, in batches.

        Args:
            frames: uint8 ``[T, H, W, 3]`` RGB.

        Returns:
            float16 ``[T, h, w, c]``.
        """
        import torch

        shift, scale = self._scale()
        found = []
        for first in range(0, len(frames), BATCH):
            batch = torch.from_numpy(np.array(frames[first : first + BATCH])).to(self._model.device)
            with torch.inference_mode():
                output = self._model.encode(batch.permute(0, 3, 1, 2).float() / 127.5 - 1)
            latents = output.latent_dist.mode() if hasattr(output, "latent_dist") else output.latents
            found.append(((latents - shift) * scale).permute(0, 2, 3, 1).float().cpu().numpy())
        return np.concatenate(found).astype(np.float16)

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Frames from latents, in batches.

        Args:
            latents: float16 ``[T, h, w, c]``, as :meth:`encode` gives them.

        Returns:
            uint8 ``[T, H, W, 3]`` RGB.
        """
        import torch

        shift, scale = self._scale()
        found = []
        for first in range(0, len(latents), BATCH):
            batch = torch.from_numpy(np.array(latents[first : first + BATCH], np.float32)).to(self._model.device)
            with torch.inference_mode():
                pictures = self._model.decode(batch.permute(0, 3, 1, 2) / scale + shift).sample
            pictures = ((pictures.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
            found.append(pictures.permute(0, 2, 3, 1).cpu().numpy())
        return np.concatenate(found)

    def extract(self, frames: np.ndarray, content: str, cache: Cache) -> np.ndarray:
        """Latents of the frames of a whole clip: float16 ``[T, h, w, c]``, a read-only map of a cached file.

        Args:
            frames: uint8 ``[T, H, W, 3]``, as :class:`data_prep.extract.frames.PictureExtractor` gives them.
            content: hash of the source's bytes, the cache's key.
        """
        place = cache.place(content, "latents", self._settings, ".npy")
        return cache.array_or(place, lambda: self.encode(frames))

    @cached_property
    def _settings(self) -> dict[str, Any]:
        return {"weights": autoencoder_hash(self.autoencoder), "size": list(self.frame_size)}


# --- the TAESD family as its author publishes it --------------------------------------------------------------------


def _from_halves(encoder_file: Path, decoder_file: Path) -> Any:
    """An ``AutoencoderTiny`` with the weights of both files.

    The author's networks are plain sequences: the encoder's places are diffusers' own, the decoder's are later by one,
    because its first place is the clamp, which diffusers applies outside of the sequence.

    Raises:
        ValueError, RuntimeError: the weights are of another architecture.
    """
    import torch
    from diffusers import AutoencoderTiny

    encoder, decoder = read_tensors(encoder_file), read_tensors(decoder_file)
    try:
        channels = decoder["1.weight"].shape[1]
    except KeyError:
        raise ValueError(f"{decoder_file.name} is not a decoder of the TAESD family") from None
    model: Any = AutoencoderTiny(latent_channels=channels)
    for layers, tensors, offset in ((model.encoder.layers, encoder, 0), (model.decoder.layers, decoder, 1)):
        placed = {}
        for name, tensor in tensors.items():
            place, rest = name.split(".", 1)
            placed[f"{int(place) - offset}.{rest}"] = torch.from_numpy(tensor)
        for number, layer in enumerate(layers):
            if f"{number}.pool.0.weight" in placed:
                layers[number] = _with_global_branch(layer, placed[f"{number}.pool.0.weight"].shape)
        layers.load_state_dict(placed, strict=True)
    return model


def _with_global_branch(block: Any, shape: tuple[int, ...]) -> Any:
    """A block of TAEF2: before its convolutions, 1x1 convolutions around a group norm add what the whole picture says.

    Args:
        block: diffusers' block, whose convolutions it keeps.
        shape: of the branch's first kernel, (wide, narrow, 1, 1).
    """
    from torch import nn

    wide, narrow = shape[:2]

    class GlobalBlock(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.skip, self.fuse = block.conv, block.skip, block.fuse
            self.pool = nn.Sequential(
                nn.Conv2d(narrow, wide, 1, bias=False), nn.GroupNorm(4, wide), nn.ReLU(),
                nn.Conv2d(wide, narrow, 1, bias=False),
            )  # fmt: skip

        def forward(self, x: Any) -> Any:
            x = x + self.pool(x)
            return self.fuse(self.conv(x) + self.skip(x))

    return GlobalBlock()
