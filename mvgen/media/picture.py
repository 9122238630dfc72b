"""The picture of a file as mvgen sees it: 25 frames a second by presentation time, centre-cropped, area-averaged.

Preparation and generation both read through this module, so both see the same pixels.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import cv2
import numpy as np

from mvgen.clock import Seconds, frame_start, frames_before, whole_frames
from mvgen.errors import UserError
from mvgen.media.container import lacks, open_media, picture_stream
from mvgen.media.crop import Cropper, Size
from mvgen.media.decode import Losses, timed_pictures
from mvgen.media.flow import FlowStream
from mvgen.media.notes import note
from mvgen.media.timeline import Recording, recordings_of

WORKING_SIDE = 128
"""Pictures are decoded at no fewer pixels a side: flow is measured on these, smaller frames are averages of them."""
MUCH_LARGER = 4
"""Of sources so many times larger than what is wanted, a decoder may leave out what no pixel of it will show."""
COVER_GRACE = Fraction(1, 1000)
"""A frame counts as covered when at most this is missing at its end: containers' clocks tick as coarsely as 1 ms."""


def working_size(size: Size) -> Size:
    """The (height, width) at which pictures are decoded for frames of ``size``: a whole multiple of it."""
    factor = max(1, -(-WORKING_SIDE // min(size)))
    return size[0] * factor, size[1] * factor


def shrink(working: np.ndarray, size: Size) -> np.ndarray:
    """Averages a working frame, uint8 ``[kH, kW, 3]``, down to ``size`` = (H, W)."""
    if working.shape[:2] == tuple(size):
        return working
    return cv2.resize(working, (size[1], size[0]), interpolation=cv2.INTER_AREA)


@dataclass(frozen=True)
class Shown:
    """A decoded frame, the moment in seconds at which it goes on display, and for how long its stream says so.

    Attributes:
        aspect: width over height of its pixels.
    """

    moment: Fraction
    frame: av.VideoFrame
    seconds: Fraction
    aspect: Fraction


def shown_pictures(path: str | os.PathLike[str], size: Size | None = None) -> Iterator[Shown]:
    """The frames of a file that are ever on display, as they were recorded; the first of them at 0.

    Recordings that were joined byte by byte follow each other. What cannot be decoded is left out, and noted.

    Args:
        size: to which they will be averaged down, if so.

    Raises:
        UserError: not a video, no picture in it, or nothing of its picture can be decoded.
    """
    recordings = recordings_of(path)
    last: Fraction | None = None
    for recording in recordings:
        try:
            for shown in _of_recording(os.fspath(path), recording, size):
                # One that is not later than its predecessor is never on display.
                if last is None or shown.moment > last:
                    last = shown.moment
                    yield shown
        except UserError as error:
            if len(recordings) == 1:
                raise
            note(f"{error}; the picture before stays from {float(recording.begin):.2f} s on")
    if last is None:
        raise UserError(f"{os.fspath(path)}: in none of its {len(recordings)} recordings is a picture that can be read")


def _of_recording(name: str, recording: Recording, size: Size | None) -> Iterator[Shown]:
    with open_media(name, recording.window) as container:
        stream = picture_stream(container)
        if stream is None:
            raise lacks(name, container, "picture")
        if size is not None:
            _decode_for(stream, size)
        losses = Losses(name, stream)
        aspect = Fraction(stream.sample_aspect_ratio or 1) or Fraction(1)
        step = 1 / Fraction(stream.average_rate or 25)
        first: Fraction | None = None
        for time, frame in timed_pictures(container, stream, recording.courses[stream.index], losses):
            first = time if first is None else first
            seconds = Fraction(frame.duration or 0) * (frame.time_base or 0) or step
            yield Shown(recording.begin + time - first, frame, seconds, aspect)
        if first is None:
            raise losses.nothing()
        losses.tell(first - recording.begin)


def stream_picture(
    path: str | os.PathLike[str], size: Size, start: Seconds = 0, limit: Seconds | None = None
) -> Iterator[np.ndarray]:
    """Yields mvgen's frames one by one, uint8 ``[H, W, 3]`` RGB, until the picture ends; memory stays flat.

    Frame i shows what :func:`mvgen.clock.source_frames` says is on display at ``start + (i + 1/2)/25``. Identical
    successive frames are the same array object. What cannot be decoded is bridged by the picture before it, and noted.

    Args:
        limit: seconds; a longer picture is an error when it comes to that.

    Raises:
        UserError: not a video, no picture in it, nothing of its picture can be decoded, or longer than the limit.
    """
    crop = _Last(Cropper(size))
    begin = Fraction(start) if isinstance(start, (int, Fraction)) else Fraction(start).limit_denominator(10**9)
    # Frames whose picture is known wait here until the source is known to cover them to their end.
    waiting: deque[np.ndarray] = deque()
    yielded = 0
    shown: Shown | None = None
    for new in shown_pictures(path, size):
        if limit is not None and new.moment > limit:
            told = f"its picture lasts longer than the limit of {float(limit):g} s"
            raise UserError(f"{os.fspath(path)}: {told}")
        if shown is not None:
            # While the newly decoded frame is not yet on display at the middle of ours, ours shows the old one.
            decided = frames_before(new.moment, begin) - yielded - len(waiting)
            if decided > 0:
                waiting.extend([crop(shown)] * decided)
            while waiting and begin + frame_start(yielded + 1) <= new.moment:
                yielded += 1
                yield waiting.popleft()
        shown = new
    assert shown is not None
    total = whole_frames(shown.moment + shown.seconds + COVER_GRACE - begin)
    last = crop(shown) if yielded + len(waiting) < total else None
    for _ in range(yielded, total):
        yield waiting.popleft() if waiting or last is None else last


class _Last:
    """Crops frames; one that is the same as the last is not worked out again."""

    def __init__(self, crop: Cropper):
        self._crop = crop
        self._frame: av.VideoFrame | None = None
        self._picture = np.zeros((0, 0, 3), np.uint8)

    def __call__(self, shown: Shown) -> np.ndarray:
        if shown.frame is not self._frame:
            self._frame, self._picture = shown.frame, self._crop(shown.frame, shown.aspect)
        return self._picture


def _decode_for(stream: av.VideoStream, size: Size) -> None:
    """Sets the decoder before its first frame: of large pictures that are averaged down, edges between blocks are not
    smoothed in frames that no other frame is made from (an eighth of the work of decoding; docs/data.md has figures).
    """
    if stream.codec_context is not None and min(stream.width, stream.height) >= MUCH_LARGER * min(size):
        stream.codec_context.options = {**stream.codec_context.options, "skip_loop_filter": "noref"}


def _check_size(size: Size) -> None:
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"size must be (height, width) of at least one pixel, not {size}")


def read_picture(
    path: str | os.PathLike[str],
    size: Size,
    start: Seconds = 0.0,
    frames: int | None = None,
    limit: Seconds | None = None,
) -> np.ndarray:
    """The picture of a file at 25 frames a second.

    Args:
        size: (height, width) wanted; the picture is centre-cropped to this aspect (pixel aspect and rotation honoured).
        start: seconds after the picture's start at which frame 0 begins.
        frames: how many; by default as many whole frames as the picture covers. Fewer come back where it ends earlier.
        limit: see :func:`stream_picture`.

    Returns:
        uint8 ``[T, H, W, 3]`` RGB, T >= 0.

    Raises:
        UserError: see :func:`stream_picture`.
    """
    return read_picture_and_flow(path, size, None, start=start, frames=frames, limit=limit)[0]


def read_picture_and_flow(
    path: str | os.PathLike[str],
    size: Size,
    flow_size: Size | None,
    method: str = "dis",
    start: Seconds = 0.0,
    frames: int | None = None,
    limit: Seconds | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """:func:`read_picture` and the optical flow of the same frames, in one pass.

    The flow is measured on the frames at :func:`working_size`, before they are averaged down, which is why it cannot
    be had from the result of :func:`read_picture` alone.

    Returns:
        frames uint8 ``[T, H, W, 3]`` and flow float16 ``[T, h, w, 2]`` (None where ``flow_size`` is None).
    """
    _check_size(size)
    return frames_and_flow(
        _head(stream_picture(path, working_size(size), start, limit), frames), size, flow_size, method
    )


def frames_and_flow(
    working: Iterator[np.ndarray] | np.ndarray, size: Size, flow_size: Size | None, method: str = "dis"
) -> tuple[np.ndarray, np.ndarray | None]:
    """Frames and flow from pictures at :func:`working_size`, however they came about (a file, or Recital's film).

    Args:
        working: uint8 ``[kH, kW, 3]`` one after another, or as one array ``[T, kH, kW, 3]``.

    Returns:
        frames uint8 ``[T, H, W, 3]`` and flow float16 ``[T, h, w, 2]`` (None where ``flow_size`` is None).
    """
    small: list[np.ndarray] = []
    flow = FlowStream(flow_size, method) if flow_size else None
    flows: list[np.ndarray] = []
    before = None
    for picture in working:
        small.append(small[-1] if picture is before else shrink(picture, size))
        if flow is not None:
            flows.append(flow(picture))
        before = picture
    frames = np.stack(small) if small else np.zeros((0, *size, 3), np.uint8)
    if flow_size is None:
        return frames, None
    return frames, np.stack(flows) if flows else np.zeros((0, *flow_size, 2), np.float16)


def _head(pictures: Iterator[np.ndarray], frames: int | None) -> Iterator[np.ndarray]:
    for number, picture in enumerate(pictures):
        if frames is not None and number >= frames:
            return
        yield picture
