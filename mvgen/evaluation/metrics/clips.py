"""What is known of a clip, and what is heard and seen in a performance of it: worked out once, scored many times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import soxr

from mvgen.clock import FRAME_RATE
from mvgen.evaluation.metrics import foley
from mvgen.evaluation.metrics.geometry import Geometry
from mvgen.evaluation.metrics.motion import flow_magnitude, picture_change
from mvgen.media.onsets import SAMPLE_RATE, onset_strength, pick_onsets

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Clip:
    """What is known of a clip from its manifest line; every part but the name may be unknown.

    Attributes:
        name: the file's name without its ending; what pairs reference and generated.
        instrument: the group it is averaged and shuffled in.
        notes: onset s, offset s, MIDI pitch, float ``[N, 3]``, or ``None``.
        voices: how many notes may sound at once, 0 if unknown.
        geometry: where each pitch is played in the picture, or ``None``.
    """

    name: str
    instrument: str = UNKNOWN
    notes: np.ndarray | None = None
    voices: int = 0
    geometry: Geometry | None = None

    @classmethod
    def of_line(cls, line: Mapping[str, Any], name: str) -> Clip:
        """From a manifest line. Raises ``ValueError`` if its notes or film cannot be read."""
        notes = line.get("notes")
        array = None
        if notes is not None:
            array = np.array([note[:3] for note in notes], float).reshape(-1, 3)
            if not np.isfinite(array).all():
                raise ValueError("notes hold numbers that are not finite")
            if array.size and not (0 <= array[:, 2].min() and array[:, 2].max() <= 127):
                raise ValueError("notes hold pitches outside 0..127")
        labels = line.get("labels") or [UNKNOWN]
        film = line.get("film")
        return cls(
            name=name,
            instrument=str(line.get("instrument") or labels[0]),
            notes=array,
            voices=int(line.get("voices") or 0),
            geometry=Geometry(film) if film and film.get("places") else None,
        )

    @property
    def known(self) -> bool:
        """Whether notes of it are known."""
        return self.notes is not None and len(self.notes) > 0

    @property
    def pitched(self) -> bool:
        """Whether its notes are known pitches (drums have General MIDI keys instead)."""
        return self.known and self.instrument not in ("drums", "percussion")


class Heard:
    """A sound and what is heard in it, each worked out when first asked for."""

    def __init__(self, sound: np.ndarray, sample_rate: int = SAMPLE_RATE) -> None:
        """``sound``: mono float ``[n]``; resampled to 22,050 Hz if it is at another rate."""
        sound = np.asarray(sound, np.float32)
        if sound.ndim != 1:
            raise ValueError(f"a sound must be mono [n], got shape {sound.shape}")
        if sample_rate != SAMPLE_RATE:
            sound = soxr.resample(sound, sample_rate, SAMPLE_RATE)
        self.sound = sound

    @property
    def seconds(self) -> float:
        """Length."""
        return len(self.sound) / SAMPLE_RATE

    @cached_property
    def strength(self) -> np.ndarray:
        """Onset strength (:func:`mvgen.media.onsets.onset_strength`)."""
        return onset_strength(self.sound)

    @cached_property
    def onsets(self) -> np.ndarray:
        """Onset times in seconds."""
        return pick_onsets(self.strength)

    @cached_property
    def foley(self) -> tuple[np.ndarray, np.ndarray]:
        """Onsets of the first two seconds and their confidences (:func:`mvgen.evaluation.metrics.foley.detections`)."""
        return foley.detections(self.sound, self.strength)


class Seen:
    """A picture at 25 frames a second and how it moves."""

    def __init__(self, frames: np.ndarray, native: tuple[np.ndarray, float] | None = None) -> None:
        """Takes what is seen.

        Args:
            frames: RGB, uint8 ``[T, H, W, 3]``, ``T >= 2``.
            native: flow magnitude ``[n]`` of every frame of the file at its own size, and its own frame rate, which
                AV-Align is defined on; ``None``: those of ``frames``.
        """
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or len(frames) < 2:
            raise ValueError(f"a picture must be uint8 [T >= 2, H, W, 3], got {frames.dtype} {frames.shape}")
        self.frames = frames
        self._native = native
        self._deviations: dict[int, tuple[Geometry, np.ndarray]] = {}

    @property
    def seconds(self) -> float:
        """Length."""
        return len(self.frames) / FRAME_RATE

    @cached_property
    def motion(self) -> np.ndarray:
        """Mean flow magnitude, ``[T]`` (:func:`mvgen.evaluation.metrics.motion.flow_magnitude`)."""
        return flow_magnitude(self.frames)

    @cached_property
    def change(self) -> np.ndarray:
        """Mean absolute difference of consecutive frames, ``[T]``
        (:func:`mvgen.evaluation.metrics.motion.picture_change`)."""
        return picture_change(self.frames)

    @property
    def native(self) -> tuple[np.ndarray, float]:
        """Flow magnitude at the file's own rate and size, and that rate."""
        return self._native or (self.motion, float(FRAME_RATE))

    def deviation(self, geometry: Geometry) -> np.ndarray:
        """How far each place is from its usual look, ``[T, P]``
        (:meth:`mvgen.evaluation.metrics.geometry.Geometry.deviation`)."""
        # The geometry is kept with its answer, so that its identity cannot pass to another one.
        if id(geometry) not in self._deviations:
            self._deviations[id(geometry)] = geometry, geometry.deviation(self.frames)
        return self._deviations[id(geometry)][1]
