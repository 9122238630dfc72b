"""Scores any two folders of videos with sound, ours or another tool's, against each other, matched by file name.

Where the reference folder holds ``manifest.jsonl`` (as Recital writes it), the known notes, instruments and film
geometry are used. Every score stands beside its chance level (the same score over shuffled pairs of the same
instrument, seeded) and beside the original's own score, which is the ceiling of the measure.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from mvgen.clock import FRAME_RATE
from mvgen.errors import UserError
from mvgen.evaluation.metrics.beats import loris_set
from mvgen.evaluation.metrics.clips import Clip, Heard, Seen
from mvgen.evaluation.metrics.motion import mean_flow
from mvgen.evaluation.metrics.readers import load_readers, score_readers
from mvgen.evaluation.metrics.scores import score_notes, score_picture, score_sound, score_sync
from mvgen.evaluation.metrics.table import ScoreTable
from mvgen.evaluation.metrics.weighted import judges, score_weighted
from mvgen.files import plain_name
from mvgen.media import MediaInfo, check_span, probe, read_picture, read_sound
from mvgen.media.midi import midi_notes
from mvgen.media.onsets import SAMPLE_RATE
from mvgen.media.picture import shown_pictures

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")
MANIFEST = "manifest.jsonl"
PARTS = ("sound", "picture", "sync", "notes")
"""What is scored: the sounds against each other, the pictures, each one's sound against its picture, and where a .mid
of its name lies beside a generated video, that against the known notes."""
MOST_SECONDS = 1800.0
"""Longer files are refused rather than read into memory: half an hour of picture takes up to 9 GB."""
LARGEST_SIDE = 256
"""Pictures are compared at no more pixels a side than this."""
LARGEST_SQUARE = 128
"""The same where places are read, in the square crop."""


@dataclass
class Performance:
    """One file, analysed: what is heard and seen in it. ``heard`` or ``seen`` is ``None`` where the file lacks it."""

    path: Path
    info: MediaInfo
    heard: Heard | None
    seen: Seen | None


Cache = dict[tuple[Path, tuple[int, int], bool], Performance]
"""Analysed files by path, picture size and whether the picture was looked at: lets one reference be analysed once for
several generated folders."""


def evaluate_folders(
    reference: str | os.PathLike[str],
    generated: str | os.PathLike[str],
    seed: int = 0,
    cache: Cache | None = None,
    progress: bool = True,
    parts: Collection[str] = PARTS,
    weights: Mapping[str, str] | None = None,
    readers: Sequence[str] = (),
) -> dict[str, Any]:
    """Scores a folder of generated videos against a folder of reference videos.

    Args:
        reference: folder of the originals, with or without ``manifest.jsonl``.
        generated: folder of videos with the same names (endings may differ).
        seed: of the shuffled pairs and of the bootstrap.
        cache: analysed files of earlier calls, extended in place.
        progress: whether to show a progress bar on stderr.
        weights: folders of trained networks by score (:mod:`mvgen.evaluation.metrics.weighted`); what is not named is
            not run.
        readers: further readers of notes and instruments (:mod:`mvgen.evaluation.metrics.readers`).
        parts: which of :data:`PARTS` to score. Of what a direction leaves the original's own, scores tell nothing.

    Returns:
        ``summary`` (see :meth:`mvgen.evaluation.metrics.table.ScoreTable.summary`), ``per_clip``, and what the numbers
        rest on: ``clips``, ``seconds``, ``frame_rate``, ``native_frame_rates``, ``picture_sizes``, ``seed``,
        ``shuffled_pairs``, ``only_in_reference``, ``only_in_generated``, ``refused``; ``loris`` and ``weighted`` are
        of the whole set.

    Raises:
        UserError: a folder is missing or holds no video, no names match, the manifest is damaged, or not one pair can
            be read.
    """
    originals, products = find_videos(Path(reference)), find_videos(Path(generated))
    names = sorted(originals.keys() & products.keys())
    if not names:
        raise UserError(
            f"no file name in {generated} matches one in {reference} (for example {next(iter(products))!r} and "
            f"{next(iter(originals))!r}); give the generated videos the names of their originals"
        )
    known = read_manifest(Path(reference) / MANIFEST)
    loaded, second = judges(weights or {}), load_readers(readers)
    cache = {} if cache is None else cache
    look = "picture" in parts or "sync" in parts
    clips: list[Clip] = []
    pairs: list[tuple[Performance, Performance]] = []
    refused: list[dict[str, str]] = []

    def analyse_pair(name: str) -> tuple[Performance, Performance] | UserError:
        try:
            clip = known.get(name)
            size = scored_size(probe(products[name]), clip)
            original = analyse(originals[name], size, cache, clip, look=look)
            return original, analyse(products[name], size, cache, clip, like=original, look=look)
        except UserError as error:
            return error

    # Threads, not processes: OpenCV, libav and numpy let go of the interpreter.
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        analysed = tqdm(
            pool.map(analyse_pair, names), total=len(names), desc="listening", unit="clip", disable=not progress
        )
        for name, pair in zip(names, analysed, strict=True):
            if isinstance(pair, UserError):
                refused.append({"name": name, "reason": str(pair)})
            else:
                clips.append(known.get(name, Clip(name)))
                pairs.append(pair)
    clips, pairs = _complete(clips, pairs, refused)
    if not pairs:
        raise UserError(f"not one pair could be read; the first reason: {refused[0]['reason']}")
    table = score(clips, pairs, seed, parts)
    heard = [(a.heard, b.heard) for a, b in pairs if a.heard and b.heard]
    seen = [(a.seen, b.seen) for a, b in pairs if a.seen and b.seen]
    judged, weighted = score_weighted(clips, heard, seen, weights or {}, loaded, seed)
    table = table.merge(judged)
    again, read = score_readers(clips, heard, seen, second, seed)
    table = table.merge(again)
    lengths = [min(_seconds(original), _seconds(product)) for original, product in pairs]
    return {
        "reference": os.fspath(reference),
        "generated": os.fspath(generated),
        "clips": len(pairs),
        "seconds": {"shortest": min(lengths), "longest": max(lengths)},
        "frame_rate": FRAME_RATE,
        "native_frame_rates": sorted({round(b.info.frame_rate, 3) for _, b in pairs if b.seen}),
        "picture_sizes": sorted({b.seen.frames.shape[1:3] for _, b in pairs if b.seen}),
        "seed": seed,
        "shuffled_pairs": "within the same instrument",
        "only_in_reference": sorted(originals.keys() - products.keys()),
        "only_in_generated": sorted(products.keys() - originals.keys()),
        "refused": refused,
        "summary": table.summary(seed),
        "loris": loris(table),
        "weighted": weighted,
        "readers": read,
        "per_clip": table.per_clip(),
    }


def score(
    clips: list[Clip], pairs: list[tuple[Performance, Performance]], seed: int = 0, parts: Collection[str] = PARTS
) -> ScoreTable:
    """Every score that the files allow, of (original, generated) pairs; those that need a missing part are left out."""
    table = ScoreTable([clip.name for clip in clips], [clip.instrument for clip in clips])
    heard = [(a.heard, b.heard) for a, b in pairs if a.heard and b.heard]
    seen = [(a.seen, b.seen) for a, b in pairs if a.seen and b.seen]
    if "sound" in parts and len(heard) == len(pairs):
        table = table.merge(score_sound(clips, [a for a, _ in heard], [b for _, b in heard], seed))
    if "picture" in parts and len(seen) == len(pairs):
        table = table.merge(score_picture(clips, [a for a, _ in seen], [b for _, b in seen], seed))
    if "sync" in parts and len(heard) == len(seen) == len(pairs):
        originals = [a for a, _ in seen], [a for a, _ in heard]
        table = table.merge(score_sync(clips, [b for _, b in seen], [b for _, b in heard], seed, originals))
    written = [notes_beside(product.path) for _, product in pairs] if "notes" in parts else []
    if any(notes is not None for notes in written):
        lengths = [min(_seconds(original), _seconds(product)) for original, product in pairs]
        table = table.merge(score_notes(clips, written, lengths, seed))
    return table


def notes_beside(video: Path) -> np.ndarray | None:
    """What a MIDI file beside a video, of its name, holds (:func:`mvgen.media.midi.midi_notes`); ``None`` without one.

    Raises:
        UserError: it cannot be read.
    """
    path = video.with_suffix(".mid")
    return midi_notes(path) if path.is_file() else None


def loris(table: ScoreTable) -> dict[str, dict[str, float]]:
    """LORIS' scores of a set (:func:`mvgen.evaluation.metrics.beats.loris_set`) by group; empty where no sound was
    scored."""
    if "beat_hit" not in table.values:
        return {}
    values = table.values["beat_coverage"], table.values["beat_hit"]
    return {group: loris_set(*(column[chosen] for column in values)) for group, chosen in table.groups().items()}


def _complete(
    clips: list[Clip], pairs: list[tuple[Performance, Performance]], refused: list[dict[str, str]]
) -> tuple[list[Clip], list[tuple[Performance, Performance]]]:
    """Leaves out, and adds to ``refused``, each pair that lacks a sound or picture that other pairs have.

    So that every mean of one table is over the same clips. A set in which no pair has a sound is scored by picture.
    """
    for part in ("heard", "seen"):
        has = [all(getattr(performance, part) is not None for performance in pair) for pair in pairs]
        if any(has):
            word = "sound" if part == "heard" else "picture of two frames or more"
            refused += [
                {"name": clip.name, "reason": f"original or generated video has no {word}, though others have"}
                for clip, kept in zip(clips, has, strict=True)
                if not kept
            ]
            clips = [clip for clip, kept in zip(clips, has, strict=True) if kept]
            pairs = [pair for pair, kept in zip(pairs, has, strict=True) if kept]
    return clips, pairs


def analyse(
    path: Path,
    size: tuple[int, int],
    cache: Cache,
    clip: Clip | None = None,
    like: Performance | None = None,
    look: bool = True,
) -> Performance:
    """Reads one file and works out its onsets and motion, and what happens at the places of its instrument.

    Args:
        path: the video.
        size: height and width at which its picture is scored.
        cache: consulted and extended.
        clip: what is known of it.
        like: a performance whose picture or sound this one may share (an original's under generated music): what is
            equal is not worked out again.
        look: whether its picture is wanted.

    Raises:
        UserError: the file cannot be read, or holds neither a sound nor two frames of picture.
    """
    key = (path, size, look)
    if not look and (path, size, True) in cache:
        return cache[path, size, True]
    if key not in cache:
        info = probe(path)
        check_span(path, MOST_SECONDS)
        heard = seen = None
        if info.has_sound:
            heard = hear(path, like)
        if info.has_picture and look:
            seen = _seen(path, info, size, like)
            if seen and clip and clip.geometry:
                seen.deviation(clip.geometry)
        if heard is None and seen is None:
            raise UserError(f"{path} holds neither a sound nor two frames of picture")
        cache[key] = Performance(path, info, heard, seen)
    return cache[key]


def hear(path: Path, like: Performance | None = None) -> Heard:
    """The sound of a file, its onsets worked out. Raises ``UserError`` where it cannot be read or is not finite."""
    sound = read_sound(path, SAMPLE_RATE)
    if not np.isfinite(sound).all():
        raise UserError(f"{path}: its sound holds numbers that are not finite")
    if like and like.heard and np.array_equal(sound, like.heard.sound):
        return like.heard
    heard = Heard(sound)
    _ = heard.onsets
    return heard


def _seen(path: Path, info: MediaInfo, size: tuple[int, int], like: Performance | None) -> Seen | None:
    frames = read_picture(path, size)
    if len(frames) < 2:
        return None
    rates = (info.height, info.width, info.frame_rate)
    if like and like.seen and rates == (like.info.height, like.info.width, like.info.frame_rate):
        if np.array_equal(frames, like.seen.frames):
            return like.seen
    scored_as_it_is = (info.height, info.width) == size and abs(info.frame_rate - FRAME_RATE) < 1e-3
    seen = Seen(frames, None if scored_as_it_is else native_motion(path))
    _ = seen.motion
    return seen


def native_motion(path: Path) -> tuple[np.ndarray, float]:
    """Mean flow magnitude between all consecutive frames of a file at its own size, ``[n]``, and its frame rate."""
    magnitudes: list[float] = []
    before = None
    for shown in shown_pictures(path):
        grey = cv2.cvtColor(shown.frame.to_ndarray(format="rgb24"), cv2.COLOR_RGB2GRAY)
        if before is not None and before.shape == grey.shape:
            magnitudes.append(mean_flow(before, grey))
        before = grey
    if not magnitudes:
        raise UserError(f"{path} holds fewer than two frames")
    return np.array([magnitudes[0], *magnitudes]), probe(path).frame_rate or float(FRAME_RATE)


def read_manifest(path: Path) -> dict[str, Clip]:
    """What a manifest knows, by the name (without ending) of the file that each line points to; empty without a file.

    Raises:
        UserError: a line is not a JSON object, or its notes or film cannot be read; the line is named.
    """
    known: dict[str, Clip] = {}
    if not path.is_file():
        return known
    try:
        held = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    for number, text in enumerate(held.splitlines(), 1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
            name = plain_name(Path(line.get("path") or line["clip_id"]).stem)
            known[name] = Clip.of_line(line, name)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise UserError(f"{path} line {number} cannot be read: {error!r}") from error
    return known


def find_videos(folder: Path) -> dict[str, Path]:
    """The videos of a folder by plain name, no ending. Raises ``UserError`` if there is none, or two of one name."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder")
    videos: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file() and not path.name.startswith("."):
            name = plain_name(path.stem)
            if name in videos:
                raise UserError(f"{folder} holds both {videos[name].name} and {path.name}: keep one of each name")
            videos[name] = path
    if not videos:
        raise UserError(f"{folder} holds no video ({', '.join(VIDEO_SUFFIXES)})")
    return videos


def scored_size(info: MediaInfo, clip: Clip | None) -> tuple[int, int]:
    """Height and width at which a pair is compared: the generated one's, limited; square where places are read."""
    if not info.has_picture:
        return LARGEST_SQUARE, LARGEST_SQUARE
    if clip is not None and clip.geometry is not None:
        side = max(8, min(info.height, info.width, LARGEST_SQUARE))
        return side, side
    factor = min(1.0, LARGEST_SIDE / max(info.height, info.width))
    return max(8, round(info.height * factor)), max(8, round(info.width * factor))


def _seconds(performance: Performance) -> float:
    parts = [part.seconds for part in (performance.heard, performance.seen) if part is not None]
    return min(parts)
