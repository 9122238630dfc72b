"""Any folder of videos, searched to the bottom."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from pathlib import Path

from data_prep.sources.manifest import Clip, file_name
from mvgen.data.records import DESCRIPTION_FILE
from mvgen.errors import UserError

VIDEO_ENDINGS = frozenset(
    ".mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .ts .mts .m2ts .flv .wmv .asf .3gp .ogv .mxf".split()
)
"""Files with another ending are not taken for videos, and not listed."""

_MARKER = re.compile(
    r"[ _.-]+(?:[a-z]|\d+(?:\.\d+)?s(?:ec)?|(?:part|pt|cut|clip|seg|segment|excerpt)[ _.-]*\d+)$", re.IGNORECASE
)


def source_of(stem: str) -> str:
    """The performance that a file was cut from, told from its name: the stem without trailing marks of a cut.

    Marks are a single letter (``_a``), a duration (``_10s``) and ``part``, ``cut``, ``clip``, ``segment`` or
    ``excerpt`` with a number, each behind a space, underscore, dot or dash, any number of them. A bare number stays: in
    most collections it counts performances. So ``piano_topview_a_10s`` and ``piano_topview_b_10s`` are cuts of
    ``piano_topview``. Where names say something else, a manifest with ``source_id`` does.
    """
    while (shorter := _MARKER.sub("", stem)) != stem and shorter:
        stem = shorter
    return stem


def clips_of_folder(folder: Path) -> list[Clip]:
    """One clip for every video file below a folder, in order of their names.

    Hidden files and folders are passed over, and so are folders of records (their ``clips`` are products).

    Raises:
        UserError: there is none.
    """
    found: list[Path] = []
    for place, folders, files in os.walk(folder):
        if DESCRIPTION_FILE in files:
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(place, name)
            for name in files
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in VIDEO_ENDINGS
        ]
    if not found:
        raise UserError(f"{folder} holds no video ({', '.join(sorted(VIDEO_ENDINGS))})")
    relative = sorted(path.relative_to(folder) for path in found)
    return [
        Clip(
            clip_id=clip_id,
            path=(folder / path).absolute(),
            source_id=(path.parent / source_of(path.stem)).as_posix(),
            root=folder,
        )
        for path, clip_id in zip(relative, _ids(relative), strict=True)
    ]


def _ids(paths: list[Path]) -> list[str]:
    """An id for each path of a folder, no two alike: its name without the ending, folders before it.

    ``a.mp4`` and ``a.mov`` beside each other keep their endings. Of ``x/y.mp4`` and ``x_y.mp4``, which would both be
    ``x_y``, those whose name had to be changed to be an id bear a hash of it as well.
    """
    stems = [path.with_suffix("").as_posix() for path in paths]
    often = Counter(stems)
    names = [path.as_posix() if often[stem] > 1 else stem for path, stem in zip(paths, stems, strict=True)]
    ids = [file_name(name) for name in names]
    often = Counter(ids)
    return [
        clip_id if often[clip_id] == 1 or clip_id == name else f"{clip_id}-{_short_hash(name)}"
        for name, clip_id in zip(names, ids, strict=True)
    ]


def _short_hash(name: str) -> str:
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:8]
