"""How well transcriber and place detector read a folder of originals: ``python -m mvgen.evaluate --validate DIR``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mvgen.errors import UserError
from mvgen.evaluation.folders import MANIFEST, find_videos, hear, read_manifest, scored_size
from mvgen.evaluation.metrics.clips import Clip, Heard, Seen
from mvgen.evaluation.metrics.table import lines
from mvgen.evaluation.metrics.validation import ENOUGH, shortfalls, validate
from mvgen.files import write_json
from mvgen.media import probe, read_picture


def validate_folder(folder: str | os.PathLike[str], seed: int = 0, progress: bool = True) -> dict[str, Any]:
    """How well notes and places are read from originals whose notes a manifest knows
    (:mod:`mvgen.evaluation.metrics.validation`).

    Returns:
        ``summary``, ``per_clip``, ``seed``, ``clips``, ``refused``, and ``shortfalls``: which of the two do not reach
        what they must, in words.

    Raises:
        UserError: no manifest with notes, a damaged one, or not one clip that can be read.
    """
    videos, known = find_videos(Path(folder)), read_manifest(Path(folder) / MANIFEST)
    names = [name for name in sorted(videos) if name in known and known[name].known]
    if not names:
        raise UserError(f"{folder} holds no {MANIFEST} that knows the notes of a video in it; make one with Recital")
    clips: list[Clip] = []
    sounds: list[Heard] = []
    pictures: list[Seen] = []
    refused: list[dict[str, str]] = []
    for name in tqdm(names, desc="reading", unit="clip", disable=not progress):
        try:
            info = probe(videos[name])
            if not (info.has_sound and info.has_picture):
                raise UserError(f"{videos[name]} lacks its sound or its picture")
            heard, seen = hear(videos[name]), Seen(read_picture(videos[name], scored_size(info, known[name])))
        except (UserError, ValueError) as error:
            refused.append({"name": name, "reason": str(error)})
            continue
        clips.append(known[name])
        sounds.append(heard)
        pictures.append(seen)
    if not clips:
        raise UserError(f"not one clip could be read; the first reason: {refused[0]['reason']}")
    table = validate(clips, sounds, pictures, seed)
    summary = table.summary(seed)
    return {
        "folder": os.fspath(folder),
        "clips": len(clips),
        "seed": seed,
        "refused": refused,
        "summary": summary,
        "per_clip": table.per_clip(),
        "shortfalls": shortfalls(summary),
    }


def report_readers(folder: str, seed: int, out: str | None) -> int:
    """Prints (and writes, if ``out`` is given) what :func:`validate_folder` finds; 1 if either falls short."""
    found = validate_folder(folder, seed)
    print(f"{found['clips']} originals, each read by what was fitted on others; chance: shuffled pairs (seed {seed})")
    for entry in found["refused"]:
        print(f"refused {entry['name']}: {entry['reason']}")
    print("\n".join(["", *lines(found["summary"]), ""]))
    print("\n".join(found["shortfalls"] or [f"every reader reaches {ENOUGH} in every group"]))
    if out:
        write_json(out, found)
    return 1 if found["shortfalls"] else 0
