"""How well the transcriber and the place detector read: notes from sound, places from picture, of originals.

The notes are known. What is missed in an original cannot be credited to a model, so these figures are the ceiling of
the note-level scores. No clip is read with weights that were fitted on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mvgen.evaluation.metrics.clips import Clip, Heard, Seen
from mvgen.evaluation.metrics.notes import note_agreement
from mvgen.evaluation.metrics.onsets import moments, onset_agreement
from mvgen.evaluation.metrics.places import places_right
from mvgen.evaluation.metrics.scores import readers_of_places
from mvgen.evaluation.metrics.table import METRICS, OVERALL, ScoreTable
from mvgen.evaluation.metrics.transcriber import Transcribers

ENOUGH = 0.95
"""What transcriber and place detector must reach on originals, in every group of clips."""
READERS = ("note_f", "places_right")


def validate(clips: Sequence[Clip], heard: Sequence[Heard], seen: Sequence[Seen], seed: int = 0) -> ScoreTable:
    """Onset F, note F and places right of originals, with their chance levels.

    Groups are instruments, those with clips of one and of several voices in two.

    Args:
        clips: ``[n]``, notes known. heard, seen: their originals; ``seen`` may be empty.
        seed: of the shuffled pairs.
    """
    transcribers = Transcribers(clips, heard)
    transcribed = [transcribers.read(number, sound) for number, sound in enumerate(heard)]
    watched, weights = readers_of_places(clips, seen) if seen else ([None] * len(clips), {})

    def score(known: int, shown: int) -> dict[str, float]:
        notes, values = clips[known].notes, {}
        if notes is None:
            return {}
        values["onset_f"] = onset_agreement(moments(notes[:, 0]), heard[shown].onsets)["f"]
        read, picture = transcribed[shown], watched[shown]
        if read is not None:
            values["note_f"] = note_agreement(notes, read)["f"]
        if picture is not None and shown in weights:
            values["places_right"] = places_right(picture, weights[shown], notes)
        return values

    table = ScoreTable([clip.name for clip in clips], _groups(clips))
    table.add(score, seed)
    return table


def shortfalls(summary: dict[str, dict[str, dict[str, Any]]]) -> list[str]:
    """Which of the two stays below :data:`ENOUGH` in which group, in words; empty if none does."""
    return [
        f"{METRICS[metric].title} of {group} is {metrics[metric]['mean']:.3f}, below {ENOUGH}"
        for group, metrics in summary.items()
        for metric in READERS
        if group != OVERALL or len(summary) == 1
        if metric in metrics and metrics[metric]["mean"] < ENOUGH
    ]


def _groups(clips: Sequence[Clip]) -> list[str]:
    voices: dict[str, set[int]] = {}
    for clip in clips:
        voices.setdefault(clip.instrument, set()).add(clip.voices)
    names = {1: "one voice", 2: "two voices"}
    return [
        f"{clip.instrument}, {names.get(clip.voices, f'{clip.voices} voices')}"
        if len(voices[clip.instrument]) > 1
        else clip.instrument
        for clip in clips
    ]
