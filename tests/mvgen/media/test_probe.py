"""What is opened, what is refused, and what a file says of itself."""

from fractions import Fraction

import numpy as np
import pytest

from mvgen.errors import UserError
from mvgen.media import probe, read_picture, read_sound, write_video, write_wav
from tests.mvgen.media.flashes import constant_times, write_flashes


def test_says_what_the_file_holds(tmp_path):
    write_flashes(tmp_path / "a.mp4", constant_times(30, 2), 48_000, size=(96, 64))
    info = probe(tmp_path / "a.mp4")
    assert (info.has_picture, info.has_sound, info.width, info.height) == (True, True, 96, 64)
    assert info.channels == 1
    assert info.frame_rate == pytest.approx(30, abs=0.1) and info.sample_rate == 48_000
    assert info.duration == pytest.approx(2, abs=0.05)


def test_sound_alone(tmp_path):
    write_wav(tmp_path / "a.wav", np.full(1600, 0.5, np.float32), 16_000)
    info = probe(tmp_path / "a.wav")
    assert not info.has_picture and info.has_sound
    sound = read_sound(tmp_path / "a.wav", 16_000)
    np.testing.assert_allclose(sound, 0.5, atol=1e-4)
    with pytest.raises(UserError, match="no picture"):
        read_picture(tmp_path / "a.wav", (8, 8))


def test_picture_alone(tmp_path):
    write_video(tmp_path / "a.mp4", np.zeros((5, 16, 16, 3), np.uint8), None, 32_000)
    assert not probe(tmp_path / "a.mp4").has_sound
    with pytest.raises(UserError, match="no sound"):
        read_sound(tmp_path / "a.mp4", 32_000)


@pytest.mark.parametrize(
    ("name", "contents"),
    [
        ("text.mp4", b"I am not a video\n" * 50),
        ("empty.mp4", b""),
        ("list.mp4", b"#EXTM3U\n#EXTINF:1,\nsecret.mp4\n#EXT-X-ENDLIST\n"),
        ("script.mp4", b"ffconcat version 1.0\nfile 'secret.mp4'\n"),
        ("zeros.mp4", bytes(4096)),
    ],
)
def test_refuses_what_is_no_video(tmp_path, name, contents):
    """A playlist or script must not even open the good file that it names."""
    write_flashes(tmp_path / "secret.mp4", constant_times(25, 2))
    (tmp_path / name).write_bytes(contents)
    with pytest.raises(UserError, match=name):
        probe(tmp_path / name)


def test_refuses_what_is_no_file(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        probe(tmp_path / "a.mp4")
    with pytest.raises(UserError, match="not a file"):
        probe(tmp_path)
    with pytest.raises(UserError, match="no such file"):
        probe("http://127.0.0.1:9/a.mp4")


def test_names_are_never_taken_for_anything_else(tmp_path):
    for name in ("-i.mp4", "pipe:0.mp4", "a b'c\"%03d.mp4", "\u97f3\u697d.mp4"):
        write_flashes(tmp_path / "plain.mp4", constant_times(25, Fraction(6, 5)))
        (tmp_path / "plain.mp4").rename(tmp_path / name)
        assert probe(tmp_path / name).has_picture


def test_a_truncated_file_gives_what_is_left_or_an_error(tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (50, 64, 64, 3), dtype=np.uint8)
    write_video(tmp_path / "a.mp4", frames, np.zeros(64_000, np.float32), 32_000)
    whole = (tmp_path / "a.mp4").read_bytes()
    for share in (0.01, 0.3, 0.7, 0.95):
        (tmp_path / "b.mp4").write_bytes(whole[: int(len(whole) * share)])
        try:
            assert len(read_picture(tmp_path / "b.mp4", (16, 16))) <= 50
        except UserError as error:
            assert "b.mp4" in str(error)
