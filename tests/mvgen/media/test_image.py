"""Still pictures of every usual kind come out as the same picture."""

import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from mvgen.errors import UserError
from mvgen.media import probe, read_image, read_picture, write_wav
from tests.mvgen.media.ffmpeg import ffmpeg
from tests.mvgen.media.test_picture import looks, quarters
from tests.mvgen.media.tiled_heic import tiled

GREYS = (81, 118, 49, 128)


def greys(height=120, width=120):
    """uint8, a quarter of each grey."""
    picture = np.zeros((height, width), np.uint8)
    for number, grey in enumerate(GREYS):
        row, column = divmod(number, 2)
        picture[row * height // 2 :, column * width // 2 :] = grey
    return picture


def quarters_of(picture):
    side = len(picture)
    return np.array([picture[y, x] for y in (side // 4, 3 * side // 4) for x in (side // 4, 3 * side // 4)], int)


def test_a_phones_picture_in_tiles_is_whole_and_upright(tmp_path):
    picture = quarters(192, 256)
    (tmp_path / "a.heic").write_bytes(tiled(picture, 64))
    assert looks(read_image(tmp_path / "a.heic", (64, 64)))
    (tmp_path / "turned.heic").write_bytes(tiled(np.rot90(picture, -1).copy(), 64, quarter_turns=1))
    assert looks(read_image(tmp_path / "turned.heic", (64, 64)))
    with pytest.raises(UserError, match=r"a.heic is a picture \(HEIC or AVIF\), not a video"):
        probe(tmp_path / "a.heic")


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_sixteen_bits_of_grey(tmp_path, name):
    Image.fromarray(greys().astype(np.uint16) * 257).save(tmp_path / name)
    np.testing.assert_allclose(quarters_of(read_image(tmp_path / name, (64, 64)))[:, 0], GREYS, atol=1)


@pytest.mark.parametrize("scale", [1 / 255, 1, 257])
def test_floats_of_grey(tmp_path, scale):
    Image.fromarray(greys().astype(np.float32) * np.float32(scale)).save(tmp_path / "a.tif")
    np.testing.assert_allclose(quarters_of(read_image(tmp_path / "a.tif", (64, 64)))[:, 2], GREYS, atol=1)


@pytest.mark.parametrize(("dtype", "white"), [(np.uint16, 65535), (np.float32, 1)])
@pytest.mark.parametrize("channels", [3, 4])
def test_deep_colours(tmp_path, dtype, white, channels):
    picture = quarters(120, 120)[..., ::-1].astype(np.float64) / 255 * white
    if channels == 4:
        picture = np.dstack([picture, np.full(picture.shape[:2], white)])
    assert cv2.imwrite(str(tmp_path / "a.tif"), picture.astype(dtype))
    assert looks(read_image(tmp_path / "a.tif", (64, 64)))


def test_thirty_two_bits_of_grey(tmp_path):
    Image.fromarray((greys() * ((2**31 - 1) / 255)).astype(np.int32)).save(tmp_path / "a.tif")
    found = quarters_of(read_image(tmp_path / "a.tif", (64, 64)))
    np.testing.assert_allclose(found[:, 0], GREYS, atol=1)


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif", "a.gif"])
def test_colour_under_transparency_does_not_show(tmp_path, name):
    picture = np.zeros((120, 120, 4), np.uint8)
    picture[:] = (255, 0, 255, 0)
    picture[:, :60] = (200, 30, 30, 255)
    if name == "a.gif":
        Image.fromarray(picture).convert("P").save(tmp_path / name, transparency=0)
    else:
        Image.fromarray(picture).save(tmp_path / name, **({"exact": True, "lossless": True} if "webp" in name else {}))
    left, right = read_image(tmp_path / name, (64, 64))[32, [8, 56]].astype(int)
    if name != "a.gif":
        np.testing.assert_allclose(left, (200, 30, 30), atol=3)
    assert np.ptp(right) <= 3 or name == "a.gif", "magenta shows"


def test_half_transparency_is_half_the_ground(tmp_path):
    Image.fromarray(np.full((16, 16, 4), (100, 0, 0, 128), np.uint8)).save(tmp_path / "a.png")
    np.testing.assert_allclose(read_image(tmp_path / "a.png", (8, 8))[4, 4], (177, 127, 127), atol=2)


def test_transparency_in_a_film_does_not_show(tmp_path):
    graph = "color=0xc81e1e:s=64x64:r=25:d=0.2,format=rgba[a];color=0xff00ff@0.0:s=64x64:r=25:d=0.2,format=rgba[b];"
    graph += "[a][b]hstack"
    for name, codec in (("a.mov", "qtrle"), ("b.mov", "png")):
        ffmpeg("-filter_complex", graph, "-c:v", codec, tmp_path / name)
        left, right = read_picture(tmp_path / name, (32, 64))[0][16, [8, 56]].astype(int)
        np.testing.assert_allclose(left, (200, 30, 30), atol=3)
        np.testing.assert_allclose(right, 255, atol=3)


@pytest.mark.parametrize("size", [(20_000, 2), (2, 20_000), (1, 1), (3, 5000)])
def test_pictures_of_any_shape(tmp_path, size):
    """What is cut out of a ribbon is its middle."""
    picture = np.zeros((*size, 3), np.uint8)
    picture[size[0] // 2 :, size[1] // 2 :] = 200
    Image.fromarray(picture).save(tmp_path / "a.png")
    found = read_image(tmp_path / "a.png", (64, 64))
    assert found.shape == (64, 64, 3) and found[-4:, -4:].min() > 150
    if min(size) > 1:
        assert found[:4, :4].max() < 50


def test_a_film_that_is_a_ribbon(tmp_path):
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=4000x8:r=25:d=0.2", "-c:v", "ffv1", tmp_path / "a.mkv")
    assert read_picture(tmp_path / "a.mkv", (64, 64)).shape == (5, 64, 64, 3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "LAB"])
def test_other_modes(tmp_path, mode):
    Image.fromarray(greys()).convert("RGB").convert(mode).save(tmp_path / "a.tif")
    found = quarters_of(read_image(tmp_path / "a.tif", (64, 64)))
    assert np.abs(found[:, 1] - GREYS).max() <= {"1": 255, "P": 12}.get(mode, 4)


def test_what_is_no_picture_is_named(tmp_path):
    write_wav(tmp_path / "a.wav", np.zeros(100, np.float32), 8000)
    (tmp_path / "b.png").write_text("just words\n" * 9)
    (tmp_path / "c.png").write_bytes(b"")
    (tmp_path / "d.jpg").mkdir()
    Image.fromarray(quarters(90, 90)).save(tmp_path / "e.png")
    (tmp_path / "e.png").write_bytes((tmp_path / "e.png").read_bytes()[:-150])
    for name, said in {
        "a.wav": "a.wav is not a readable picture; a picture is read from PNG",
        "b.png": "b.png is text, which is not read as a picture",
        "c.png": "c.png is empty",
        "d.jpg": "d.jpg is not a file",
        "e.png": "e.png: its picture is damaged: ",
        "f.png": "f.png: no such file",
    }.items():
        with pytest.raises(UserError, match=said):
            read_image(tmp_path / name, (64, 64))


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_heic_that_only_its_exif_turns(tmp_path, turn):
    """Without boxes that turn it: as converters of JPEGs leave them."""
    exif = Image.Exif()
    exif[274] = turn
    lying = {1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
             5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a), 7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
             8: lambda a: np.rot90(a, -1)}[turn]  # fmt: skip
    Image.fromarray(np.ascontiguousarray(lying(quarters(96, 128)))).save(tmp_path / "a.heic", exif=exif, quality=95)
    assert looks(read_image(tmp_path / "a.heic", (64, 64)))


def profile(colorants):
    """An ICC profile (version 2) of three colorants, XYZ under D50, whose curves are those of gamma 2.2."""

    def fixed(values):
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 4) + b"odd\0" + bytes(79),
        b"wtpt": b"XYZ " + bytes(4) + fixed((0.9642, 1.0, 0.8249)),
        **{
            name: b"XYZ " + bytes(4) + fixed(each)
            for name, each in zip((b"rXYZ", b"gXYZ", b"bXYZ"), colorants, strict=True)
        },
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), b"curv" + bytes(4) + struct.pack(">IH", 1, round(2.2 * 256))),
    }
    table, data, at = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += name + struct.pack(">II", at + len(data), len(content))
        data += content
    head = struct.pack(">I4sI4s4s4s", at + len(data), bytes(4), 0x02100000, b"mntr", b"RGB ", b"XYZ ") + bytes(12)
    head += b"acsp" + bytes(28) + fixed((0.9642, 1.0, 0.8249))
    return head.ljust(128, b"\0") + table + data


def test_colours_of_another_profile(tmp_path):
    """Display P3, as phones have it: its red is more than sRGB's."""
    p3 = profile([(0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841)])
    Image.new("RGB", (32, 32), (184, 61, 47)).save(tmp_path / "a.png", icc_profile=p3)
    np.testing.assert_allclose(read_image(tmp_path / "a.png", (8, 8))[4, 4], (200, 40, 40), atol=10)
    Image.new("RGB", (32, 32), (184, 61, 47)).save(tmp_path / "b.png", icc_profile=b"no profile")
    np.testing.assert_allclose(read_image(tmp_path / "b.png", (8, 8))[4, 4], (184, 61, 47))


def test_a_grey_that_does_not_show(tmp_path):
    deep = greys().astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "a.png", transparency=int(deep[0, 0]))
    shown = quarters_of(read_image(tmp_path / "a.png", (64, 64)))[:, 0]
    np.testing.assert_allclose(shown, (255, *GREYS[1:]), atol=1)


def test_a_tiff_that_pillow_writes_and_does_not_read(tmp_path):
    Image.fromarray(quarters(96, 96)).convert("YCbCr").save(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif", (64, 64)).shape == (64, 64, 3)
