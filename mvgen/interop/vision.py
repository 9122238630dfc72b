"""Semantic embeddings of frames: CLIP, SigLIP, SigLIP 2, DINOv2, DINOv3, through transformers; EfficientNet-Lite0.

One embedding a frame: of CLIP the projected one (Radford et al. 2021), of SigLIP that of its pooling head (Zhai et al.
2023; Tschannen et al. 2025), of DINO the class token after the last norm (Oquab et al. 2023; Simeoni et al. 2025), of
EfficientNet the mean of its last features (:mod:`mvgen.interop.efficientnet`).

Pictures are scaled and normalised here, not by transformers' image processors: those of SigLIP 2 and DINOv3 need
torchvision, which does not load beside every PyTorch.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np

from mvgen.errors import UserError
from mvgen.interop import efficientnet
from mvgen.interop.weights import find_file, joint_hash, model_file, ready
from mvgen.media.picture import stream_picture

NONE = "none"
"""The setting for records without embeddings."""
PRESETS = {
    "clip": "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
    "siglip2": "google/siglip2-base-patch16-224",
    "dinov2": "facebook/dinov2-small",
    "dinov3": "facebook/dinov3-vits16-pretrain-lvd1689m",
}
"""Presets that transformers fetches from the hub, or finds among what it has fetched."""
CLASSES = {
    "clip": "CLIPVisionModelWithProjection",
    "clip_vision_model": "CLIPVisionModelWithProjection",
    "siglip": "SiglipVisionModel",
    "siglip_vision_model": "SiglipVisionModel",
    "siglip2": "Siglip2VisionModel",
    "siglip2_vision_model": "Siglip2VisionModel",
    "dinov2": "AutoModel",
    "dinov2_with_registers": "AutoModel",
    "dinov3_vit": "AutoModel",
    "dinov3_convnext": "AutoModel",
}
"""Class in transformers for each ``model_type`` that its configuration may state."""
MEANS = {"clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))}
MEANS |= {"siglip": ((0.5,) * 3, (0.5,) * 3), "dino": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))}
"""Mean and deviation of each family's training pictures, for models that come without ``preprocessor_config.json``."""
BATCH = 64
"""Frames that go through the network together."""

Key = TypeVar("Key", bound=Hashable)


def encoder_hash(name: str) -> str:
    """sha256 of the encoder's weights; empty for "none".

    Raises:
        UserError: there are no such weights.
    """
    if name == NONE:
        return ""
    if efficientnet.side_of(name):
        return joint_hash([efficientnet.weights_file()])
    return joint_hash([_file(name, "model.safetensors")])


def _file(name: str, file: str) -> Path:
    return model_file("semantic encoder", name, PRESETS.get(name, name), file, (NONE, efficientnet.NAME, *PRESETS))


class SemanticEncoder:
    """Frames to embeddings. Pickles by name; the weights are loaded on first use, in the process that uses them.

    Args:
        encoder: preset, folder or hub name in transformers' format (weights as safetensors; pickles are not opened).
        frame_size: (height, width) of the records' frames: the embedding sees the same cut of the picture as they show,
            scaled to the encoder's own square.
        device: "cpu" or "cuda"; by default a GPU where there is one.
    """

    def __init__(self, encoder: str, frame_size: tuple[int, int], device: str | None = None):
        self.encoder, self.frame_size, self._device = encoder, frame_size, device

    def __getstate__(self) -> dict[str, Any]:
        return {"encoder": self.encoder, "frame_size": self.frame_size, "_device": self._device}

    @cached_property
    def _config(self) -> dict[str, Any]:
        if self._offline_side:
            return {"model_type": efficientnet.NAME}
        config = json.loads(_file(self.encoder, "config.json").read_text())
        if config.get("model_type") not in CLASSES:
            raise UserError(
                f"semantic encoder {self.encoder!r} is a {config.get('model_type')!r}; it can be {', '.join(CLASSES)}"
            )
        return config

    @cached_property
    def _offline_side(self) -> int | None:
        return efficientnet.side_of(self.encoder)

    @cached_property
    def processing(self) -> dict[str, Any]:
        """How the encoder wants its pictures, as its folder says; empty where it does not."""
        if self._offline_side:
            return {"image_mean": efficientnet.MEAN, "image_std": efficientnet.DEVIATION, "side": self._offline_side}
        try:
            path = find_file(PRESETS.get(self.encoder, self.encoder), "preprocessor_config.json")
        except (OSError, ValueError):
            path = None
        return json.loads(path.read_text()) if path is not None else {}

    @cached_property
    def _model(self) -> Any:
        if self._offline_side:
            return ready(efficientnet.load(), self._device)
        import torch
        import transformers
        from transformers.utils import logging

        logging.set_verbosity_error()  # the progress bars and advice of a library are not ours to print
        logging.disable_progress_bar()
        kind = getattr(transformers, CLASSES[self._config["model_type"]])
        location = PRESETS.get(self.encoder, self.encoder)
        try:
            model = kind.from_pretrained(location, dtype=torch.float32, use_safetensors=True)
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"semantic encoder {self.encoder!r} cannot be loaded: {reason}") from None
        return ready(model, self._device)

    @property
    def _family(self) -> str:
        return next(
            family for family in ("siglip", "clip", "dino", efficientnet.NAME) if family in self._config["model_type"]
        )

    @property
    def _flexible(self) -> bool:
        """SigLIP 2's NaFlex models take patches instead of pictures."""
        return self._config["model_type"].startswith("siglip2")

    @cached_property
    def size(self) -> int:
        """Side of the square pictures that the encoder is given."""
        if self._offline_side:
            return self._offline_side
        config = self._model.config
        if self._flexible:
            return int(config.num_patches**0.5) * int(config.patch_size)
        if self._family == "dino":  # takes any size; its training ended at another than its processor asks for
            for name in ("crop_size", "size"):
                asked = self.processing.get(name) or {}
                side = asked.get("height") or asked.get("shortest_edge")
                if side:
                    return int(side)
        return int(config.image_size)

    @cached_property
    def dim(self) -> int:
        """Width of the embedding."""
        return self.embed(np.zeros((1, self.size, self.size, 3), np.uint8)).shape[1]

    def embed(self, pictures: np.ndarray) -> np.ndarray:
        """Embeddings of pictures, in batches.

        Args:
            pictures: uint8 ``[N, S, S, 3]`` RGB, S = :attr:`size`.

        Returns:
            float16 ``[N, D]``, as the encoder gives them (not normalised).
        """
        import torch

        model = self._model
        usual = MEANS.get(self._family, MEANS["dino"])
        asked = (self.processing.get("image_mean") or usual[0], self.processing.get("image_std") or usual[1])
        device = next(model.parameters()).device
        mean, deviation = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in asked)
        found = []
        for first in range(0, len(pictures), BATCH):
            batch = torch.from_numpy(pictures[first : first + BATCH]).to(device)
            batch = (batch.permute(0, 3, 1, 2).float() / 255 - mean) / deviation
            with torch.inference_mode():
                if self._offline_side:
                    found.append(model.extract_features(batch).mean((2, 3)).cpu().numpy())
                    continue
                if self._flexible:
                    output = model(**_patches(batch, int(model.config.patch_size)))
                else:
                    output = model(pixel_values=batch)
            embeddings = getattr(output, "image_embeds", None)
            found.append((output.pooler_output if embeddings is None else embeddings).flatten(1).float().cpu().numpy())
        return np.concatenate(found).astype(np.float16)

    def of_file(self, path: Path) -> np.ndarray:
        """Embeddings of all frames that a file's picture covers, float16 ``[T, D]``.

        Raises:
            UserError: there is no picture, or none that can be decoded.
        """
        numbers: list[int] = []
        pictures = ((path, picture) for picture in self.new_pictures(path, numbers))
        return self.of_frames([embedding for _, embedding in self.stream(pictures)], numbers)

    def stream(self, pictures: Iterable[tuple[Key, np.ndarray]]) -> Iterator[tuple[Key, np.ndarray]]:
        """(key, picture) to (key, embedding float16 ``[D]``), in the same order, in full batches but for the last."""
        source = iter(pictures)
        while batch := list(islice(source, BATCH)):
            embeddings = self.embed(np.stack([picture for _, picture in batch]))
            yield from zip([key for key, _ in batch], embeddings, strict=True)

    def of_frames(self, embeddings: list[np.ndarray], numbers: list[int]) -> np.ndarray:
        """float16 ``[T, D]`` from the embeddings of new pictures, and which of them each frame shows."""
        return np.stack(embeddings)[numbers] if embeddings else np.zeros((0, self.dim), np.float16)

    def new_pictures(self, path: Path, numbers: list[int]) -> Iterator[np.ndarray]:
        """The encoder's pictures without those that repeat the one before (a still, a film told at fewer frames).

        Appends to ``numbers``, for every frame of the file, which of the pictures it shows.
        """
        count = 0
        for picture, is_new in self._pictures(path):
            count += is_new
            numbers.append(count - 1)
            if is_new:
                yield picture

    def _pictures(self, path: Path) -> Iterator[tuple[np.ndarray, bool]]:
        """The encoder's pictures, uint8 ``[S, S, 3]``, and whether each differs from the one before."""
        height, width = self.frame_size
        scale = self.size / min(height, width)
        decoded = (max(self.size, round(height * scale)), max(self.size, round(width * scale)))
        before = None
        for picture in stream_picture(path, decoded):
            is_new = picture is not before
            before = picture
            square = picture
            if picture.shape[:2] != (self.size, self.size) and is_new:
                square = cv2.resize(picture, (self.size, self.size), interpolation=cv2.INTER_AREA)
            yield square, is_new


def _patches(batch: Any, side: int) -> dict[str, Any]:
    """Normalised pictures ``[N, 3, S, S]`` as SigLIP 2's NaFlex models take them: rows of patches, channels last."""
    import torch

    count, channels, size, _ = batch.shape
    rows = size // side
    parts = batch.reshape(count, channels, rows, side, rows, side).permute(0, 2, 4, 3, 5, 1)
    return {
        "pixel_values": parts.reshape(count, rows * rows, side * side * channels),
        "pixel_attention_mask": torch.ones(count, rows * rows, dtype=torch.int32, device=batch.device),
        "spatial_shapes": torch.tensor([[rows, rows]] * count, device=batch.device),
    }
