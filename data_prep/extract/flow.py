"""Optical flow by RAFT (Teed and Deng 2020), through torchvision, where that loads.

The other methods are OpenCV's and live in :mod:`mvgen.media.flow`, because generation needs them too.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mvgen.errors import UserError
from mvgen.files import file_hash
from mvgen.interop.weights import ready
from mvgen.media.flow import FLOW_METHODS

RAFT = "raft"
"""``raft``: torchvision's small model and its own weights; ``raft:FILE``: weights of the small or the large model."""
METHODS = (*FLOW_METHODS, RAFT, f"{RAFT}:FILE")
BATCH = 16
"""Pairs of frames that go through the network together."""
LEAST_SIDE = 128
"""RAFT's pyramid of correlations needs pictures at least this large."""


def is_raft(method: str) -> bool:
    """Whether a flow method is RAFT's."""
    return method == RAFT or method.startswith(f"{RAFT}:")


def flow_hash(method: str) -> str:
    """sha256 of the weights that a flow method uses; empty for those that use none.

    Raises:
        UserError: there is no such method, RAFT cannot be loaded, or there are no such weights.
    """
    if method in FLOW_METHODS:
        return ""
    if not is_raft(method):
        raise UserError(f"config.flow_method is {method!r}; it can be {', '.join(METHODS)}")
    return file_hash(_weights_file(method))


def _weights_file(method: str) -> Path:
    given = method.partition(":")[2]
    if given:
        if not Path(given).is_file():
            raise UserError(f"flow method {method!r}: no such file")
        return Path(given)
    import torch

    weights = _raft().Raft_Small_Weights.DEFAULT
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    if not path.is_file():
        try:
            weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"flow method 'raft': its weights cannot be fetched from {weights.url} ({error}); put them somewhere "
                "and say raft:FILE, or use dis"
            ) from None
    return path


def _raft() -> Any:
    """``torchvision.models.optical_flow``.

    Raises:
        UserError: it is not installed, or does not load beside this PyTorch.
    """
    import torch

    try:
        import torchvision.models.optical_flow as raft
    except ImportError:
        raise UserError(
            "flow method 'raft' needs torchvision, which is not installed; install the one that belongs to this "
            f"PyTorch ({torch.__version__}), or use dis or farneback"
        ) from None
    except RuntimeError as error:
        raft = _with_missing_declared(error)
    return raft


_libraries: list[Any] = []
"""Keeps declarations alive: they go when the object that made them does."""


def _with_missing_declared(error: Exception) -> Any:
    """RAFT out of a torchvision whose own compiled library does not load.

    One built for CUDA, beside a PyTorch built for the CPU, stops at operators (``nms`` and the like) that it describes
    in Python and that its library would have defined. RAFT uses none of them: once declared, the rest loads.
    """
    import torch

    for _ in range(8):
        missing = re.search(r"operator torchvision::(\w+) does not exist", str(error))
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        if missing is None:
            break
        library = torch.library.Library("torchvision", "FRAGMENT" if _libraries else "DEF")
        library.define(f"{missing[1]}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _libraries.append(library)
        try:
            import torchvision.models.optical_flow as raft

            return raft
        except Exception as another:  # whatever a library that does not fit this PyTorch raises
            error = another
    raise UserError(
        f"flow method 'raft': torchvision does not load beside PyTorch {torch.__version__}: {_first_line(error)}; "
        "use dis or farneback"
    ) from None


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


class RaftFlow:
    """Flow by RAFT. Pickles by name; the weights are loaded on first use.

    Args:
        size: (h, w) of the flow field; the dense flow is averaged over each cell.
        method: ``raft`` or ``raft:FILE``.
        device: "cpu" or "cuda"; by default a GPU where there is one.
    """

    def __init__(self, size: tuple[int, int], method: str = RAFT, device: str | None = None):
        self.size, self.method, self._device = size, method, device

    def __getstate__(self) -> dict[str, Any]:
        return {"size": self.size, "method": self.method, "_device": self._device}

    @cached_property
    def _model(self) -> Any:
        import torch

        raft = _raft()
        path = _weights_file(self.method)
        try:
            if path.suffix == ".safetensors":
                from safetensors.torch import load_file

                tensors = load_file(path)
            else:
                # Tensors only: a file that holds anything else is refused, not run.
                tensors = torch.load(path, map_location="cpu", weights_only=True)
            # The first convolution of the small model has 32 kernels, that of the large one 64.
            narrow = len(tensors["feature_encoder.convnormrelu.0.weight"]) == 32
            model = (raft.raft_small if narrow else raft.raft_large)(weights=None)
            model.load_state_dict(tensors, strict=True)
        except Exception as error:  # torch raises whatever a broken file leads to
            raise UserError(
                f"flow method {self.method!r}: {path} does not hold RAFT's weights: {_first_line(error)}"
            ) from None
        return ready(model, self._device)

    def between(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Flow from one picture to another, for each pair.

        Args:
            before, after: uint8 ``[N, H, W, 3]`` RGB.

        Returns:
            float16 ``[N, h, w, 2]``: (x, y) in pixels of the small field a frame.
        """
        import torch

        model = self._model
        height, width = before.shape[1:3]
        padding = [max(LEAST_SIDE, -(-side // 8) * 8) - side for side in (height, width)]
        pair = []
        for pictures in (before, after):
            padded = np.pad(pictures, ((0, 0), (0, padding[0]), (0, padding[1]), (0, 0)), mode="edge")
            pair.append(torch.from_numpy(padded).to(next(model.parameters()).device).permute(0, 3, 1, 2) / 127.5 - 1)
        with torch.inference_mode():
            dense = model(*pair)[-1].permute(0, 2, 3, 1).float().cpu().numpy()[:, :height, :width]
        h, w = self.size
        scale = np.array([w / width, h / height], np.float32)
        small = [cv2.resize(flow, (w, h), interpolation=cv2.INTER_AREA) * scale for flow in dense]
        return np.stack(small).astype(np.float16)

    def stream(self, pictures: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """Flow of each picture from the one before it; zeros for the first, and where a picture is repeated.

        Args:
            pictures: uint8 ``[H, W, 3]`` RGB one after another; a repeated one is the same object.
        """
        still = np.zeros((*self.size, 2), np.float16)
        last: np.ndarray | None = None
        moves: list[bool] = []
        pairs: list[tuple[np.ndarray, np.ndarray]] = []
        for picture in pictures:
            moves.append(last is not None and picture is not last)
            if last is not None and picture is not last:
                pairs.append((last, picture))
            last = picture
            if len(pairs) == BATCH:
                yield from self._told(moves, pairs, still)
                moves, pairs = [], []
        yield from self._told(moves, pairs, still)

    def _told(
        self, moves: list[bool], pairs: list[tuple[np.ndarray, np.ndarray]], still: np.ndarray
    ) -> Iterator[np.ndarray]:
        found: Iterator[np.ndarray] = iter(())
        if pairs:
            found = iter(self.between(*(np.stack(side) for side in zip(*pairs, strict=True))))
        for moved in moves:
            yield next(found) if moved else still
