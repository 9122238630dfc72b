"""Where the files of image autoencoders lie, and what is in them.

Two formats are read: a folder in diffusers' format (``config.json`` and one .safetensors file), and the TAESD family as
its author publishes it: a folder with one file that ends in ``encoder`` and one that ends in ``decoder`` (.safetensors,
or .pth without pickled objects). Nothing but tensors is ever read from a file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from mvgen.errors import UserError
from mvgen.interop.weights import joint_hash, model_file

NONE = "none"
"""The setting for records that hold pixels."""
PRESETS = {
    "taesd": "madebyollin/taesd",
    "taesd3": "madebyollin/taesd3",
    "taef1": "madebyollin/taef1",
    "sd_vae": "stabilityai/sd-vae-ft-mse",
}
"""Presets that are fetched from the hub, or found among what was fetched."""
KINDS = {"AutoencoderKL": "kl", "AutoencoderTiny": "tiny"}
"""What the configuration of a model in diffusers' format may be of."""
WEIGHTS = "diffusion_pytorch_model.safetensors"


def autoencoder_hash(name: str) -> str:
    """sha256 of the autoencoder's weights; empty for "none".

    Raises:
        UserError: there are no such weights.
    """
    return "" if name == NONE else joint_hash(weight_files(name))


def weight_files(name: str) -> list[Path]:
    """The encoder's and the decoder's file of a TAESD folder, or the one file of diffusers' format.

    Raises:
        UserError: there are no such weights.
    """
    location = PRESETS.get(name, name)
    if os.path.isdir(location) and not (Path(location) / "config.json").is_file():
        found = []
        for half in ("encoder", "decoder"):
            ends = (f"{half}.safetensors", f"{half}.pth")
            files = sorted(path for path in Path(location).iterdir() if path.name.lower().endswith(ends))
            if len(files) != 1:
                raise UserError(
                    f"autoencoder {name!r}: {location} holds neither config.json and {WEIGHTS} (diffusers' format) nor "
                    f"one file that ends in {' or '.join(ends)}"
                )
            found += files
        return found
    return [settings_file(name, WEIGHTS)]


def settings_file(name: str, file: str) -> Path:
    """A file of a model in diffusers' format."""
    return model_file("autoencoder", name, PRESETS.get(name, name), file, (NONE, *PRESETS))


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """Named tensors of a file, float32.

    Raises:
        ValueError: it holds anything else.
    """
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            return {name: np.asarray(tensor, np.float32) for name, tensor in load_file(path).items()}
        except SafetensorError as error:
            raise ValueError(f"{path.name} is not a file of tensors: {error}") from None
    import torch

    try:
        # Tensors only: a file that holds anything else is refused, not run.
        tensors: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever a broken file leads to
        raise ValueError(f"{path.name} is not a file of plain tensors ({type(error).__name__})") from None
    if not isinstance(tensors, dict) or not all(isinstance(value, torch.Tensor) for value in tensors.values()):
        raise ValueError(f"{path.name} is not a file of named tensors")
    return {name: tensor.float().numpy() for name, tensor in tensors.items()}
