"""Fixed windows of held-out records, with what is known of each: what checkpoints and variants are measured on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mvgen import clock
from mvgen.data.loader import used_features
from mvgen.data.records import RecordSource
from mvgen.errors import UserError
from mvgen.evaluation.metrics.clips import Clip
from mvgen.evaluation.metrics.onsets import moments


@dataclass(frozen=True)
class HeldOut:
    """Fixed windows of held-out records.

    Attributes:
        video: ``frames`` and what else the records hold of the picture, each ``[windows, frames, ...]``.
        tokens: int32 ``[windows, tokens, codebooks]``.
        clips: what is known of each: instrument, the notes that start in it (seconds from its beginning), voices.
    """

    video: dict[str, np.ndarray]
    tokens: np.ndarray
    clips: list[Clip]

    @property
    def labels(self) -> list[str]:
        """The instrument of each."""
        return [clip.instrument for clip in self.clips]

    @property
    def onsets(self) -> list[np.ndarray]:
        """Of each, the moments at which known notes start, in seconds from its beginning."""
        return [moments(clip.notes[:, 0]) if clip.notes is not None else np.zeros(0) for clip in self.clips]

    def __len__(self) -> int:
        return len(self.tokens)


def held_out_windows(source: RecordSource, model: Any, frames: int, count: int) -> HeldOut:
    """The first window of every record, then the second of every one, and so on, ``count`` in all; none overlap.

    Args:
        source: held-out records.
        model: ``config.model``: what is used of the picture.
        frames: length of a window.
        count: how many at most.

    Raises:
        UserError: fewer than two windows, or no known notes.
    """
    places = []
    for number in range(len(source)):
        record = source[number]
        places += [(turn, number) for turn in range(clock.frames_of(len(record["tokens"])) // frames)]
    names = [name for name in used_features(source.spec, model) if name != "tokens"]
    video: dict[str, list[np.ndarray]] = {name: [] for name in names}
    tokens, clips = [], []
    for turn, number in sorted(places)[:count]:
        record, start = source[number], turn * frames
        for name in names:
            video[name].append(record[name][start : start + frames])
        tokens.append(record["tokens"][clock.tokens_of(start) : clock.tokens_of(start + frames)].astype(np.int32))
        begin, end = float(clock.frame_start(start)), float(clock.frame_start(start + frames))
        notes = np.asarray(record["notes"], float).reshape(-1, 3)
        inside = notes[(notes[:, 0] >= begin) & (notes[:, 0] < end)] - (begin, begin, 0)
        together = [int(np.sum(np.abs(notes[:, 0] - moment) <= 0.03)) for moment in moments(notes[:, 0])]
        name = f"{record['clip_id']} at {begin:g} s"
        clips.append(Clip(name, record["labels"], inside, voices=max(together, default=0)))
    if len(tokens) < 2:
        raise UserError(f"{source.folder}: split {source.split} holds fewer than two windows of {frames} frames")
    if not any(clip.known for clip in clips):
        raise UserError(f"{source.folder}: no note of split {source.split} is known; take records of Recital")
    return HeldOut({name: np.stack(v) for name, v in video.items()}, np.stack(tokens), clips)
