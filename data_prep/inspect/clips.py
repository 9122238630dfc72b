"""One record as a picture of itself: frames, flow, sound, tokens and onsets over motion, on one time axis.

Drawn with NumPy and Pillow into PNG and SVG, so that a page holds all of it and needs nothing else.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from html import escape

import cv2
import numpy as np
from PIL import Image

from data_prep.inspect.records import Sample
from mvgen.clock import CODEC_SAMPLE_RATE, FRAME_RATE, TOKEN_RATE

THUMBNAIL = 112
"""Pixels of a picture's longer side, at most."""
ROWS, LOWEST, HIGHEST, RANGE = 96, 60.0, 14_000.0, 70.0
"""Rows of the spectrogram, its frequencies in Hz, and the decibels below its loudest that it shows."""
PALETTE = np.array(
    [[18, 22, 34], [34, 62, 84], [47, 111, 106], [146, 172, 110], [240, 200, 120], [255, 246, 220]], float
)
"""From silent to loud."""


def data_url(picture: np.ndarray) -> str:
    """A picture, uint8 ``[H, W, 3]``, as the address of an image that lies in the page itself."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def flow_picture(flow: np.ndarray, most: float) -> np.ndarray:
    """Flow as colour: the hue says where to, the brightness how far.

    Args:
        flow: ``[..., 2]`` (x, y). most: the length drawn at full brightness.

    Returns:
        uint8 ``[..., 3]`` RGB.
    """
    angle = np.arctan2(flow[..., 1], flow[..., 0])
    length = np.clip(np.hypot(flow[..., 0], flow[..., 1]) / max(most, 1e-6), 0, 1)
    hue = np.round((angle + np.pi) / (2 * np.pi) * 179).astype(np.uint8)
    value = np.round(255 * np.sqrt(length)).astype(np.uint8)  # small motion is what there is most of
    colours = np.stack([hue, np.full_like(hue, 190), value], axis=-1)
    shape = colours.shape
    return cv2.cvtColor(colours.reshape(1, -1, 3), cv2.COLOR_HSV2RGB).reshape(shape)


def flow_wheel(size: int = 72) -> np.ndarray:
    """What the colours of :func:`flow_picture` mean: uint8 ``[size, size, 3]``."""
    line = np.linspace(-1, 1, size)
    flow = np.stack(np.meshgrid(line, line), axis=-1)
    picture = flow_picture(flow, 1.0)
    picture[np.hypot(flow[..., 0], flow[..., 1]) > 1] = 255
    return picture


def spectrogram(sound: np.ndarray) -> np.ndarray:
    """A spectrogram over a logarithmic axis of frequency: uint8 ``[96, n, 3]``, a column for each 10 ms.

    Args:
        sound: float32 ``[n]`` at 32 kHz.
    """
    size, hop = 2048, CODEC_SAMPLE_RATE // 100
    padded = np.pad(sound, (size // 2, size // 2))
    pieces = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    spectrum = np.abs(np.fft.rfft(pieces * np.hanning(size), axis=1))
    edges = np.geomspace(LOWEST, HIGHEST, ROWS) / CODEC_SAMPLE_RATE * size
    lower = np.floor(edges).astype(int)
    share = edges - lower
    rows = spectrum[:, lower] * (1 - share) + spectrum[:, lower + 1] * share
    decibels = 20 * np.log10(np.maximum(rows, 1e-6))
    level = np.clip((decibels - decibels.max()) / RANGE + 1, 0, 1).T[::-1]
    if not np.abs(sound).max(initial=0) > 1e-5:
        level = np.zeros_like(level)
    places = np.linspace(0, 1, len(PALETTE))
    colours = [np.interp(level, places, PALETTE[:, channel]) for channel in range(3)]
    return np.stack(colours, axis=-1).round().astype(np.uint8)


def token_raster(tokens: np.ndarray, size: int) -> np.ndarray:
    """Tokens as colours, a row for each codebook: uint8 ``[K, n, 3]``."""
    codes = np.clip(tokens.T.astype(np.int64), 0, size - 1)
    # Neighbouring entries of a codebook mean nothing alike: their colours are spread by the golden ratio.
    hue = np.round(codes * 0.61803398875 % 1 * 179).astype(np.uint8)
    value = np.round(110 + 120 * (codes * 0.7548776662 % 1)).astype(np.uint8)
    return cv2.cvtColor(np.stack([hue, np.full_like(hue, 130), value], axis=-1), cv2.COLOR_HSV2RGB)


def _strip(pictures: Iterable[np.ndarray], side: int, smooth: bool) -> np.ndarray:
    """Pictures side by side, each with its longer side at ``side`` pixels, and a white line between them."""
    made = []
    for picture in pictures:
        height, width = picture.shape[:2]
        scale = side / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        how = cv2.INTER_AREA if scale < 1 else (cv2.INTER_CUBIC if smooth else cv2.INTER_NEAREST)
        made += [cv2.resize(picture, size, interpolation=how), np.full((size[1], 3, 3), 255, np.uint8)]
    return np.concatenate(made[:-1], axis=1)


def _waveform(sound: np.ndarray, width: int = 1000, height: int = 44) -> str:
    parts = np.array_split(sound, min(len(sound), width // 2))
    most = max(1e-6, float(np.abs(sound).max()))
    step = width / len(parts)
    top = [f"{i * step:.1f},{height / 2 * (1 - part.max() / most):.1f}" for i, part in enumerate(parts)]
    low = [f"{i * step:.1f},{height / 2 * (1 - part.min() / most) + 0.5:.1f}" for i, part in enumerate(parts)]
    return (
        f'<svg class="wave" viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" '
        f'aria-label="waveform"><polygon points="{" ".join(top + low[::-1])}"/></svg>'
    )


def _motion(sample: Sample, onsets: np.ndarray, seconds: float, width: int = 1000, height: int = 84) -> str:
    """Motion as an area, onsets heard in the sound as lines over it, known notes as dots above."""
    marks = [
        f'<path class="second" d="M{width * t / seconds:.1f} 0V{height}"/>' for t in range(1, int(np.ceil(seconds)))
    ]
    if len(sample.motion):
        most = max(1e-6, float(np.percentile(sample.motion, 99.5)))
        floor = height - 2
        points = [
            f"{width * i / FRAME_RATE / seconds:.1f},{floor - (height - 16) * min(1.0, value / most):.1f}"
            for i, value in enumerate(sample.motion)
        ]
        marks.append(f'<polygon class="motion" points="0,{floor} {" ".join(points)} {width},{floor}"/>')
    marks += [f'<path class="onset" d="M{width * time / seconds:.1f} 12V{height}"/>' for time in onsets]
    marks += [f'<circle cx="{width * on / seconds:.1f}" cy="5" r="2.6"/>' for on in sample.notes[:, 0]]
    return (
        f'<svg class="motions" viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" '
        f'aria-label="onsets over motion">{"".join(marks)}</svg>'
    )


def clip_panel(
    sample: Sample, codebook_size: int, sound: np.ndarray | None, onsets: np.ndarray, alignment: str, flow_most: float
) -> str:
    """A record as HTML.

    Args:
        sound: float32 at 32 kHz, what its tokens decode to; None where that cannot be had.
        onsets: heard in it, seconds.
        alignment: a line about it.
        flow_most: length of flow drawn at full brightness, pixels a frame.
    """
    seconds = len(sample.tokens) / TOKEN_RATE
    rows = []

    def row(name: str, inner: str) -> None:
        rows.append(f'<div class="row"><span>{name}</span><div>{inner}</div></div>')

    if sample.frames is not None:
        picture = data_url(_strip(sample.frames, THUMBNAIL, smooth=True))
        row("frames", f'<img class="strip" alt="frames, evenly apart" src="{picture}">')
    if sample.flow is not None:
        picture = data_url(_strip(flow_picture(sample.flow, flow_most), THUMBNAIL, smooth=False))
        row("flow", f'<img class="strip" alt="optical flow of the same frames" src="{picture}">')
    if sound is not None:
        row(
            "sound", _waveform(sound) + f'<img class="spectrum" alt="spectrogram" src="{data_url(spectrogram(sound))}">'
        )
    raster = data_url(token_raster(sample.tokens, codebook_size))
    row("tokens", f'<img class="raster" alt="tokens, a row for each codebook" src="{raster}">')
    row("motion", _motion(sample, onsets, seconds))
    split = escape(sample.split)
    labels = "".join(f'<span class="tag">{escape(label)}</span>' for label in sample.labels.split(",") if label)
    return (
        f'<article><h3>{escape(sample.clip_id)} {labels}<span class="tag {split}">{split}</span></h3>'
        f'<p class="soft">{seconds:.2f} s, {len(sample.notes)} notes known. {escape(alignment)}</p>'
        f"{''.join(rows)}</article>"
    )
