"""HDR comes out near the ordinary picture that it was made from."""

import numpy as np
import pytest

from mvgen.media import read_picture
from mvgen.media.tone import HLG, PQ, TO_BT709, tone_mapped
from tests.mvgen.media.ffmpeg import ffmpeg

COLOURS = [(200, 30, 30), (30, 180, 30), (30, 30, 200), (128, 128, 128)]


@pytest.mark.parametrize("transfer", ["arib-std-b67", "smpte2084"])
def test_a_film_in_hdr_is_near_the_ordinary_one(tmp_path, transfer):
    """ffmpeg makes it of an ordinary film, white at 203 cd/m2 as BT.2408 says; each colour comes back."""
    path = tmp_path / "a.mov"
    pieces = [f"color=0x{r:02x}{g:02x}{b:02x}:s=96x64:r=25:d=0.2,format=gbrp" for r, g, b in COLOURS]
    graph = "".join(f"{piece}[p{number}];" for number, piece in enumerate(pieces))
    graph += "[p0][p1][p2][p3]xstack=inputs=4:layout=0_0|w0_0|0_h0|w0_h0,"
    graph += f"zscale=tin=bt709:pin=bt709:min=gbr:rin=pc:t={transfer}:p=bt2020:m=bt2020nc:r=tv:npl=203,"
    graph += "format=yuv420p10le"
    tags = ("-color_primaries", "bt2020", "-colorspace", "bt2020nc", "-color_trc", transfer, "-color_range", "tv")
    parameters = f"log-level=none:colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc"
    ffmpeg("-filter_complex", graph, *tags, "-c:v", "libx265", "-crf", 12, "-x265-params", parameters,
           "-tag:v", "hvc1", path)  # fmt: skip
    frame = read_picture(path, (64, 64))[1]
    found = np.array([frame[y, x] for y in (16, 48) for x in (16, 48)], int)
    assert np.abs(found - COLOURS).max() < 40, found
    assert np.abs(found[3] - found[3][0]).max() <= 3, "grey is grey"
    raw = np.array([(143, 60, 38), (101, 148, 60), (51, 33, 159), (112, 112, 112)])
    assert np.abs(found - COLOURS).sum() < 0.6 * np.abs(raw - COLOURS).sum()


@pytest.mark.parametrize("transfer", [HLG, PQ])
def test_brighter_light_stays_brighter_and_white_is_never_exceeded(transfer):
    signal = np.linspace(0, 1, 256, dtype=np.float32)[None, :, None].repeat(3, axis=2)
    grey = tone_mapped(signal, transfer)[0].astype(int)
    assert (np.diff(grey, axis=0) >= 0).all() and grey[0].max() == 0 and grey[-1].min() >= 254
    assert np.ptp(grey, axis=1).max() <= 1
    white = {HLG: 0.75, PQ: 0.58}[transfer]
    assert 225 <= grey[round(white * 255)].mean() <= 255


def test_primaries_keep_white():
    np.testing.assert_allclose(TO_BT709.sum(axis=1), 1, atol=1e-3)
