"""Image autoencoders from files: the TAESD family and AutoencoderKL, into :mod:`mvgen.models.image_autoencoder`.

Which files are read, :mod:`mvgen.interop.autoencoder_files` tells.
"""

from __future__ import annotations

import dataclasses
import json
import re

import jax
import jax.numpy as jnp
import numpy as np

from mvgen.errors import UserError
from mvgen.interop.autoencoder_files import KINDS, read_tensors, settings_file, weight_files
from mvgen.models.image_autoencoder import Form, decode, jitted_decode, jitted_encode
from mvgen.models.patches import pixels, scaled

BATCH = 16
"""Frames that go through the network together."""
RENAMED = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""Names that older files have for the parts of attention."""


@dataclasses.dataclass(frozen=True)
class ImageAutoencoder:
    """An autoencoder that is ready to use."""

    weights: dict[str, jax.Array]
    form: Form

    def frame_size(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """(height, width) of the frames whose latents have this shape (height, width, channels)."""
        latents = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
        made = jax.eval_shape(lambda weights, z: decode(weights, self.form, z), self.weights, latents)
        return made.shape[1], made.shape[2]

    def encode(self, frames: np.ndarray) -> np.ndarray:
        """Latents of frames uint8 ``[T, H, W, 3]``: float16 ``[T, h, w, c]``."""
        found = [
            np.asarray(jitted_encode(self.weights, self.form, scaled(jnp.asarray(frames[first : first + BATCH]))))
            for first in range(0, len(frames), BATCH)
        ]
        return np.concatenate(found).astype(np.float16)

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Frames uint8 ``[T, H, W, 3]`` from latents ``[T, h, w, c]``."""
        found = [
            np.asarray(
                pixels(jitted_decode(self.weights, self.form, jnp.asarray(latents[first : first + BATCH], jnp.float32)))
            )
            for first in range(0, len(latents), BATCH)
        ]
        return np.concatenate(found)


def load_autoencoder(name: str) -> ImageAutoencoder:
    """An autoencoder by preset, folder or hub name.

    Raises:
        UserError: there is none of that name, or its files are not such an autoencoder's.
    """
    files = weight_files(name)
    try:
        if len(files) == 2:
            form = Form("tiny")
            tensors = {f"encoder.layers.{key}": value for key, value in read_tensors(files[0]).items()}
            # The author's decoder begins with the clamp, which diffusers applies outside of the sequence.
            for key, value in read_tensors(files[1]).items():
                place, rest = key.split(".", 1)
                tensors[f"decoder.layers.{int(place) - 1}.{rest}"] = value
        else:
            config = json.loads(settings_file(name, "config.json").read_text())
            kind = KINDS.get(config.get("_class_name"))
            if kind is None:
                raise UserError(
                    f"autoencoder {name!r} is a {config.get('_class_name')!r}; it can be {' or '.join(KINDS)}"
                )
            scale = float(config.get("scaling_factor") or 1.0)
            form = Form(kind, float(config.get("shift_factor") or 0.0), scale, int(config.get("norm_num_groups") or 32))
            tensors = read_tensors(files[0])
        autoencoder = ImageAutoencoder({key: _turned(value) for key, value in _renamed(tensors).items()}, form)
        autoencoder.decode(autoencoder.encode(np.zeros((1, 64, 64, 3), np.uint8)))
    except (OSError, ValueError, KeyError, TypeError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"autoencoder {name!r} cannot be loaded: {said}") from None
    return autoencoder


def _renamed(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    pattern = re.compile(rf"(?<=\.attentions\.0\.)({'|'.join(RENAMED)})(?=\.)")
    return {pattern.sub(lambda match: RENAMED[match[0]], name): value for name, value in tensors.items()}


def _turned(tensor: np.ndarray) -> jax.Array:
    """PyTorch's layout (outputs first) to JAX's (outputs last)."""
    if tensor.ndim == 4:
        return jnp.asarray(tensor.transpose(2, 3, 1, 0))
    return jnp.asarray(tensor.T if tensor.ndim == 2 else tensor)
