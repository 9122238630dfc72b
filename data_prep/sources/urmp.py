"""URMP (Li et al. 2019) as it lies on disk: a folder for each piece.

01_Jupiter_vn_vc/Vid_01_Jupiter_vn_vc.mp4     all players in one picture, with the mixed sound
01_Jupiter_vn_vc/AuSep_1_vn_01_Jupiter.wav    the sound of player 1 alone
01_Jupiter_vn_vc/Notes_1_vn_01_Jupiter.txt    his notes: onset (s), frequency (Hz), duration (s), a line each
"""

from __future__ import annotations

import math
import re
from pathlib import Path

from data_prep.sources.manifest import Clip
from mvgen.errors import UserError

LICENCE = "CC0-1.0"
INSTRUMENTS = {
    **{"vn": "violin", "va": "viola", "vc": "cello", "db": "double bass", "fl": "flute", "ob": "oboe"},
    **{"cl": "clarinet", "sax": "saxophone", "bn": "bassoon", "tpt": "trumpet", "hn": "horn", "tbn": "trombone"},
    "tba": "tuba",
}
"""What the abbreviations in its file names stand for."""
_PIECE = re.compile(r"\d\d_[^_]+(?:_[a-z]+)+")
_NOTES = re.compile(r"Notes_(\d+)_([a-z]+)_(.+)\.txt")


def pieces_of(folder: Path) -> list[Path]:
    """The folders of pieces; none where this is not URMP."""
    found = sorted(path for path in folder.iterdir() if path.is_dir() and _PIECE.fullmatch(path.name))
    return [path for path in found if any(path.glob("Notes_*.txt")) or any(path.glob("Vid_*.mp4"))]


def clips_of_urmp(folder: Path, single_parts: bool = False) -> list[Clip]:
    """The clips of URMP.

    Args:
        single_parts: one clip for each player instead of one for each piece: the whole picture with the sound, notes
            and the label of that player alone. All clips of a piece share its source.

    Raises:
        UserError: a file of notes cannot be understood.
    """
    clips = []
    for piece in pieces_of(folder):
        video = piece / f"Vid_{piece.name}.mp4"
        parts = []
        for path in sorted(piece.glob("Notes_*.txt")):
            told = _NOTES.fullmatch(path.name)
            if told:
                sound = piece / f"AuSep_{told[1]}_{told[2]}_{told[3]}.wav"
                parts.append((int(told[1]), INSTRUMENTS.get(told[2], told[2]), _notes(path), sound))
        if single_parts:
            clips += [
                Clip(
                    clip_id=f"{piece.name}-part{number}",
                    path=video.absolute(),
                    source_id=piece.name,
                    labels=(instrument,),
                    licence=LICENCE,
                    notes=notes,
                    sound=sound.absolute(),
                )
                for number, instrument, notes, sound in sorted(parts)
            ]
        else:
            instruments = [INSTRUMENTS.get(name, name) for name in piece.name.split("_")[2:]]
            every = sorted(note for _, _, notes, _ in parts for note in notes)
            clips.append(
                Clip(piece.name, video.absolute(), piece.name, tuple(dict.fromkeys(instruments)), LICENCE, None,
                     tuple(every))
            )  # fmt: skip
    return clips


def _notes(path: Path) -> tuple[tuple[float, float, float], ...]:
    """(onset s, offset s, MIDI pitch) of each line; the pitch is the nearest semitone of A4 = 440 Hz."""
    notes = []
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        try:
            onset, frequency, duration = (float(cell) for cell in line.replace(",", " ").split())
            if not (onset >= 0 and duration >= 0 and 8 < frequency < 13000):
                raise ValueError
            pitch = round(69 + 12 * math.log2(frequency / 440))
        except ValueError:
            raise UserError(f"{path} line {number}: not an onset, a frequency and a duration") from None
        notes.append((onset, onset + duration, float(pitch)))
    return tuple(sorted(notes))
