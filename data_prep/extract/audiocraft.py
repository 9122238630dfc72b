"""Codecs that audiocraft reads, ``audiocraft:NAME``: for codecs trained there, or its own wrapper of the others.

NAME is a folder that holds ``compression_state_dict.bin`` as ``audiocraft.utils.export`` writes it, a hub name with
that file in it, an EnCodec in transformers' format (folder or hub name, through ``HFEncodecCompressionModel``), or
``debug``, audiocraft's own toy for tests. audiocraft 1.3.0 pins libraries that nothing else here can live with, so it
has an environment of its own: ``make setup-audiocraft``.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mvgen.errors import UserError
from mvgen.files import file_hash
from mvgen.interop.weights import find_file, model_file, ready

PREFIX = "audiocraft:"
DEBUG = "debug"
CHECKPOINT = "compression_state_dict.bin"
"""What audiocraft's export calls a codec's file."""


def is_audiocraft(codec: str) -> bool:
    """Whether a codec's name asks for this backend."""
    return codec.startswith(PREFIX)


def audiocraft_hash(codec: str) -> str:
    """sha256 of the codec's weights: of their file, or of the toy's tensors.

    Raises:
        UserError: there are no such weights.
    """
    name = codec.removeprefix(PREFIX)
    if name == DEBUG:
        digest = hashlib.sha256()
        for key, tensor in sorted(_debug_model(codec).state_dict().items()):
            digest.update(key.encode() + tensor.numpy().tobytes())
        return digest.hexdigest()
    return file_hash(_checkpoint(name) or model_file("audiocraft codec", name, name, "model.safetensors", (DEBUG,)))


def load_audiocraft(codec: str, device: str | None = None) -> Any:
    """audiocraft's ``CompressionModel``, ready to encode.

    Raises:
        UserError: audiocraft is not installed, or the codec cannot be loaded.
    """
    name = codec.removeprefix(PREFIX)
    if name == DEBUG:
        return ready(_debug_model(codec), device)
    models = _imported(codec, lambda: __import__("audiocraft.models", fromlist=["builders", "encodec"]))
    checkpoint = _checkpoint(name)
    try:
        model = _exported(models, checkpoint) if checkpoint else _wrapped(models, name)
    except UserError:
        raise
    except Exception as error:  # of a configuration that it did not make, audiocraft may fail at anything
        told = next(iter(str(error).splitlines()), "")
        raise UserError(f"codec {codec!r} cannot be loaded: {type(error).__name__}: {told}") from None
    return ready(model, device)


def _imported(codec: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except (ImportError, OSError) as error:
        raise UserError(
            f"codec {codec!r} needs audiocraft, which does not load here ({str(error).splitlines()[0]}): `make "
            "setup-audiocraft` makes an environment for it, run .venv-audiocraft/bin/python -m data_prep"
        ) from None


def _checkpoint(name: str) -> Path | None:
    """The codec's file as audiocraft writes it; None where there is none."""
    try:
        return find_file(name, CHECKPOINT)
    except (OSError, ValueError):
        return None


def _debug_model(codec: str) -> Any:
    """The toy, the same every time: audiocraft draws its weights at random."""
    import torch

    models = _imported(codec, lambda: __import__("audiocraft.models", fromlist=["builders"]))
    with torch.random.fork_rng(devices=[]), contextlib.redirect_stdout(io.StringIO()):  # it prints its settings
        torch.manual_seed(0)
        return models.builders.get_debug_compression_model()


def _exported(models: Any, path: Path) -> Any:
    """A codec out of audiocraft's own format, read as plain tensors and text: a pickle of anything else is refused."""
    import torch
    from omegaconf import OmegaConf

    package = torch.load(path, map_location="cpu", weights_only=True)
    if "pretrained" in package:  # names another codec, as the folders of the published MusicGen models do
        return _wrapped(models, str(package["pretrained"]))
    config = OmegaConf.create(package["xp.cfg"])
    config.device = "cpu"
    model = models.builders.get_compression_model(config)
    model.load_state_dict(package["best_state"])
    return model


def _wrapped(models: Any, name: str) -> Any:
    """A codec in transformers' format, in audiocraft's wrapper."""
    from transformers import EncodecModel

    network = EncodecModel.from_pretrained(name, use_safetensors=True)
    return models.encodec.HFEncodecCompressionModel(network)
