"""What a phone's encoder leaves of a film: H.264 there and back, in memory."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction

import av
import cv2
import numpy as np

from mvgen.media.write import REPRODUCIBLE


def compressed(frames: Iterator[np.ndarray], size: tuple[int, int], crf: int) -> Iterator[np.ndarray]:
    """Encodes frames as 25 a second and decodes them again; the same frames give the same, on any machine.

    Args:
        frames: uint8 RGB, each ``[height, width, 3]``.
        size: (height, width), both even.
        crf: x264's constant rate factor: about 18 cannot be told from the original, 30 and more shows blocks.

    Yields:
        As many frames of the same shape.
    """
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        options = {"preset": "veryfast", "crf": str(crf), "x264-params": REPRODUCIBLE}
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.thread_count = 1
        for number, pixels in enumerate(frames):
            planes = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2YUV_I420), np.uint8)
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file, "r") as written:
        written.streams.video[0].codec_context.thread_count = 1
        for decoded in written.decode(video=0):
            yield cv2.cvtColor(decoded.to_ndarray(format="yuv420p"), cv2.COLOR_YUV2RGB_I420)
