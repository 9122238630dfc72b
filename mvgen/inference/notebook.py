"""Results as a notebook shows them: a player with the file inside the page, so that it plays wherever that is."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Callable
from html import escape
from pathlib import Path

LARGEST = 32_000_000
"""Bytes of a file that is put into a page."""


def player(name: str, save: Callable[[Path], object], told: str) -> str:
    """HTML that plays a result; where its file is too large for a page, what it is and how to save it.

    Args:
        name: of the file; its ending says what it is, .mp4 or .wav.
        save: writes the file to a path.
        told: what it is, in a line.
    """
    with tempfile.TemporaryDirectory(prefix="mvgen-") as folder:
        path = Path(folder) / name
        save(path)
        size = path.stat().st_size
        data = base64.b64encode(path.read_bytes()).decode() if size <= LARGEST else ""
    caption = f"<p>{escape(told)}</p>"
    if not data:
        return f"{caption}<p>{size / 1e6:.0f} MB, too large for a page: write it with <code>.save(path)</code>.</p>"
    if name.endswith(".wav"):
        return f'{caption}<audio controls src="data:audio/wav;base64,{data}"></audio>'
    return f'{caption}<video controls style="max-width: 640px" src="data:video/mp4;base64,{data}"></video>'
