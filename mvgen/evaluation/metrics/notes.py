"""Notes: a simple transcription of sound, and how well the right notes come at the right time.

Notes are float arrays ``[N, 3 or more]`` with columns onset s, offset s, MIDI pitch (further columns are ignored).
Matching is ``mir_eval.transcription``'s: onset within 50 ms, pitch within 50 cents; offsets are ignored, or else right
within 50 ms or a fifth of the reference note's length, whichever is more.
"""

from __future__ import annotations

import mir_eval
import numpy as np

from mvgen.evaluation.metrics.onsets import TOLERANCE, moments, until_next
from mvgen.evaluation.metrics.pitch import PitchReader, frequency
from mvgen.media.onsets import SAMPLE_RATE

OFFSET_RATIO = 0.2
"""Share of a note's length by which it may end early or late: mir_eval's own, as are the 50 ms always allowed."""
NEAREST = 0.1
"""Seconds within which a heard onset stands for a known one when its pitch is read."""


def transcribe(sound: np.ndarray, onsets: np.ndarray, reader: PitchReader, voices: int = 1) -> np.ndarray:
    """Notes heard in a sound: at each onset the pitches that sound until the next one, float ``[N, 3]``."""
    ends = until_next(onsets, len(sound) / SAMPLE_RATE)
    notes = [
        (onset, max(end, onset + 0.01), pitch)
        for onset, end in zip(onsets, ends, strict=True)
        for pitch in reader.read(sound, onset, end, voices)
    ]
    return np.array(notes, float).reshape(-1, 3)


def note_agreement(reference: np.ndarray, estimated: np.ndarray, offsets: bool = False) -> dict[str, float]:
    """Precision, recall and F of notes against reference notes; NaN if both are empty, 0 if one is.

    Args:
        reference, estimated: onset s, offset s, MIDI pitch, ``[N, 3]``.
        offsets: whether a note must also end when it should.
    """
    if not len(reference) and not len(estimated):
        return dict.fromkeys(("precision", "recall", "f"), float("nan"))
    if not len(reference) or not len(estimated):
        return dict.fromkeys(("precision", "recall", "f"), 0.0)
    precision, recall, f, _ = mir_eval.transcription.precision_recall_f1_overlap(
        _intervals(reference),
        frequency(reference[:, 2]),
        _intervals(estimated),
        frequency(estimated[:, 2]),
        onset_tolerance=TOLERANCE,
        pitch_tolerance=50.0,
        offset_ratio=OFFSET_RATIO if offsets else None,
    )
    return {"precision": float(precision), "recall": float(recall), "f": float(f)}


def _intervals(notes: np.ndarray) -> np.ndarray:
    # mir_eval refuses notes of no length.
    return np.stack([notes[:, 0], np.maximum(notes[:, 1], notes[:, 0] + 0.01)], axis=1)


def pitch_right(notes: np.ndarray, sound: np.ndarray, heard_onsets: np.ndarray, reader: PitchReader) -> float:
    """Share of known single-voice notes whose pitch is read from a sound at their time.

    Each note is read where the sound has its nearest onset, if one lies within 100 ms, and at the known onset
    otherwise, until the next known note. Silence there is a wrong pitch. Notes with less than 80 ms to read are left
    out; NaN if none remains.
    """
    seconds = len(sound) / SAMPLE_RATE
    starts = moments(notes[:, 0]) if len(notes) else np.zeros(0)
    verdicts = []
    for onset, _, pitch in notes[:, :3]:
        later = starts[starts > onset + 0.03]
        end = min(float(later[0]) if len(later) else seconds, seconds)
        if end - onset < 0.08:
            continue
        gaps = np.abs(heard_onsets - onset) if len(heard_onsets) else np.array([np.inf])
        nearest = int(np.argmin(gaps))
        start = float(heard_onsets[nearest]) if gaps[nearest] <= NEAREST else float(onset)
        # The window keeps its length when the heard onset comes late, so that a late note is still heard whole.
        verdicts.append(reader.read(sound, start, start + (end - onset)) == [round(pitch)])
    return float(np.mean(verdicts)) if verdicts else float("nan")
