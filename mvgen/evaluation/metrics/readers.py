"""Scores by readers that know real sound and pictures, whose weights lie inside packages: second opinions.

Notes are read by basic-pitch and swift-f0 (:mod:`mvgen.interop.note_readers`); what instrument it is, by the tags of
musicnn (sound) and EfficientNet (picture). A Frechet distance over musicnn's features bears that name: it is not the
published FAD, whose features are others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mvgen.errors import UserError
from mvgen.evaluation.metrics.clips import Clip, Heard, Seen
from mvgen.evaluation.metrics.frechet import frechet_distance
from mvgen.evaluation.metrics.notes import note_agreement
from mvgen.evaluation.metrics.table import ScoreTable
from mvgen.media.onsets import SAMPLE_RATE

NOTES = ("basic_pitch", "swift_f0")
MUSICNN, EFFICIENTNET = "musicnn", "efficientnet"
READERS = (*NOTES, MUSICNN, EFFICIENTNET)
"""All there are."""
UNPITCHED = ("drums", "percussion")
"""Instruments of which these readers of notes read none."""
LOOKED_AT = 8
"""Frames of a picture that are tagged, evenly apart."""


def parse_readers(text: str) -> tuple[str, ...]:
    """Names parted by commas. Raises ``UserError`` for one that there is not."""
    names = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    for name in names:
        if name not in READERS:
            raise UserError(f"--readers names {name}; it can name {', '.join(READERS)}")
    return names


def load_readers(names: Sequence[str]) -> dict[str, Callable[..., Any]]:
    """Readers by name. Raises ``UserError`` where a package is missing, named with its extra."""
    loaded: dict[str, Callable[..., Any]] = {}
    for name in names:
        if name in NOTES:
            from mvgen.interop.note_readers import READERS as NOTE_READERS

            loaded[name] = NOTE_READERS[name]()
        elif name == MUSICNN:
            from mvgen.interop.musicnn import Musicnn

            loaded[name] = Musicnn()
        else:
            from mvgen.interop.efficientnet import Tagger

            loaded[name] = Tagger()
    return loaded


def score_readers(
    clips: Sequence[Clip],
    heard: Sequence[tuple[Heard, Heard]],
    seen: Sequence[tuple[Seen, Seen]],
    readers: Mapping[str, Callable[..., Any]],
    seed: int = 0,
) -> tuple[ScoreTable, dict[str, Any]]:
    """What readers say of (original, generated) pairs.

    Of notes: F against the known notes where a clip has them (its original's own is the reader's ceiling), and
    otherwise against what the same reader reads in the original. Of instruments: whether the likeliest is the same.

    Args:
        clips: ``[n]``.
        heard, seen: of the same clips, or empty where a part is missing.
        readers: what :func:`load_readers` returned.
        seed: of shuffles and halves.

    Returns:
        A table, and ``{"musicnn": {"value", "floor", "patches", "dimensions"}, "lines": the same in words}``.
    """
    table = ScoreTable([clip.name for clip in clips], [clip.instrument for clip in clips])
    found: dict[str, Any] = {}
    lines: list[str] = []
    for name in NOTES:
        if name in readers and heard:
            _add_notes(table, name, clips, heard, readers[name], seed)
    if MUSICNN in readers and heard:
        told = [[readers[MUSICNN](each.sound, SAMPLE_RATE) for each in pair] for pair in heard]
        from mvgen.interop.musicnn import INSTRUMENTS, TAGS

        chosen = [TAGS.index(instrument) for instrument in INSTRUMENTS]
        likeliest = [[int(tags.mean(axis=0)[chosen].argmax()) for tags, _ in pair] for pair in told]
        table.add(lambda i, j: {"sound_instrument": float(likeliest[i][0] == likeliest[j][1])}, seed)
        found[MUSICNN] = _distance([[features for _, features in pair] for pair in told], seed)
        floor = found[MUSICNN]["floor"]
        lines.append(
            f"Frechet distance over musicnn's features (not the published FAD): {found[MUSICNN]['value']:.4g} (two "
            f"halves of the originals: {'-' if floor is None else f'{floor:.4g}'}) over {found[MUSICNN]['patches']} "
            f"stretches of 3 s and {found[MUSICNN]['dimensions']} dimensions"
        )
    if EFFICIENTNET in readers and seen:
        shown = [[readers[EFFICIENTNET](_some(each.frames)) for each in pair] for pair in seen]
        table.add(lambda i, j: {"picture_instrument": float(shown[i][0] == shown[j][1])}, seed)
    return table, {**found, "lines": lines}


def _add_notes(
    table: ScoreTable,
    name: str,
    clips: Sequence[Clip],
    heard: Sequence[tuple[Heard, Heard]],
    read: Callable[[np.ndarray, int], np.ndarray],
    seed: int,
) -> None:
    notes = [
        [read(each.sound, SAMPLE_RATE) if clip.instrument not in UNPITCHED else None for each in pair]
        for clip, pair in zip(clips, heard, strict=True)
    ]

    def score(i: int, estimated: np.ndarray | None) -> dict[str, float]:
        original, known = notes[i][0], clips[i].notes
        if estimated is None or original is None:
            return {}
        if known is None:
            return {f"note_f_sound_{name}": note_agreement(original, estimated)["f"]}
        seconds = min(each.seconds for each in heard[i])
        right, heard_notes = known[known[:, 0] < seconds], estimated[estimated[:, 0] < seconds]
        return {f"note_f_{name}": note_agreement(right, heard_notes)["f"]}

    table.add(lambda i, j: score(i, notes[j][1]), seed, lambda i: score(i, notes[i][0]))


def _distance(features: Sequence[Sequence[np.ndarray]], seed: int) -> dict[str, Any]:
    """Between all stretches of the originals and all of what was generated; the floor between halves of the
    originals, parted by clip."""
    originals, products = (np.concatenate([pair[side] for pair in features]) for side in (0, 1))
    order = np.random.default_rng(seed).permutation(len(features))
    halves = [[features[i][0] for i in part] for part in np.array_split(order, 2)]
    floor = None
    if len(features) >= 4:
        floor = frechet_distance(*(np.concatenate(half) for half in halves))
    return {
        "value": frechet_distance(originals, products) if len(originals) > 1 and len(products) > 1 else float("nan"),
        "floor": floor, "patches": len(originals), "dimensions": originals.shape[1],
    }  # fmt: skip


def _some(frames: np.ndarray) -> np.ndarray:
    return frames[np.linspace(0, len(frames) - 1, min(LOOKED_AT, len(frames))).round().astype(int)]
