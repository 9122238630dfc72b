"""All eight ways in which a camera's picture can lie, against ffmpeg's own turning and mirroring."""

import struct

import numpy as np
import pytest
from PIL import Image

from mvgen.media import probe, read_image, read_picture, write_video
from tests.mvgen.media.ffmpeg import ffmpeg
from tests.mvgen.media.test_picture import quarters

ONE = 1 << 16
MATRICES = [(ONE, 0, 0, ONE), (-ONE, 0, 0, ONE), (ONE, 0, 0, -ONE), (-ONE, 0, 0, -ONE),
            (0, ONE, ONE, 0), (0, ONE, -ONE, 0), (0, -ONE, ONE, 0), (0, -ONE, -ONE, 0)]  # fmt: skip
"""a, b, c, d of the display matrix, in 16.16."""


def with_matrix(path, matrix):
    """Writes the matrix into the track header of an MP4."""
    data = bytearray(path.read_bytes())
    a, b, c, d = matrix
    struct.pack_into(">9i", data, data.index(b"tkhd") + 4 + 40, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    path = tmp_path_factory.mktemp("plain") / "a.mp4"
    write_video(path, np.stack([quarters(96, 160)] * 2), None, 32_000)
    return path


@pytest.mark.parametrize("matrix", MATRICES)
def test_a_video(plain, tmp_path, matrix):
    path = tmp_path / "a.mp4"
    path.write_bytes(plain.read_bytes())
    with_matrix(path, matrix)
    ffmpeg("-i", path, "-frames:v", 1, tmp_path / "upright.png")
    info = probe(path)
    assert (info.width, info.height) == Image.open(tmp_path / "upright.png").size
    ours, theirs = read_picture(path, (64, 64))[0], read_image(tmp_path / "upright.png", (64, 64))
    assert np.abs(ours.astype(int) - theirs).mean() < 6
    corners = {tuple((picture > 120).reshape(-1, 3)[[8 * 64 + 16, 48 * 64 + 48]].ravel()) for picture in (ours, theirs)}
    assert len(corners) == 1


def test_all_eight_differ(plain, tmp_path):
    seen = []
    for matrix in MATRICES:
        (tmp_path / "a.mp4").write_bytes(plain.read_bytes())
        with_matrix(tmp_path / "a.mp4", matrix)
        seen.append(read_picture(tmp_path / "a.mp4", (64, 64))[0].astype(int))
    apart = [np.abs(one - other).mean() for number, one in enumerate(seen) for other in seen[:number]]
    assert min(apart) > 20


@pytest.mark.parametrize("number", range(1, 9))
def test_an_image(tmp_path, number):
    """EXIF's eight, as Pillow undoes them."""
    upright = Image.fromarray(quarters(96, 160))
    undo = {2: [0], 3: [3], 4: [1], 5: [5], 6: [2], 7: [6], 8: [4]}.get(number, [])
    stored = upright
    for step in undo:
        stored = stored.transpose(Image.Transpose(step))
    exif = Image.Exif()
    exif[0x0112] = number
    stored.save(tmp_path / "a.jpg", exif=exif, quality=95)
    ours = read_image(tmp_path / "a.jpg", (64, 64))
    upright.save(tmp_path / "b.png")
    assert np.abs(ours.astype(int) - read_image(tmp_path / "b.png", (64, 64))).mean() < 6
