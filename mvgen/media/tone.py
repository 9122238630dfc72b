"""HDR pictures (HLG, PQ) brought into the range and colours of all others.

What a signal of 203 cd/m2 shows becomes white (ITU-R BT.2408's reference); brighter light is rolled off towards it
instead of cut; BT.2020's colours are expressed in BT.709's. HLG tells the light of the scene, and is coded again as a
BT.709 camera would have (ITU-R BT.2100 and BT.709); PQ tells the light of the display, and gets the sRGB curve.
"""

from __future__ import annotations

import av
import numpy as np

HLG, PQ = 18, 16
"""Transfer characteristics, as H.273 numbers them."""
WHITE = 203.0
"""cd/m2 of what is shown as white."""
HLG_WHITE = 0.265
"""The same in HLG: light of the scene, of its most, at a signal of 0.75."""
KNEE = 0.8
"""Linear light, of white, from which on highlights are rolled off."""
TO_BT709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32)
"""BT.2020's primaries in BT.709's, of linear light (ITU-R BT.2407)."""


def is_hdr(frame: av.VideoFrame) -> bool:
    """Whether a frame says that its picture is coded by HLG or PQ."""
    return frame.color_trc in (HLG, PQ)


def _hlg_light(signal: np.ndarray) -> np.ndarray:
    """Light of the scene, 1 at white (ITU-R BT.2100, inverse OETF)."""

    light = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12)
    return light / HLG_WHITE


def _pq_light(signal: np.ndarray) -> np.ndarray:
    """Light of the display, 1 at white (SMPTE ST 2084)."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    power = np.maximum(signal, 0) ** (1 / m2)
    return (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1) * (10_000 / WHITE)


def tone_mapped(signal: np.ndarray, transfer: int) -> np.ndarray:
    """An HDR picture as an ordinary one.

    Args:
        signal: float32 ``[H, W, 3]``, R'G'B' in 0..1 with BT.2020's primaries.
        transfer: :data:`HLG` or :data:`PQ`.

    Returns:
        uint8 ``[H, W, 3]``, R'G'B' with BT.709's primaries.
    """
    light = (_hlg_light(signal) if transfer == HLG else _pq_light(signal)) @ TO_BT709.T
    light = np.maximum(light, 0)
    # All three channels by the factor of the largest, so that colours keep their hue.
    most = light.max(axis=2, keepdims=True)
    rolled = KNEE + (1 - KNEE) * (1 - np.exp(-(most - KNEE) / (1 - KNEE)))
    light = np.minimum(light * np.where(most > KNEE, rolled / np.maximum(most, KNEE), 1), 1)
    if transfer == HLG:
        coded = np.where(light < 0.018, 4.5 * light, 1.099 * np.maximum(light, 0.018) ** 0.45 - 0.099)
    else:
        coded = np.where(light < 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055)
    return np.rint(coded * 255).astype(np.uint8)
