"""Crop, scale, rotation and pixel aspect of what is read."""

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from mvgen.errors import UserError
from mvgen.media import frames_and_flow, read_image, read_picture, read_picture_and_flow, working_size, write_video
from tests.mvgen.media.flashes import constant_times, write_flashes

RED, GREEN, BLUE, GREY = (230, 30, 30), (30, 200, 30), (30, 30, 230), (128, 128, 128)


def quarters(height, width):
    """Grey, with a centred square whose quarters are red, green, blue and grey."""
    image = np.full((height, width, 3), 10, np.uint8)
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    half = side // 2
    for number, colour in enumerate((RED, GREEN, BLUE, GREY)):
        row, column = divmod(number, 2)
        y, x = top + row * half, left + column * half
        image[y : y + half, x : x + half] = colour
    return image


def looks(picture, colours=(RED, GREEN, BLUE, GREY)):
    side = len(picture)
    middles = [(side // 4, side // 4), (side // 4, 3 * side // 4), (3 * side // 4, side // 4), (3 * side // 4,) * 2]
    found = np.array([picture[place] for place in middles], float)
    return np.abs(found - np.array(colours)).max() < 25


@pytest.mark.parametrize(("height", "width"), [(96, 160), (160, 96), (128, 128), (200, 1840), (66, 90)])
def test_the_central_square_fills_the_frame(tmp_path, height, width):
    write_video(tmp_path / "a.mp4", np.stack([quarters(height, width)] * 3), None, 32_000)
    frames = read_picture(tmp_path / "a.mp4", (64, 64))
    assert frames.shape == (3, 64, 64, 3) and frames.dtype == np.uint8
    assert looks(frames[1])
    # Nothing of the surroundings is left at the edges.
    assert frames[1][32, :2].mean() > 60 and frames[1][32, -2:].mean() > 60


def test_target_of_another_aspect(tmp_path):
    write_video(tmp_path / "a.mp4", np.stack([quarters(120, 120)] * 2), None, 32_000)
    wide = read_picture(tmp_path / "a.mp4", (32, 64))
    assert wide.shape == (2, 32, 64, 3)
    assert np.abs(wide[0][4, 8].astype(int) - RED).max() < 25 and np.abs(wide[0][27, 56].astype(int) - GREY).max() < 25


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation_is_undone(tmp_path, rotation):
    """A player turns the picture as the display matrix says; so do we. Checked against ffmpeg's own turning."""
    import subprocess

    import imageio_ffmpeg

    plain, turned, upright = (tmp_path / name for name in ("plain.mp4", "turned.mp4", "upright.png"))
    write_video(plain, np.stack([quarters(96, 160)] * 3), None, 32_000)
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y"]
    subprocess.run(
        [*ffmpeg, "-display_rotation", str(rotation), "-i", str(plain), "-c", "copy", str(turned)], check=True
    )
    subprocess.run([*ffmpeg, "-i", str(turned), "-frames:v", "1", str(upright)], check=True)
    ours, theirs = read_picture(turned, (64, 64))[0], read_image(upright, (64, 64))
    assert np.abs(ours.astype(int) - theirs).mean() < 6
    assert not looks(ours)


def test_pixels_that_are_not_square(tmp_path):
    """64 x 48 pixels, each twice as wide as high, are a picture of 128 x 48: its central square is 24 pixels wide."""
    write_flashes(tmp_path / "a.mp4", constant_times(25, 2), aspect=Fraction(2))
    assert read_picture(tmp_path / "a.mp4", (48, 48)).shape == (50, 48, 48, 3)


def test_frames_are_averages_of_the_working_size(tmp_path):
    assert working_size((64, 64)) == (128, 128) and working_size((256, 256)) == (256, 256)
    assert working_size((48, 64)) == (144, 192)
    rng = np.random.default_rng(0)
    write_video(tmp_path / "a.mp4", rng.integers(0, 255, (4, 128, 128, 3), dtype=np.uint8), None, 32_000)
    working = read_picture(tmp_path / "a.mp4", (128, 128))
    small = read_picture(tmp_path / "a.mp4", (64, 64))
    np.testing.assert_allclose(small, working.reshape(4, 64, 2, 64, 2, 3).mean(axis=(2, 4)), atol=1)


def test_picture_and_flow_in_one_pass_are_those_of_the_parts(tmp_path):
    moving = np.stack([np.roll(quarters(128, 128), 2 * number, axis=1) for number in range(6)])
    write_video(tmp_path / "a.mp4", moving, None, 32_000)
    frames, flow = read_picture_and_flow(tmp_path / "a.mp4", (64, 64), (16, 16))
    np.testing.assert_array_equal(frames, read_picture(tmp_path / "a.mp4", (64, 64)))
    again = frames_and_flow(read_picture(tmp_path / "a.mp4", (128, 128)), (64, 64), (16, 16))
    np.testing.assert_array_equal(frames, again[0])
    np.testing.assert_array_equal(flow, again[1])
    assert flow.shape == (6, 16, 16, 2) and flow.dtype == np.float16


def test_read_image(tmp_path):
    Image.fromarray(quarters(90, 150)).save(tmp_path / "a.png")
    picture = read_image(tmp_path / "a.png", (64, 64))
    assert picture.shape == (64, 64, 3) and looks(picture)
    (tmp_path / "b.png").write_text("no image")
    with pytest.raises(UserError, match=r"b\.png"):
        read_image(tmp_path / "b.png", (64, 64))
    with pytest.raises(UserError, match="no such file"):
        read_image(tmp_path / "c.png", (64, 64))
