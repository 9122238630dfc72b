"""Readers of notes that have heard real music: basic-pitch for several voices, swift-f0 for one.

basic-pitch (Bittner et al. 2022, "A lightweight instrument-agnostic model for polyphonic note transcription") says for
each of 88 keys and each moment whether it sounds and whether it begins; out of that notes are made here, in our own
way. swift-f0 (Nieradzik 2025) says the pitch of a single voice; its own package parts it into notes. Both run by
onnxruntime.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import soxr

from mvgen.errors import UserError
from mvgen.interop.litert import package_files

BASIC_PITCH, SWIFT_F0 = "basic_pitch", "swift_f0"
FILE = "basic_pitch/saved_models/icassp_2022/nmp.onnx"
RATE, HOP = 22_050, 256
SAMPLES = 2 * RATE - HOP
"""Of a stretch that basic-pitch hears at a time."""
EDGE = 15
"""Moments at either end of a stretch that are taken from its neighbours."""
LOWEST = 21
"""MIDI pitch of the first key."""
BEGINS, SOUNDS = 0.5, 0.3
"""From which likelihoods on a note begins, and goes on."""
GAP, SHORTEST = 11, 5
"""Moments (of 11.6 ms) for which a note may fade and still go on, and that it must last."""
MISSING = {
    BASIC_PITCH: "basic_pitch's network is not here: `make setup-weights` fetches its wheel, which is only read",
    SWIFT_F0: "swift_f0 is not here: pip install 'mvgen[hearing]'",
}


class BasicPitch:
    """Notes of any instrument, several at a time.

    Args:
        location: of the network; see :func:`mvgen.interop.litert.package_files`.

    Raises:
        UserError: it or onnxruntime is missing.
    """

    def __init__(self, location: str = ""):
        (content,) = package_files(BASIC_PITCH, (FILE,), location, MISSING[BASIC_PITCH])
        try:
            import onnxruntime
        except ImportError:
            raise UserError("basic_pitch runs by onnxruntime: pip install 'mvgen[hearing]'") from None
        self._session: Any = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def __call__(self, sound: np.ndarray, rate: int) -> np.ndarray:
        """Notes of a mono sound ``[samples]``: float ``[N, 3]``: onset s, offset s, MIDI pitch; by onset."""
        sound = np.asarray(soxr.resample(np.asarray(sound, np.float32), rate, RATE), np.float32)
        return notes_of(*self.likelihoods(sound))

    def likelihoods(self, sound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Whether each key begins, and sounds, at each moment ``i * 256 / 22050``, float ``[moments, 88]`` each."""
        inner = SAMPLES - 2 * EDGE * HOP
        padded = np.concatenate([np.zeros(EDGE * HOP, np.float32), sound])
        stretches = [padded[first : first + SAMPLES] for first in range(0, max(1, len(sound)), inner)]
        names = self._outputs
        begins, sounds = [], []
        for stretch in stretches:
            whole = np.pad(stretch, (0, SAMPLES - len(stretch)))
            answers = dict(zip(names, self._session.run(names, {self._input: whole[None, :, None]}), strict=True))
            begin, sound_on = (answers[name][0] for name in names)
            begins.append(begin[EDGE : len(begin) - EDGE])
            sounds.append(sound_on[EDGE : len(sound_on) - EDGE])
        count = len(sound) // HOP + 1
        return np.concatenate(begins)[:count], np.concatenate(sounds)[:count]

    @property
    def _input(self) -> str:
        return str(self._session.get_inputs()[0].name)

    @cached_property
    def _outputs(self) -> list[str]:
        """Of its three answers those about notes: beginnings, sounding. The third tells pitch finer than semitones."""
        # As the file names them: ":2" are onsets, ":1" notes, ":0" contours.
        by_end = {output.name.rpartition(":")[2]: output.name for output in self._session.get_outputs()}
        return [by_end["2"], by_end["1"]]


def notes_of(begins: np.ndarray, sounds: np.ndarray) -> np.ndarray:
    """Notes out of likelihoods: one where a key's beginning peaks, until it has not sounded for :data:`GAP` moments, or
    begins again.

    Args:
        begins, sounds: float ``[moments, 88]``.

    Returns:
        float ``[N, 3]``: onset s, offset s, MIDI pitch; by onset, then pitch.
    """
    before, after = np.pad(begins, ((1, 0), (0, 0)))[:-1], np.pad(begins, ((0, 1), (0, 0)))[1:]
    peaks = (begins >= BEGINS) & (begins > before) & (begins >= after)
    notes = []
    for key in np.flatnonzero(peaks.any(axis=0)):
        starts = np.flatnonzero(peaks[:, key]).tolist()
        for number, start in enumerate(starts):
            most = starts[number + 1] if number + 1 < len(starts) else len(sounds)
            quiet = sounds[start:most, key] < SOUNDS
            end, faded = start, 0
            for moment in range(start, most):
                faded = faded + 1 if quiet[moment - start] else 0
                if faded >= GAP:
                    break
                if not faded:
                    end = moment + 1
            if end - start >= SHORTEST:
                notes.append((start * HOP / RATE, end * HOP / RATE, key + LOWEST))
    return np.array(sorted(notes, key=lambda note: (note[0], note[2])), float).reshape(-1, 3)


class SwiftF0:
    """Notes of a single voice. Raises ``UserError`` where the package is missing."""

    def __init__(self) -> None:
        try:
            import swift_f0
        except ImportError:
            raise UserError(MISSING[SWIFT_F0]) from None
        self._package: Any = swift_f0
        self._detector = swift_f0.SwiftF0()

    def __call__(self, sound: np.ndarray, rate: int) -> np.ndarray:
        """Notes of a mono sound ``[samples]``: float ``[N, 3]``: onset s, offset s, MIDI pitch to the semitone."""
        result = self._detector.detect(np.asarray(sound, np.float32), rate)
        notes = self._package.segment_notes(result)
        rows = [(note.start, note.end, round(69 + 12 * np.log2(note.pitch_hz / 440))) for note in notes]
        return np.array(rows, float).reshape(-1, 3)


READERS = {BASIC_PITCH: BasicPitch, SWIFT_F0: SwiftF0}
"""Readers of notes by name."""
