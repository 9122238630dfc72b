"""Written videos: in sync, whole, and the same every time."""

import cv2
import numpy as np
import pytest

from mvgen.errors import UserError
from mvgen.media import probe, read_picture, read_sound, write_video, write_wav
from tests.mvgen.media.flashes import beeps_in, flashes_in
from tests.mvgen.media.litter import litter_memory


def performance(sample_rate, seconds=3):
    """Frames and sound with a flash and a beep at every second."""
    frames = np.full((25 * seconds, 32, 32, 3), 20, np.uint8)
    sound = np.zeros(seconds * sample_rate, np.float32)
    for second in range(1, seconds):
        frames[25 * second : 25 * second + 3] = 240
        wave = 0.8 * np.cos(2 * np.pi * 1000 * np.arange(sample_rate // 10) / sample_rate)
        sound[second * sample_rate : second * sample_rate + len(wave)] = wave
    return frames, sound


@pytest.mark.parametrize("sample_rate", [32_000, 44_100])
def test_what_is_read_back(tmp_path, sample_rate):
    frames, sound = performance(sample_rate)
    write_video(tmp_path / "a.mp4", frames, sound, sample_rate, scale=4)
    info = probe(tmp_path / "a.mp4")
    assert (info.width, info.height, info.frame_rate, info.sample_rate) == (128, 128, 25, sample_rate)
    picture = read_picture(tmp_path / "a.mp4", (32, 32))
    assert len(picture) == len(frames)
    assert np.abs(picture.astype(int) - frames).mean() < 3
    heard = read_sound(tmp_path / "a.mp4", sample_rate)
    assert len(heard) == len(sound)
    np.testing.assert_allclose(flashes_in(picture), [1, 2])
    np.testing.assert_allclose(beeps_in(heard, sample_rate), [1, 2], atol=0.001)


def test_colours_come_back(tmp_path):
    frames = np.zeros((5, 32, 32, 3), np.uint8)
    frames[:, :16, :16], frames[:, 16:, 16:], frames[:, :16, 16:] = (220, 20, 20), (20, 220, 20), (20, 20, 220)
    write_video(tmp_path / "a.mp4", frames, None, 32_000, scale=4)
    back = read_picture(tmp_path / "a.mp4", (32, 32))
    for place in [(8, 8), (24, 24), (8, 24), (24, 8)]:
        np.testing.assert_allclose(back[2][place].astype(int), frames[2][place].astype(int), atol=8)


def test_same_input_same_bytes(tmp_path):
    rng = np.random.default_rng(0)
    # A scene that moves under grain: what x264's macroblock tree, which once made the bytes differ, has work with.
    scene = cv2.resize(rng.integers(0, 255, (12, 27, 3), dtype=np.uint8), (108, 48)).astype(np.int16)
    frames = np.stack([scene[:, first : first + 48] for first in range(30)])
    frames = np.clip(frames + rng.integers(-12, 12, frames.shape), 0, 255).astype(np.uint8)
    sound = rng.normal(0, 0.1, 38_400).astype(np.float32)
    made = set()
    for number in range(8):
        litter_memory(seed=number)
        write_video(tmp_path / "a.mp4", frames, sound, 32_000, scale=2)
        write_wav(tmp_path / "a.wav", sound, 32_000)
        made.add(((tmp_path / "a.mp4").read_bytes(), (tmp_path / "a.wav").read_bytes()))
    assert len(made) == 1


def test_odd_sizes_and_sound_longer_than_the_picture(tmp_path):
    write_video(tmp_path / "a.mp4", np.full((5, 33, 31, 3), 90, np.uint8), np.zeros(64_000, np.float32), 32_000)
    info = probe(tmp_path / "a.mp4")
    assert (info.width, info.height) == (32, 34)
    assert len(read_sound(tmp_path / "a.mp4", 32_000)) == 64_000


def test_nothing_is_left_after_an_error(tmp_path):
    with pytest.raises(ValueError, match="frames"):
        write_video(tmp_path / "a.mp4", np.zeros((5, 8, 8), np.uint8), None, 32_000)
    with pytest.raises(Exception, match=r".+"):
        write_video(tmp_path / "a.mp4", np.zeros((5, 8, 8, 3), np.uint8), np.zeros(100, np.float32), 7)
    with pytest.raises(UserError, match="does not exist"):
        write_wav(tmp_path / "missing" / "a.wav", np.zeros(5, np.float32), 32_000)
    assert list(tmp_path.iterdir()) == []
