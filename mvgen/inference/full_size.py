"""A film at the size and shape of the image that was given: the image itself, displaced, with what was painted over it.

A model sees and paints the middle of the picture at its own size. But how things move holds at any size: here the whole
image is carried by the same displacement, and what was painted is added as its difference from the small image carried
alike. So what only moves stays as sharp as it was given.
"""

from __future__ import annotations

import cv2
import numpy as np

from mvgen.inference.music_to_video import Piece

FEATHER = 0.04
"""Part of the painted box over which it fades into the image around it."""
SHORTEST, LONGEST = 256, 1280
"""Pixels of the shorter side at least, of the longer side at most (that first)."""


def written_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) at which a film of an image of this size is written: the same shape, even sides."""
    factor = max(1.0, SHORTEST / min(height, width))
    factor = min(factor, LONGEST / max(height, width))
    return max(2, 2 * round(height * factor / 2)), max(2, 2 * round(width * factor / 2))


class FullSize:
    """Brings the pieces of one film to the size of its image.

    Args:
        image: the whole image, uint8 ``[height, width, 3]``.
        size: (height, width) of the model's frames: the middle of the image in their shape is what it saw.
    """

    def __init__(self, image: np.ndarray, size: tuple[int, int]):
        height, width = written_size(*image.shape[:2])
        shrinks = height < image.shape[0]
        self.image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
        factor = min(height / size[0], width / size[1])
        high, wide = min(height, round(size[0] * factor)), min(width, round(size[1] * factor))
        top, left = (height - high) // 2, (width - wide) // 2
        self.box = slice(top, top + high), slice(left, left + wide)
        self.seen = self.image[self.box].astype(np.float32)
        self.share = self._fading(high, wide, top > 0, left > 0)
        y, x = np.mgrid[0:high, 0:wide].astype(np.float32)
        self._places = x, y

    @staticmethod
    def _fading(high: int, wide: int, above: bool, beside: bool) -> np.ndarray:
        """How much of the box is seen, ``[high, wide, 1]``: less towards those of its sides that lie in the image."""

        def ramp(length: int, fades: bool) -> np.ndarray:
            far = np.minimum(np.arange(length), np.arange(length)[::-1]) + 0.5
            return np.clip(far / (FEATHER * length), 0, 1) if fades else np.ones(length)

        return (ramp(high, above)[:, None] * ramp(wide, beside)[None])[..., None].astype(np.float32)

    def frames(self, piece: Piece) -> np.ndarray:
        """The frames of a piece of one film, uint8 ``[some, height, width, 3]``."""
        if piece.carried is None:
            return self.image[None]
        high, wide = self.seen.shape[:2]
        small = _grey_levels(np.asarray(piece.carried.picture)[0])
        behind, shows, cover, field = (
            np.asarray(x)[0]
            for x in (piece.carried.behind, piece.carried.shows, piece.carried.cover, piece.carried.field)
        )
        given = cv2.resize(self.seen, behind.shape[1::-1], interpolation=cv2.INTER_AREA)
        # What was filled in is smooth; the outlines of what stood there must not come back with the given image.
        kept = _enlarged(shows[..., 0], high, wide)[..., None]
        lit = self.seen + _enlarged(_grey_levels(behind) - given, high, wide)
        backdrop = kept * lit + (1 - kept) * _enlarged(_grey_levels(behind), high, wide)
        made = np.empty((len(field), *self.image.shape), np.uint8)
        for number, frame in enumerate(piece.frames[0]):
            at = _enlarged(field[number], high, wide) * (wide, high)
            x, y = ((place + at[..., axis]).astype(np.float32) for axis, place in enumerate(self._places))
            carried = np.asarray(cv2.remap(self.seen, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
            share = 1 / (1 + np.exp(-_enlarged(cover[number], high, wide)[..., None]))
            painted = share * carried + (1 - share) * backdrop
            painted += _enlarged(frame.astype(np.float32) - small[number], high, wide)
            made[number] = self.image
            mixed = self.share * painted + (1 - self.share) * self.seen
            made[number][self.box] = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
        return made


def _grey_levels(values: np.ndarray) -> np.ndarray:
    return (np.clip(values, -1, 1).astype(np.float32) + 1) * 127.5


def _enlarged(values: np.ndarray, high: int, wide: int) -> np.ndarray:
    return cv2.resize(np.ascontiguousarray(values, np.float32), (wide, high), interpolation=cv2.INTER_LINEAR)
