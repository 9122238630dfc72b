"""FAIR-Play (Gao and Grauman 2019) as it lies on disk: ``videos/000001.mp4`` and ``binaural_audios/000001.wav`` ..."""

from __future__ import annotations

from pathlib import Path

from data_prep.sources.manifest import Clip

LICENCE = "CC-BY-4.0"


def is_fair_play(folder: Path) -> bool:
    """Whether the folder is laid out as FAIR-Play is."""
    return (folder / "videos").is_dir() and (folder / "binaural_audios").is_dir()


def clips_of_fair_play(folder: Path) -> list[Clip]:
    """A clip for each video, with the binaural recording of the same number as its sound.

    Clips of one recording cannot be told from their names, so each is a source of its own: for a test split without
    scenes seen in training, force ``split`` in a manifest.
    """
    return [
        Clip(
            clip_id=video.stem,
            path=video.absolute(),
            source_id=f"fair-play/{video.stem}",
            licence=LICENCE,
            sound=(folder / "binaural_audios" / f"{video.stem}.wav").absolute(),
        )
        for video in sorted((folder / "videos").glob("*.mp4"))
        if not video.name.startswith(".")
    ]
