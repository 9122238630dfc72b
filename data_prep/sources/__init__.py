"""Where clips come from. Every source gives the same: a list of :class:`data_prep.manifest.Clip`."""

from __future__ import annotations

import os
from pathlib import Path

from data_prep.manifest import Clip, read_manifest
from data_prep.sources.folder import clips_of_folder
from data_prep.write import MANIFEST_FILE
from mvgen.errors import UserError
from mvgen.records import DESCRIPTION_FILE


def find_clips(source: str | os.PathLike[str]) -> list[Clip]:
    """Clips of a manifest (.jsonl or .csv), of a folder that holds a manifest.jsonl (as Recital's), or of any folder.

    Raises:
        UserError: there is no such file or folder, it is a folder of records already, or it holds no video.
    """
    path = Path(source)
    if path.is_dir():
        if (path / DESCRIPTION_FILE).exists():
            raise UserError(f"{path} is a folder of records already; --input takes videos or a manifest of videos")
        return read_manifest(path / MANIFEST_FILE) if (path / MANIFEST_FILE).is_file() else clips_of_folder(path)
    if path.is_file():
        if path.suffix.lower() not in (".jsonl", ".csv"):
            raise UserError(f"{path} is neither a folder nor a manifest (.jsonl or .csv)")
        return read_manifest(path)
    raise UserError(f"{path}: no such file or folder")
