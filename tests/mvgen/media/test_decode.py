"""Damage and empty packets: the rest of the file is read, and what was lost is told with its moment."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mvgen.errors import UserError
from mvgen.media import probe, read_picture, read_sound, write_wav
from mvgen.media.notes import collected
from tests.mvgen.media.ffmpeg import ffmpeg, zeroed
from tests.mvgen.media.flashes import beeps_in, constant_times, flashes_in, write_flashes

ROOT = Path(__file__).parents[3]
EVERY_FRAME = {"crf": "20", "preset": "ultrafast", "g": "25"}


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "a.mp4"
    write_flashes(path, constant_times(25, 4), 48_000, options=EVERY_FRAME)
    return path


@pytest.mark.parametrize("count", [1, 5])
def test_zeroed_packets_of_sound_are_silence_at_their_moment(film, count):
    path = zeroed(film, "audio", range(120, 120 + count))
    with collected() as notes:
        sound = read_sound(path, 48_000)
    assert len(sound) == 4 * 48_000
    np.testing.assert_allclose(beeps_in(sound, 48_000), [1, 2, 3], atol=0.002)
    assert len(read_picture(path, (16, 16))) == 100
    begin, end = 119 * 1024 / 48_000, (119 + count) * 1024 / 48_000
    assert notes == [
        f"{path}: {count} of 189 packets of its sound (aac) cannot be decoded (Invalid data found when processing "
        f"input); there is silence at {begin:.2f} to {end:.2f} s"
    ]


@pytest.mark.parametrize("numbers", [range(60, 61), range(55, 70)])
def test_zeroed_packets_of_the_picture_show_the_one_before(film, numbers):
    path = zeroed(film, "video", numbers)
    with collected() as notes:
        picture = read_picture(path, (16, 16))
    assert len(picture) == 100
    np.testing.assert_allclose(flashes_in(picture), [1, 2, 3], atol=0.001)
    assert f"{len(numbers)} of 100 packets of its picture (h264)" in notes[0]
    assert f"the picture before stays at {numbers[0] / 25:.2f} to {(numbers[-1] + 1) / 25:.2f} s" in notes[0]


def test_lost_to_the_end_is_the_end(film):
    picture = read_picture(zeroed(film, "video", range(50, 100)), (16, 16))
    assert 50 <= len(picture) <= 51
    assert len(read_sound(zeroed(film, "audio", range(100, 189)), 48_000)) == pytest.approx(2.1 * 48_000, abs=2048)


def test_nothing_that_can_be_decoded_names_the_stream(film):
    with pytest.raises(UserError, match=r"zeroed-a.mp4: nothing of its sound \(aac\) can be decoded: Invalid data"):
        read_sound(zeroed(film, "audio", range(189)), 48_000)
    with pytest.raises(UserError, match=r"zeroed-a.mp4: nothing of its picture \(h264\) can be decoded: Invalid data"):
        read_picture(zeroed(film, "video", range(100)), (16, 16))


def test_a_note_goes_to_stderr_and_nothing_else(film):
    program = "import sys; from mvgen.media import read_sound; print(len(read_sound(sys.argv[1], 48000)))"
    path = zeroed(film, "audio", range(120, 121))
    run = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout == "192000\n"
    assert run.stderr.startswith(f"note: {path}: 1 of 189 packets of its sound") and run.stderr.count("\n") == 1


def test_empty_packets_repeat_the_picture(tmp_path):
    """Theora writes a picture that does not change as packets of no bytes."""
    write_flashes(tmp_path / "a.mkv", constant_times(25, 3), codec="pcm_s16le")
    ffmpeg("-i", tmp_path / "a.mkv", "-c:v", "libtheora", "-c:a", "libvorbis", tmp_path / "a.ogv")
    picture = read_picture(tmp_path / "a.ogv", (16, 16))
    assert len(picture) == 75
    np.testing.assert_allclose(flashes_in(picture), [1, 2])
    still = ("-f", "lavfi", "-i", "color=red:s=64x48:r=25:d=4")
    ffmpeg(*still, "-c:v", "libtheora", tmp_path / "still.ogv")
    assert len(read_picture(tmp_path / "still.ogv", (16, 16))) == 100


@pytest.mark.parametrize(("codec", "ending"), [("mp2", ".ts"), ("libmp3lame", ".ts"), ("aac", ".ts"), ("ac3", ".ts")])
def test_the_last_packet_of_sound_in_a_transport_stream_is_heard(tmp_path, codec, ending):
    """Its stated duration ends where the last packet begins."""
    path = tmp_path / f"a{ending}"
    write_flashes(tmp_path / "a.mkv", constant_times(25, 3), 48_000, codec="pcm_s16le")
    ffmpeg("-i", tmp_path / "a.mkv", "-c:v", "mpeg2video", "-c:a", codec, path)
    assert len(read_sound(path, 48_000)) / 48_000 > 3 - 0.02


def test_a_stereo_part_behind_a_mono_one_of_another_rate(tmp_path):
    """Sound that changes its rate and its channels on the way, as joined recordings do."""
    for name, rate, channels in (("a", 48_000, 1), ("b", 44_100, 2)):
        write_flashes(tmp_path / f"{name}.ts", constant_times(25, 3), rate, codec="mp2", channels=channels)
    (tmp_path / "c.ts").write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
    sound = read_sound(tmp_path / "c.ts", 48_000)
    np.testing.assert_allclose(beeps_in(sound, 48_000), [1, 2, 4, 5], atol=0.02)


@pytest.mark.parametrize(
    ("name", "head", "kind"),
    [
        ("a.wv", b"wvpk" + bytes(99), r"a sound \(WavPack\)"),
        ("a.ape", b"MAC " + bytes(99), r"a sound \(Monkey's Audio\)"),
        ("a.mid", b"MThd" + bytes(99), r"a score \(MIDI\)"),
        ("a.mp4", b"\x89PNG\r\n\x1a\n" + bytes(99), r"a picture \(PNG\)"),
        ("a.mp4", b"PK\x03\x04" + bytes(99), r"an archive \(ZIP\)"),
        ("a.mp4", b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        ("a.mp4", b"<!DOCTYPE html><title>404</title>", "a web page"),
        ("a.mp4", b"just words\n" * 20, "text"),
    ],
)
def test_what_is_not_read_is_told_by_what_it_is_and_what_is_read(tmp_path, name, head, kind):
    (tmp_path / name).write_bytes(head)
    with pytest.raises(UserError, match=rf"{name} is {kind}.* not read as video or sound; video is read from MP4"):
        probe(tmp_path / name)


def test_real_wavpack(tmp_path):
    write_wav(tmp_path / "a.wav", np.zeros(4800, np.float32), 48_000)
    ffmpeg("-i", tmp_path / "a.wav", tmp_path / "a.wv")
    with pytest.raises(UserError, match=r"is a sound \(WavPack\), which is not read"):
        read_sound(tmp_path / "a.wv", 48_000)
