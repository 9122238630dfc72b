"""Channels into one: by the standard's gains, and never into silence without a word."""

import av
import numpy as np
import pytest

from mvgen.media import native_sound, read_sound
from mvgen.media.downmix import gains_of
from mvgen.media.notes import collected
from tests.mvgen.media.ffmpeg import ffmpeg
from tests.mvgen.media.flashes import constant_times, write_flashes

RATE = 48_000


def write(path, channels, layout, codec="pcm_s16le"):
    """Channels, float ``[channels, n]``, into a file."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=RATE, layout=layout)
        block = np.ascontiguousarray((np.asarray(channels) * 32767).astype(np.int16).T.reshape(1, -1))
        frame = av.AudioFrame.from_ndarray(block, format="s16", layout=layout)
        frame.sample_rate, frame.pts = RATE, 0
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def level(path):
    return float(np.sqrt(2 * np.mean(read_sound(path, RATE)[4800:-4800] ** 2)))


def tone(hertz=440, seconds=1.0):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)


@pytest.mark.parametrize(("channel", "gain"), list(enumerate([0.5, 0.5, 0.7071, 0.0, 0.3536, 0.3536])))
def test_each_channel_of_five_point_one_has_its_gain(tmp_path, channel, gain):
    channels = np.zeros((6, RATE))
    channels[channel] = tone()
    write(tmp_path / "a.mkv", channels, "5.1")
    expected = 0.5 * gain if gain else 0.0
    if not gain:
        with collected():  # sound in the effects' channel alone
            assert level(tmp_path / "a.mkv") < 0.5
        return
    assert level(tmp_path / "a.mkv") == pytest.approx(expected, rel=0.01)


def test_stereo_is_averaged_and_its_sides_can_be_had(tmp_path):
    write(tmp_path / "a.mkv", [tone(), 0 * tone()], "stereo")
    assert level(tmp_path / "a.mkv") == pytest.approx(0.25, rel=0.01)
    left, _ = native_sound(tmp_path / "a.mkv", side=0)
    right, _ = native_sound(tmp_path / "a.mkv", side=1)
    assert np.abs(left).max() > 0.49 and not right.any()


def test_opposite_phases_are_noticed_and_one_side_is_taken(tmp_path):
    write(tmp_path / "a.mkv", [0.8 * tone(), -0.8 * tone()], "stereo")
    with collected() as notes:
        assert level(tmp_path / "a.mkv") == pytest.approx(0.4, rel=0.01)
    assert notes == [f"{tmp_path / 'a.mkv'}: the channels of its sound cancel each other; channel 1 is taken alone"]


@pytest.mark.parametrize("right", [tone(441), 0.5 * tone(), np.zeros(RATE)])
def test_what_only_differs_is_mixed_without_a_word(tmp_path, right):
    write(tmp_path / "a.mkv", [tone(), right], "stereo")
    with collected() as notes:
        assert level(tmp_path / "a.mkv") > 0.2
    assert notes == []


def test_silence_is_silence(tmp_path):
    write(tmp_path / "a.mkv", np.zeros((2, RATE)), "stereo")
    with collected() as notes:
        assert not read_sound(tmp_path / "a.mkv", RATE).any()
    assert notes == []


@pytest.mark.parametrize("layout", ["mono", "stereo", "2.1", "3.0", "quad", "4.0", "5.0", "5.1", "6.1", "7.1", "7.1.4"])
def test_layouts_by_name(layout):
    gains = gains_of(av.AudioLayout(layout))
    assert gains.shape == (av.AudioLayout(layout).nb_channels,) and gains.any()
    for side in (0, 1):
        assert gains_of(av.AudioLayout(layout), side).any()


def test_sound_in_the_channel_of_low_effects_alone_is_heard(tmp_path):
    write_flashes(tmp_path / "a.mkv", constant_times(25, 2), codec="pcm_s16le")
    ffmpeg("-i", tmp_path / "a.mkv", "-vn", "-af", "pan=5.1|LFE=c0", "-c:a", "flac", tmp_path / "b.mka")
    with collected() as notes:
        assert np.abs(read_sound(tmp_path / "b.mka", 44_100)).max() > 0.7
    assert any("channel 4 is taken alone" in line for line in notes)
