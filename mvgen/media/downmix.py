"""Several channels of sound as one, or as two.

The standard down-mix (ITU-R BS.775, table 2): to each side its own front channel, the centre at -3 dB, its surround
channels at -3 dB, a single one behind at -6 dB, low-frequency effects not at all. Mono is the mean of both sides. It is
not scaled down for the case that all channels shout at once.
"""

from __future__ import annotations

import av
import numpy as np

SQUARE = 0.5**0.5
SIDES = {
    **dict.fromkeys(("FL", "FLC", "DL"), (1.0, 0.0)),
    **dict.fromkeys(("FR", "FRC", "DR"), (0.0, 1.0)),
    **dict.fromkeys(("FC", "TFC"), (SQUARE, SQUARE)),
    **dict.fromkeys(("SL", "BL", "WL", "TFL", "TSL", "TBL"), (SQUARE, 0.0)),
    **dict.fromkeys(("SR", "BR", "WR", "TFR", "TSR", "TBR"), (0.0, SQUARE)),
    **dict.fromkeys(("BC", "TC", "TBC"), (0.5, 0.5)),
    **dict.fromkeys(("LFE", "LFE2"), (0.0, 0.0)),
}
"""Gain of each channel, by ffmpeg's names, in the mix for the left and for the right."""
USUAL = {
    2: ("FL", "FR"),
    6: ("FL", "FR", "FC", "LFE", "BL", "BR"),
    8: ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"),
}
"""Channels of so many where a file does not name them, as PCM in Matroska: as ffmpeg and players take them."""
CANCELLED = 0.01
"""Of the energy of its channels: where a mix holds less, they cancel each other (20 dB are lost)."""


def gains_of(layout: av.AudioLayout, side: int | None = None) -> np.ndarray:
    """Gain of each channel, float32 ``[channels]``; the mean over channels where the layout does not name them.

    Args:
        side: 0 for the left, 1 for the right, None for mono.
    """
    count = max(1, layout.nb_channels)
    names = [channel.name for channel in layout.channels]
    if not all(name in SIDES for name in names):
        names = list(USUAL.get(count, names))
    if len(names) > 1 and all(name in SIDES for name in names):
        both = np.array([SIDES[name] for name in names], np.float32)
        gains = both.mean(axis=1) if side is None else both[:, side]
        if gains.any():
            return gains
    return np.full(count, 1 / count, np.float32)


def samples_of_frame(frame: av.AudioFrame) -> np.ndarray:
    """A decoded block, float32 ``[channels, n]``, full scale at 1."""
    block = frame.to_ndarray()
    if frame.format.is_packed:
        block = block.reshape(-1, frame.layout.nb_channels).T
    if block.dtype == np.uint8:
        return (block.astype(np.float32) - 128) / 128
    if block.dtype.kind == "i":
        return block.astype(np.float32) / np.float32(2.0 ** (8 * block.itemsize - 1))
    return block.astype(np.float32, copy=False)


class DownMix:
    """Mixes blocks to one channel and watches whether channels cancel each other.

    Args:
        side: see :func:`gains_of`.
        alone: the number of a channel that is taken by itself instead.
    """

    def __init__(self, side: int | None = None, alone: int | None = None):
        self._side, self._alone = side, alone
        self._gains: dict[str, np.ndarray] = {}
        self._mixed = 0.0
        self._energy = np.zeros(0)
        self._there = np.zeros(0)

    def __call__(self, frame: av.AudioFrame) -> np.ndarray:
        """float32 ``[n]``."""
        block = samples_of_frame(frame)
        if self._alone is not None:
            return block[min(self._alone, len(block) - 1)]
        if len(block) == 1:
            return block[0]
        name = f"{frame.layout.name} {frame.layout.nb_channels}"
        if name not in self._gains:
            self._gains[name] = gains_of(frame.layout, self._side)
        gains = self._gains[name]
        with np.errstate(all="ignore"):  # samples that are not finite are refused by those who ask
            mixed = gains @ block
            there = np.einsum("cn,cn->c", block, block, dtype=np.float64)
            self._mixed += float(np.dot(mixed, mixed))
        if len(there) != len(self._energy):
            self._energy, self._there = np.zeros(len(there)), np.zeros(len(there))
        self._energy += there * gains.astype(np.float64) ** 2
        self._there += there
        return mixed

    @property
    def left_out(self) -> bool:
        """Whether all that sounds is in channels that have no part in the mix, such as that of low effects."""
        there = self._side is None and bool(np.isfinite(self._there).all() and self._there.any())
        return there and not self._energy.any()

    @property
    def loudest_if_cancelled(self) -> int | None:
        """The loudest channel where the mix has lost nearly all that the channels hold, else None."""
        total = self._energy.sum()
        if self.left_out:
            return int(self._there.argmax())
        if not np.isfinite(total) or total <= 0 or self._mixed >= CANCELLED * total:
            return None
        return int(self._energy.argmax())
