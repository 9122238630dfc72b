"""What is tried: each variant is the base with a few fields changed, and belongs to one question."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ml_collections import ConfigDict

from mvgen.records import RecordSpec


@dataclass(frozen=True)
class Variant:
    """One way to build and train the model.

    Attributes:
        name: short, for folders and tables.
        question: the heading it stands under.
        told: what it is, in words.
        changes: fields of the configuration (``model.positions``) and their values.
    """

    name: str
    question: str
    told: str
    changes: Mapping[str, Any]

    def apply(self, base: ConfigDict) -> ConfigDict:
        """A copy of the configuration with the changes made."""
        config = base.copy_and_resolve_references()
        with config.unlocked():
            config.update_from_flattened_dict(dict(self.changes))
        return config


PATH = "How the token decoder meets the picture"
ALONE = "Positions, where cross-attention is the only way"
POSITIONS = "Positions, with all ways open"
SHIFTS = "Negatives inside a clip"
INPUTS = "What the video tower sees"
LEARNING = "When the encoder learns"

CROSS_ONLY = MappingProxyType({"model.frame_locked": False, "model.frame_prior": False})
TAPS = "taps"
"""Positions of the base's token decoder in cross-attention; all else has those of ``model.positions``."""


def unions(spec: RecordSpec) -> list[Variant]:
    """Every choice among what the records hold for the video tower to see, but the whole, which is the base."""
    fields = {"patches": "model.use_frames"}
    fields |= {"flow": "model.use_flow"} if spec.flow_size is not None else {}
    fields |= {"semantics": "model.use_semantic"} if spec.semantic_dim else {}
    found = []
    for count in range(1, len(fields)):
        for seen in itertools.combinations(fields, count):
            changes = {field: name in seen for name, field in fields.items()}
            found.append(Variant("-".join(seen), INPUTS, " and ".join(seen), changes))
    return found


def variants(base: ConfigDict, spec: RecordSpec) -> list[Variant]:
    """All that is tried on records of this spec, the base first; what the records cannot serve is left out.

    Those that answer the main questions come first, so that an early stop has told most.
    """
    half = max(1, base.train.steps // 2)

    def everywhere(positions: str) -> dict[str, Any]:
        """Changes that give all attention these positions; those of the base give them to the decoder's alone."""
        return {} if positions == TAPS else {"model.positions": positions, "model.cross_positions": ""}

    def alone(positions: str, told: str, **more: float) -> Variant:
        changes = {**CROSS_ONLY, **everywhere(positions)}
        changes |= {f"model.attention_{name}": value for name, value in more.items()}
        return Variant("-".join(["cross", positions, *more]), ALONE, told, changes)

    tried = [
        Variant("base", PATH, "cross-attention, frame-locked addition and frame prior", {}),
        alone(TAPS, "a moment for each head"),
        Variant("cross-taps-all", ALONE, "a moment for each head, in the towers too",
                {**CROSS_ONLY, "model.positions": TAPS}),
        alone("rotary", "rotary in seconds"),
        Variant("locked", PATH, "frame-locked addition only",
                {"model.cross_attention": False, "model.frame_prior": False}),
        alone("sinusoid", "added sinusoids"),
        alone("bias", "bias by distance in seconds"),
        Variant("positions-rotary", POSITIONS, "rotary in seconds everywhere", everywhere("rotary")),
        Variant("clips-only", SHIFTS, "neither: other clips alone", {"loss.shifts": 0.0, "loss.moments": 0.0}),
        *unions(spec),
        Variant("cross-locked", PATH, "cross-attention and frame-locked addition", {"model.frame_prior": False}),
        Variant("locked-prior", PATH, "frame-locked addition and frame prior", {"model.cross_attention": False}),
        Variant("cross-prior", PATH, "cross-attention and frame prior", {"model.frame_locked": False}),
        Variant("no-shifts", SHIFTS, "moments alone, without time shifts", {"loss.shifts": 0.0}),
        Variant("no-moments", SHIFTS, "time shifts alone, without moments", {"loss.moments": 0.0}),
        Variant("left", LEARNING, "with the decoder, then left as it is for half of the steps",
                {"loss.encoder_until": half}),
        Variant("waits", LEARNING, "first, for half of the steps; then the decoder, without it",
                {"loss.music_from": half, "loss.encoder_until": half}),
        alone("none", "none"),
        alone("sinusoid", "added sinusoids, no window", window=0.0),
        Variant("positions-taps", POSITIONS, "a moment for each head everywhere", {"model.positions": TAPS}),
        Variant("positions-bias", POSITIONS, "bias by distance in seconds", everywhere("bias")),
        Variant("positions-sinusoid", POSITIONS, "added sinusoids", everywhere("sinusoid")),
        Variant("positions-none", POSITIONS, "none", everywhere("none")),
    ]  # fmt: skip
    return tried


SAME_AS_BASE: Mapping[str, str] = MappingProxyType(
    {
        ALONE: "",
        POSITIONS: "a moment for each head of the decoder's cross-attention, rotary elsewhere",
        SHIFTS: "time shifts and moments",
        INPUTS: "all that the records hold",
        LEARNING: "with the decoder, to the end",
    }
)
"""What the base is, as an answer to each question; empty where it is none."""
SHOWN_TOO: Mapping[str, tuple[str, str]] = MappingProxyType({PATH: ("cross-taps", "cross-attention only")})
"""A variant of another question that answers this one too, and what it is told as."""
QUESTIONS = (PATH, ALONE, POSITIONS, SHIFTS, INPUTS, LEARNING)
"""In the order of the page."""
