"""What is tried: each variant is the base configuration with one part switched off, or done in the other usual way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict

from mvgen.data.records import RecordSpec


@dataclass(frozen=True)
class Variant:
    """One way to build and train the model.

    Attributes:
        name: short, for folders and tables.
        part: what of the method it is about.
        told: what is done instead, in words.
        changes: fields of the configuration (``model.positions``) and their values.
    """

    name: str
    part: str
    told: str
    changes: Mapping[str, Any]

    def apply(self, base: ConfigDict) -> ConfigDict:
        """A copy of the configuration with the changes made."""
        config = base.copy_and_resolve_references()
        with config.unlocked():
            config.update_from_flattened_dict(dict(self.changes))
        return config


BASE = "base"
SEEN = "What the video tower sees"
LOSS = "Contrastive loss"
DECODER = "How the token decoder meets the picture"
POSITIONS = "Temporal positions"
TRAINING = "How it is trained"
PARTS = (DECODER, POSITIONS, LOSS, SEEN, TRAINING)
"""Headings, in the order of the page."""


def variants(spec: RecordSpec) -> list[Variant]:
    """All that is tried on records of this spec, the base first; what the records cannot serve is left out."""
    tried = [
        Variant(BASE, "", "the base configuration", {}),
        Variant("no-token-head", DECODER, "without the per-frame token head", {"model.token_head": False}),
        Variant("no-frame-locked", DECODER, "without frame-locked addition", {"model.frame_locked": False}),
        Variant("no-cross-attention", DECODER, "without cross-attention", {"model.cross_attention": False}),
        Variant("no-previous-timesteps", DECODER, "without the previous-timesteps convolution",
                {"model.previous_timesteps": 0}),
        Variant("rotary", POSITIONS, "rotary instead of the per-head time bias in the decoder's cross-attention",
                {"model.cross_positions": "rotary"}),
        Variant("no-positions", POSITIONS, "no positions in the decoder's cross-attention",
                {"model.cross_positions": "none"}),
        Variant("no-shifts", LOSS, "without time shifts as negatives", {"loss.shifts": 0.0}),
        Variant("no-frame-level", LOSS, "without frame-level InfoNCE", {"loss.frame_level": 0.0}),
        Variant("no-window-mean", SEEN, "without the difference from the window's mean",
                {"model.window_mean": False}),
        Variant("no-history-corruption", TRAINING, "without history corruption", {"loss.history_corruption": 0.0}),
        Variant("one-rate", TRAINING, "one learning rate for all parts", {"optimizer.decoder_rate": 1.0}),
        Variant("random-start", TRAINING, "token embeddings from random numbers, not from the codec's codebooks",
                {"init.codebooks": False}),
        Variant("notes", TRAINING, "the video tower also learns which notes are played",
                {"model.notes_width": 128, "loss.notes": 1.0}),
        Variant("no-augmentation", TRAINING, "without augmentation", {"augment.shift": 0, "augment.colour": 0.0}),
    ]  # fmt: skip
    if spec.flow_size is not None:
        tried.append(Variant("no-flow", SEEN, "without optical flow", {"model.use_flow": False}))
        tried.append(Variant("no-frames", SEEN, "without the frames", {"model.use_frames": False}))
    if spec.semantic_dim:
        tried.append(Variant("no-semantic", SEEN, "without semantic embeddings", {"model.use_semantic": False}))
    if spec.landmarks:
        tried.append(Variant("landmarks", SEEN, "with landmarks", {"model.use_landmarks": True}))
    return tried
