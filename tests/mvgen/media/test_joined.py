"""Recordings joined byte by byte: all of them are read, one behind the other, in step with their pictures."""

import numpy as np
import pytest

from mvgen.errors import UserError
from mvgen.media import probe, read_picture, read_sound, span
from mvgen.media.joined import windows_of
from mvgen.media.notes import collected
from tests.mvgen.media.ffmpeg import ffmpeg
from tests.mvgen.media.flashes import beeps_in, constant_times, flashes_in, write_flashes

BOTH = [1, 3]
"""Moments in two recordings of 2 s with one flash each."""
X264 = ("-c:v", "libx264", "-preset", "medium", "-c:a", "aac")


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "a.mkv"
    write_flashes(path, constant_times(25, 2), codec="pcm_s16le")
    return path


def made(film, name, *options):
    path = film.with_name(name)
    if not path.exists():
        ffmpeg("-i", film, *options, path)
    return path.read_bytes()


def noted(path, count):
    with collected() as notes:
        span(path)
    return any(f"holds {count} recordings, joined byte by byte: the next begins at 2.0" in line for line in notes)


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.wav", ()), ("alaw.wav", ("-c:a", "pcm_alaw")), ("a.w64", ()), ("a.aiff", ()), ("a.au", ()), ("a.caf", ()),
     ("a.flac", ()), ("a.mp3", ()), ("a.m4a", ()), ("a.mka", ("-c:a", "flac"))],
)  # fmt: skip
def test_sounds(film, tmp_path, name, options):
    path = tmp_path / name
    path.write_bytes(made(film, name, "-vn", *options) * 2)
    assert noted(path, 2)
    sound = read_sound(path, 44_100)
    assert len(sound) == 4 * 44_100
    np.testing.assert_allclose(beeps_in(sound, 44_100), BOTH, atol=0.002)


@pytest.mark.parametrize(
    ("name", "options"),
    [("b.flv", X264), ("b.mp4", X264), ("b.mkv", X264), ("b.asf", ("-c:v", "wmv2", "-c:a", "wmav2")), ("b.nut", X264),
     ("live.mp4", (*X264, "-movflags", "frag_keyframe+empty_moov")), ("b.avi", ("-c:v", "mpeg4", "-c:a", "pcm_s16le")),
     ("b.mxf", ("-c:v", "mpeg2video", "-c:a", "pcm_s16le", "-ar", "48000"))],
)  # fmt: skip
def test_films(film, tmp_path, name, options):
    """With B-frames, whose order of decoding is another than that of display."""
    path = tmp_path / name
    path.write_bytes(made(film, name, *options) * 2)
    assert noted(path, 2)
    picture, sound = read_picture(path, (16, 16)), read_sound(path, 32_000)
    assert len(picture) == 100 and abs(len(sound) / 32_000 - 4) < 0.05
    np.testing.assert_allclose(flashes_in(picture), BOTH)
    np.testing.assert_allclose(beeps_in(sound, 32_000), BOTH, atol=0.002)


def test_transport_streams_with_b_frames(film, tmp_path):
    """Their demuxer reads on: the second picture begins where the first ends on display, not in decoding."""
    path = tmp_path / "a.ts"
    path.write_bytes(made(film, "a.ts", *X264) * 2)
    picture = read_picture(path, (16, 16))
    assert len(picture) == 100
    np.testing.assert_allclose(flashes_in(picture), BOTH)
    np.testing.assert_allclose(beeps_in(read_sound(path, 32_000), 32_000), BOTH, atol=0.02)


def test_bare_aac_and_mp3_tell_no_border_and_are_read_on(film, tmp_path):
    """Encoders' padding stays between the two, as in every player."""
    for name, options in {"a.aac": (), "bare.mp3": ("-write_xing", 0, "-id3v2_version", 0)}.items():
        path = tmp_path / name
        path.write_bytes(made(film, name, "-vn", *options) * 2)
        np.testing.assert_allclose(beeps_in(read_sound(path, 44_100), 44_100), BOTH, atol=0.08)


def test_sounds_of_different_rates_channels_and_tags(film, tmp_path):
    """At the rate of the first; the tag of a title belongs to what follows it."""
    stereo = made(film, "stereo.wav", "-vn", "-ar", "48000", "-ac", "2", "-c:a", "pcm_s24le")
    (tmp_path / "a.wav").write_bytes(made(film, "a.wav", "-vn") + stereo)
    sound = read_sound(tmp_path / "a.wav", 44_100)
    assert len(sound) == 4 * 44_100
    np.testing.assert_allclose(beeps_in(sound, 44_100), BOTH, atol=0.002)
    titled = made(film, "titled.mp3", "-vn", "-metadata", "title=Second", "-ar", "22050")
    (tmp_path / "a.mp3").write_bytes(made(film, "a.mp3", "-vn") + titled)
    first, second = windows_of(str(tmp_path / "a.mp3"))
    assert titled.startswith(b"ID3") and second.begin == first.end == len(made(film, "a.mp3"))
    np.testing.assert_allclose(beeps_in(read_sound(tmp_path / "a.mp3", 44_100), 44_100), BOTH, atol=0.002)


def test_what_is_in_the_middle_and_cannot_be_read_is_told(film, tmp_path):
    part = made(film, "b.mp4", *X264)
    broken = part.replace(b"avc1", b"zzzz").replace(b"mp4a", b"zzzz")
    (tmp_path / "a.mp4").write_bytes(part + broken + part)
    with collected() as notes:
        picture = read_picture(tmp_path / "a.mp4", (16, 16))
        assert len(picture) in (100, 150)
        sound = read_sound(tmp_path / "a.mp4", 32_000)
    np.testing.assert_allclose(beeps_in(sound, 32_000), flashes_in(picture), atol=0.02)
    assert len(beeps_in(sound, 32_000)) == 2 and notes
    (tmp_path / "b.mp4").write_bytes(broken)
    with pytest.raises(UserError, match=r"b\.mp4"):
        probe(tmp_path / "b.mp4")
    silent = made(film, "silent.mp4", *X264[:4], "-an")
    (tmp_path / "c.mp4").write_bytes(part + silent + part)
    with collected() as notes:
        sound = read_sound(tmp_path / "c.mp4", 32_000)
    np.testing.assert_allclose(beeps_in(sound, 32_000), [1, 5], atol=0.002)
    assert any("c.mp4 has no sound, only picture (h264); there is silence instead, from 2.00 s on" in n for n in notes)


def test_a_mark_within_a_recording_is_no_border(tmp_path):
    """Bytes that look like the name of a form, without its header behind them."""
    chance = np.random.default_rng(0)
    samples = chance.integers(-3000, 3000, 8000, np.int16)
    samples[100:102] = np.frombuffer(b"RIFF", np.int16)
    samples[200:202] = np.frombuffer(b"fLaC", np.int16)
    (tmp_path / "raw").write_bytes(samples.tobytes())
    ffmpeg("-f", "s16le", "-ar", 8000, "-ac", 1, "-i", tmp_path / "raw", tmp_path / "a.wav")
    assert len(windows_of(str(tmp_path / "a.wav"))) == 1
    assert len(read_sound(tmp_path / "a.wav", 8000)) == 8000
