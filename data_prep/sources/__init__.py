"""Where clips come from. Every source gives the same: a list of :class:`data_prep.sources.manifest.Clip`."""

from __future__ import annotations

import os
from pathlib import Path

from data_prep.sources.fair_play import clips_of_fair_play, is_fair_play
from data_prep.sources.folder import clips_of_folder
from data_prep.sources.manifest import MANIFEST_FILE, Clip, read_manifest
from data_prep.sources.urmp import clips_of_urmp, pieces_of
from mvgen.data.records import DESCRIPTION_FILE
from mvgen.errors import UserError


def find_clips(source: str | os.PathLike[str], single_parts: bool = False) -> list[Clip]:
    """Clips of a manifest (.jsonl, .csv, .tsv), of a folder with a manifest.jsonl (as Recital's), or of any folder.

    URMP and FAIR-Play are known by how they lie on disk.

    Args:
        single_parts: of URMP, a clip for each player instead of one for each piece.

    Raises:
        UserError: there is no such file or folder, it is a folder of records already, or it holds no video.
    """
    path = Path(source)
    if path.is_dir():
        if (path / DESCRIPTION_FILE).exists():
            raise UserError(f"{path} is a folder of records already; --input takes videos or a manifest of videos")
        if (path / MANIFEST_FILE).is_file():
            return read_manifest(path / MANIFEST_FILE)
        if pieces_of(path):
            return clips_of_urmp(path, single_parts)
        return clips_of_fair_play(path) if is_fair_play(path) else clips_of_folder(path)
    if path.is_file():
        if path.suffix.lower() not in (".jsonl", ".csv", ".tsv"):
            raise UserError(f"{path} is neither a folder nor a manifest (.jsonl, .csv or .tsv)")
        return read_manifest(path)
    raise UserError(f"{path}: no such file or folder")
