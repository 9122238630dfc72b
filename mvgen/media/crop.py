"""Decoded frames as upright RGB pictures of one size: centre crop to the target's aspect, then scale."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
from av.video.reformatter import ColorRange, VideoReformatter

from mvgen.media.orientation import orientation_of
from mvgen.media.tone import is_hdr, tone_mapped

GROUND = 255
"""Grey of the plain ground that transparent pictures are laid on: white, as paper and browsers have it."""
MOST_AROUND = 16
"""Where the scaled whole would be so many times the target, the picture is cut before it is scaled."""

Size = tuple[int, int]


class Cropper:
    """Turns decoded frames into upright RGB pictures of one size.

    The whole picture is scaled so that the crop comes out at the target's size, and then cut: one pass of the scaler
    over the frame and one reused reformatter. Frames with an alpha channel are laid on a plain ground first; those of
    HDR are tone-mapped last, at the small size.
    """

    def __init__(self, size: Size):
        self._size = size
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame, aspect: Fraction) -> np.ndarray:
        """``aspect``: width over height of a source pixel. Returns uint8 ``[H, W, 3]``."""
        orientation = orientation_of(frame)
        height, width = self._size[::-1] if orientation.exchanged else self._size
        hdr = frame.color_trc if is_hdr(frame) else 0
        if any(component.is_alpha for component in frame.format.components) or frame.format.name == "pal8":
            frame = on_ground(frame)
        # One factor for both axes, in shown pixels: the smaller side of the picture fills the target.
        shown_width, shown_height = frame.width * float(aspect), float(frame.height)
        factor = max(width / shown_width, height / shown_height)
        if shown_width * factor * shown_height * factor > MOST_AROUND * width * height:
            frame = self._cut(frame, width / factor / float(aspect), height / factor)
            shown_width, shown_height = frame.width * float(aspect), float(frame.height)
            factor = max(width / shown_width, height / shown_height)
        # Same parity as the target, so that the cut is centred to the pixel.
        whole_width = max(width, width + 2 * round((shown_width * factor - width) / 2))
        whole_height = max(height, height + 2 * round((shown_height * factor - height) / 2))
        scaled = self._rgb(frame, whole_width, whole_height, "rgb48le" if hdr else "rgb24")
        top, left = (whole_height - height) // 2, (whole_width - width) // 2
        picture = scaled[top : top + height, left : left + width]
        if hdr:
            picture = tone_mapped(picture.astype(np.float32) / 65535, hdr)
        return np.ascontiguousarray(orientation.upright(picture))

    def _rgb(self, frame: av.VideoFrame, width: int, height: int, pixels: str) -> np.ndarray:
        shrinking = width <= frame.width and height <= frame.height
        return self._reformatter.reformat(
            frame,
            width=width,
            height=height,
            format=pixels,
            interpolation="AREA" if shrinking else "BICUBIC",
            dst_color_range=ColorRange.JPEG,
            threads=1,
        ).to_ndarray()

    def _cut(self, frame: av.VideoFrame, width: float, height: float) -> av.VideoFrame:
        """The middle of a very long or very high frame: scaled whole, it would not fit into memory."""
        pixels = "rgb48le" if is_hdr(frame) else "rgb24"
        whole = self._rgb(frame, frame.width, frame.height, pixels)
        wide, high = (max(1, min(most, round(size))) for most, size in ((frame.width, width), (frame.height, height)))
        left, top = (frame.width - wide) // 2, (frame.height - high) // 2
        return av.VideoFrame.from_ndarray(
            np.ascontiguousarray(whole[top : top + high, left : left + wide]), format=pixels
        )


def on_ground(frame: av.VideoFrame) -> av.VideoFrame:
    """A frame with an alpha channel as one without: the ground shows through, whatever colour hides there."""
    picture = frame.reformat(format="rgba", dst_color_range=ColorRange.JPEG, threads=1).to_ndarray()
    return av.VideoFrame.from_ndarray(laid_on_ground(picture), format="rgb24")


def laid_on_ground(picture: np.ndarray) -> np.ndarray:
    """uint8 ``[H, W, 4]`` RGBA (alpha not multiplied in) over a plain ground, uint8 ``[H, W, 3]``."""
    cover = picture[..., 3:].astype(np.uint16)
    return ((picture[..., :3] * cover + GROUND * (255 - cover) + 127) // 255).astype(np.uint8)
