"""Damage that decoders and demuxers hide: what can be found is told with its seconds, and nothing slips in time."""

import re

import numpy as np
import pytest

from mvgen.media import read_picture, read_sound
from mvgen.media.joined import Window
from mvgen.media.notes import collected
from mvgen.media.ogg import pages_of
from tests.mvgen.media.ffmpeg import ffmpeg, packets_of
from tests.mvgen.media.flashes import constant_times, write_flashes

NEAR = 144
"""Samples: 3 ms."""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Four seconds in which every picture moves and every moment sounds; beeps at 1, 2 and 3 s."""
    folder = tmp_path_factory.mktemp("source")
    write_flashes(folder / "flashes.mkv", constant_times(25, 4), 48_000, codec="pcm_s16le")
    ffmpeg("-i", folder / "flashes.mkv", "-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=4", "-f", "lavfi", "-i",
           "anoisesrc=a=0.1:d=4:r=48000:seed=1", "-filter_complex", "[0:a][2:a]amix=normalize=0[a]", "-map", "1:v",
           "-map", "[a]", "-c:v", "libx264", "-qp", 0, "-preset", "ultrafast", "-c:a", "pcm_s16le",
           folder / "a.mkv")  # fmt: skip
    return folder / "a.mkv"


def damaged(source, path, kind, numbers, *options):
    """A file made of the source, with some bits of some packets turned."""
    ffmpeg("-i", source, *options, path)
    data = bytearray(path.read_bytes())
    for at, size in packets_of(path, kind)[numbers.start : numbers.stop]:
        for place in range(at + size // 3, at + size - 4, max(1, size // 20)):
            data[place] ^= 0x55
    path.write_bytes(data)


def alike(sound, other):
    """Whether two noisy sounds are the same, but for what decoders add by chance, and within 3 ms."""
    count = min(len(sound), len(other)) - 2 * NEAR
    middle = other[NEAR : NEAR + count]
    best = max(np.dot(sound[at : at + count], middle) for at in range(2 * NEAR))
    return best > 0.8 * np.sqrt(np.dot(middle, middle) * np.dot(sound, sound))


def seconds_told(notes, words):
    """The seconds of the note in which the words stand."""
    line = next(line for line in notes if words in line)
    return [float(number) for number in re.search(r"(\d+\.\d+) to (\d+\.\d+) s", line).groups()]


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "libx264"), ("a.mkv", "mpeg4"), ("a.ts", "mpeg2video"), ("a.flv", "flv"), ("a.mov", "prores")],
)
def test_pictures_that_a_decoder_mends_are_counted_and_told(source, tmp_path, name, codec):
    path = tmp_path / name
    damaged(source, path, "video", range(60, 64), "-an", "-c:v", codec, "-b:v", "2M", "-g", "50", "-bf", "0",
            *(("-preset", "ultrafast") if codec == "libx264" else ()))  # fmt: skip
    with collected() as notes:
        assert len(read_picture(path, (16, 16))) == 100
    begin, end = seconds_told(notes, "shown as its decoder mends it")
    assert 2.36 < begin < end < 2.64


@pytest.mark.parametrize(
    ("name", "codec"), [("a.flac", "flac"), ("a.mka", "flac"), ("b.mka", "ac3"), ("c.mka", "eac3")]
)
def test_sound_whose_check_sum_is_wrong_is_silence(source, tmp_path, name, codec):
    path = tmp_path / name
    ffmpeg("-i", source, "-vn", "-c:a", codec, tmp_path / f"whole-{name}")
    whole = read_sound(tmp_path / f"whole-{name}", 48_000)
    damaged(source, path, "audio", range(63, 64), "-vn", "-c:a", codec)
    with collected() as notes:
        sound = read_sound(path, 48_000)
    begin, end = seconds_told(notes, "of its sound")
    assert len(sound) == len(whole) and end - begin < 0.2
    hole = sound[round((begin + 0.01) * 48_000) : round((end - 0.01) * 48_000)]
    assert np.abs(hole).max(initial=0) < 1e-3
    after = slice(round((end + 0.1) * 48_000), -4800)
    assert alike(sound[after], whole[after])


@pytest.mark.parametrize("codec", ["libvorbis", "libopus", "flac"])
@pytest.mark.parametrize("which", [2, -2], ids=["in the middle", "before the last"])
def test_a_lost_page_of_ogg_is_silence_where_it_was(source, tmp_path, codec, which):
    """What is behind it stays where it was."""
    path = tmp_path / "a.oga"
    ffmpeg("-i", source, "-vn", "-c:a", codec, "-page_duration", 500_000, path)
    whole = read_sound(path, 48_000)
    pages = list(pages_of(str(path), Window(0, path.stat().st_size)))
    sounding = [page for page in pages if page.granule > 0]
    assert all(page.whole for page in pages) and len(sounding) > 5
    data = bytearray(path.read_bytes())
    lost = sounding[which]
    data[lost.place + lost.size // 2] ^= 1
    path.write_bytes(data)
    with collected() as notes:
        sound = read_sound(path, 48_000)
    assert any(f"1 of {len(pages)} pages are damaged" in line for line in notes)
    begin, end = seconds_told(notes, "its sound has gaps")
    assert 0.2 < end - begin < 1.1
    assert abs(len(sound) - len(whole)) < 960
    first, last = round(begin * 48_000) - 480, round(end * 48_000) + 1440
    assert alike(sound[:first], whole[:first])
    assert len(whole) - last < 960 or alike(sound[last:], whole[last:])


def test_a_damaged_page_of_theora_is_told(source, tmp_path):
    path = tmp_path / "a.ogv"
    ffmpeg("-i", source, "-c:v", "libtheora", "-c:a", "libvorbis", path)
    data = bytearray(path.read_bytes())
    page = [page for page in pages_of(str(path), Window(0, len(data))) if page.granule > 0][5]
    data[page.place + page.size // 2] ^= 1
    path.write_bytes(data)
    with collected() as notes:
        assert len(read_picture(path, (16, 16))) == 100
    assert any("pages are damaged" in line for line in notes)


def test_nothing_is_told_of_what_is_whole(source, tmp_path):
    for name, options in {
        "a.ogg": ("-vn", "-c:a", "libvorbis"), "a.opus": ("-vn",), "a.flac": ("-vn",), "a.mp4": ("-bf", "2"),
        "a.webm": ("-c:v", "libvpx", "-c:a", "libopus"), "a.ts": ("-c:v", "mpeg2video", "-c:a", "mp2"),
        "a.asf": ("-c:v", "wmv2", "-c:a", "wmav2"), "a.mkv": ("-c:v", "mpeg4", "-c:a", "ac3"),
    }.items():  # fmt: skip
        ffmpeg("-i", source, *options, tmp_path / name)
        with collected() as notes:
            read_sound(tmp_path / name, 48_000)
            if "-vn" not in options:
                read_picture(tmp_path / name, (16, 16))
        assert not notes, notes
