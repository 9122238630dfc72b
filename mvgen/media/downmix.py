"""Several channels of sound as one.

The standard down-mix (ITU-R BS.775, table 2), in halves: a stereo pair is averaged, the centre enters at -3 dB beside
it, each surround channel 3 dB under a front one, low-frequency effects not at all. It is not scaled down for the case
that all channels shout at once.
"""

from __future__ import annotations

import av
import numpy as np

SQUARE = 0.5**0.5
GAINS = {
    "FL": 0.5, "FR": 0.5, "FC": SQUARE, "LFE": 0.0, "LFE2": 0.0, "BL": SQUARE / 2, "BR": SQUARE / 2, "SL": SQUARE / 2,
    "SR": SQUARE / 2, "BC": 0.5, "FLC": 0.5, "FRC": 0.5, "WL": SQUARE / 2, "WR": SQUARE / 2, "TFL": SQUARE / 2,
    "TFR": SQUARE / 2, "TBL": SQUARE / 2, "TBR": SQUARE / 2, "TSL": SQUARE / 2, "TSR": SQUARE / 2, "TC": 0.5,
    "TFC": 0.5, "TBC": 0.5, "DL": 0.5, "DR": 0.5,
}  # fmt: skip
"""Gain of each channel in the mono mix, by ffmpeg's names."""
CANCELLED = 0.01
"""Of the energy of its channels: where a mix holds less, they cancel each other (20 dB are lost)."""


def gains_of(layout: av.AudioLayout) -> np.ndarray:
    """Gain of each channel, float32 ``[channels]``; the mean over channels where the layout names none."""
    names = [channel.name for channel in layout.channels]
    if len(names) < 2 or not all(name in GAINS for name in names):
        return np.full(max(1, layout.nb_channels), 1 / max(1, layout.nb_channels), np.float32)
    gains = np.array([GAINS[name] for name in names], np.float32)
    return gains if gains.any() else np.full(len(names), 1 / len(names), np.float32)


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
    """Mixes blocks to mono and watches whether channels cancel each other.

    Args:
        alone: the number of a channel that is taken by itself instead.
    """

    def __init__(self, alone: int | None = None):
        self._alone = alone
        self._gains: dict[str, np.ndarray] = {}
        self._mixed = 0.0
        self._energy = np.zeros(0)

    def __call__(self, frame: av.AudioFrame) -> np.ndarray:
        """float32 ``[n]``."""
        block = samples_of_frame(frame)
        if self._alone is not None:
            return block[min(self._alone, len(block) - 1)]
        if len(block) == 1:
            return block[0]
        name = f"{frame.layout.name} {frame.layout.nb_channels}"
        if name not in self._gains:
            self._gains[name] = gains_of(frame.layout)
        gains = self._gains[name]
        with np.errstate(all="ignore"):  # samples that are not finite are refused by those who ask
            mixed = gains @ block
            energy = np.einsum("cn,cn->c", block, block, dtype=np.float64) * gains.astype(np.float64) ** 2
            self._mixed += float(np.dot(mixed, mixed))
        if len(energy) != len(self._energy):
            self._energy = np.zeros(len(energy))
        self._energy += energy
        return mixed

    @property
    def loudest_if_cancelled(self) -> int | None:
        """The loudest channel where the mix has lost nearly all that the channels hold, else None."""
        total = self._energy.sum()
        if not np.isfinite(total) or total <= 0 or self._mixed >= CANCELLED * total:
            return None
        return int(self._energy.argmax())
