"""The eight ways in which a picture can lie: turned by quarters, and mirrored or not.

A display matrix maps the place (x, y) of a decoded pixel to its place on the screen: x' = a x + c y, y' = b x + d y,
with y downwards (ISO/IEC 14496-12, 8.3.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type


@dataclass(frozen=True)
class Orientation:
    """How a decoded picture is brought upright: its axes exchanged first, then mirrored.

    Attributes:
        exchanged: x and y change places.
        right_to_left: then left and right change places.
        upside_down: then top and bottom change places.
    """

    exchanged: bool = False
    right_to_left: bool = False
    upside_down: bool = False

    def upright(self, picture: np.ndarray) -> np.ndarray:
        """A decoded picture, ``[H, W, ...]``, as it is to be seen; ``[W, H, ...]`` where axes are exchanged."""
        if self.exchanged:
            picture = picture.swapaxes(0, 1)
        if self.right_to_left:
            picture = picture[:, ::-1]
        return picture[::-1] if self.upside_down else picture

    def shown(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the picture as it is to be seen."""
        return (height, width) if self.exchanged else (width, height)


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """What the display matrix of a decoded frame asks for, to the nearest of the eight."""
    data: Any = next((each for each in frame.side_data if getattr(each, "type", None) is Type.DISPLAYMATRIX), None)
    if data is None:
        return Orientation()
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].astype(np.int64)
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(False, bool(a < 0), bool(d < 0))
    return Orientation(True, bool(c < 0), bool(b < 0))
