"""What an inspection found, as one HTML page that needs nothing else."""

from __future__ import annotations

import base64
import io
import os
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from data_prep.inspect import FLOW_EDGES, Findings, summary
from mvgen.errors import UserError
from mvgen.records import RecordSpec

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem }
td, th { padding: .15rem .8rem .15rem 0; text-align: left }
.good { color: #176b2c } .bad { color: #a11 } figure { display: inline-block; margin: 0 .6rem .6rem 0; width: 112px }
figcaption { font-size: 11px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap }
img { image-rendering: pixelated; width: 112px; border-radius: 4px } svg { background: #f5f5f2; border-radius: 4px }
"""


def _bars(values: np.ndarray, width: int = 900, height: int = 90) -> str:
    """Values as an SVG of bars, highest as high as the picture."""
    most = max(1, int(values.max(initial=0)))
    step = width / len(values)
    bars = "".join(
        f'<rect x="{number * step:.2f}" y="{height - value / most * height:.2f}" width="{step:.2f}" '
        f'height="{value / most * height:.2f}" fill="#3b6ea5"/>'
        for number, value in enumerate(values)
        if value
    )
    return f'<svg viewBox="0 0 {width} {height}" width="100%" height="{height}" preserveAspectRatio="none">{bars}</svg>'


def _picture(frame: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "png")
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'


def write_report(path: Path, folder: str, found: Findings, spec: RecordSpec) -> None:
    """Writes the page (atomically). Raises ``UserError`` when it cannot be written."""
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in summary(found, spec))
    if found.bad:
        lines = "".join(f"<li>{escape(line)}</li>" for line in found.bad)
        verdict = f'<p class="bad">{len(found.bad)} faults:</p><ul class="bad">{lines}</ul>'
    else:
        verdict = '<p class="good">Every record is sound: CRCs, sizes, clock, codes, flow and notes.</p>'
    tokens = "".join(
        f"<h2>Codebook {book}: how often each of its {spec.codebook_size} entries is used</h2>{_bars(counts)}"
        for book, counts in enumerate(found.counts)
    )
    edges = [*(f"below {edge:g}" for edge in FLOW_EDGES[1:-1]), "more"]
    flow = "".join(f"<td>{name}: {count}</td>" for name, count in zip(edges, found.flow_histogram, strict=True))
    figures = "".join(
        f'<figure>{_picture(frame)}<figcaption title="{escape(name)}">{escape(name)}</figcaption></figure>'
        for name, frame in found.thumbnails
    )
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Records in {escape(folder)}</title>'
        f"<style>{STYLE}</style><h1>Records in {escape(folder)}</h1>{verdict}<table>{rows}</table>"
        f"<h2>First frames</h2>{figures}{tokens}"
        f"<h2>Optical flow, pixels a frame</h2><table><tr>{flow}</tr></table></html>\n"
    )
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        partial.write_text(page)
        os.replace(partial, path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from None
    finally:
        partial.unlink(missing_ok=True)
