"""Timestamps that start anew, leap or begin late: the picture stays whole, and the sound stays with it."""

from fractions import Fraction

import numpy as np
import pytest

from mvgen.errors import UserError
from mvgen.media import check_span, probe, read_picture, read_sound, span
from mvgen.media.notes import collected
from tests.mvgen.media.ffmpeg import ffmpeg, remuxed
from tests.mvgen.media.flashes import beeps_in, constant_times, flashes_in, write_flashes

TOKEN = 0.02


def check(path, true, frames):
    """As many frames as there are, flashes within half a frame of their times, beeps within a token of the flashes."""
    picture, sound = read_picture(path, (16, 16)), read_sound(path, 32_000)
    assert len(picture) == frames
    assert abs(len(sound) / 32_000 - frames / 25) < 0.05
    np.testing.assert_allclose(flashes_in(picture), true, atol=TOKEN)
    np.testing.assert_allclose(beeps_in(sound, 32_000), true, atol=TOKEN)


@pytest.mark.parametrize("options", [{}, {"codec": "mp2", "sample_rate": 48_000}], ids=["aac", "mp2"])
def test_transport_streams_joined_byte_by_byte(tmp_path, options):
    """Flashes at 1 and 2 s of each part of 3 s; every beep stays with its flash."""
    part, path = tmp_path / "part.ts", tmp_path / "whole.ts"
    write_flashes(part, constant_times(25, 3), **options)
    path.write_bytes(part.read_bytes() * 3)
    with collected() as notes:
        check(path, [1, 2, 4, 5, 7, 8], 225)
    assert [line for line in notes if "picture and sound start anew" in line]
    assert float(span(path)) == pytest.approx(9, abs=0.1)


@pytest.mark.parametrize(("codec", "ending"), [("libvorbis", ".ogg"), ("flac", ".oga"), ("libopus", ".opus")])
def test_ogg_streams_joined(tmp_path, codec, ending):
    part, path = tmp_path / f"part{ending}", tmp_path / f"whole{ending}"
    write_flashes(tmp_path / "a.mkv", constant_times(25, 3), codec="pcm_s16le")
    ffmpeg("-i", tmp_path / "a.mkv", "-vn", "-c:a", codec, part)
    path.write_bytes(part.read_bytes() * 2)
    sound = read_sound(path, 48_000)
    assert len(sound) / 48_000 == pytest.approx(6, abs=TOKEN)
    np.testing.assert_allclose(beeps_in(sound, 48_000), [1, 2, 4, 5], atol=0.01)


def test_stamps_that_begin_hours_late_are_no_length(tmp_path):
    write_flashes(tmp_path / "a.mkv", constant_times(25, 3))
    ffmpeg("-i", tmp_path / "a.mkv", "-c", "copy", "-output_ts_offset", 7200, tmp_path / "late.mkv")
    assert probe(tmp_path / "late.mkv").duration > 7200
    check(tmp_path / "late.mkv", [1, 2], 75)
    check_span(tmp_path / "late.mkv", 10)


@pytest.mark.parametrize("live", [False, True], ids=["length stated", "no length stated"])
def test_a_leap_of_both_streams_is_closed(tmp_path, live):
    write_flashes(tmp_path / "a.mkv", constant_times(25, 4))

    def leap(packet, number):
        if packet.pts * packet.time_base >= 2.5:
            packet.pts += round(5000 / packet.time_base)
            packet.dts += round(5000 / packet.time_base)

    path = remuxed(tmp_path / "a.mkv", tmp_path / "leap.mkv", leap, **({"live": "1"} if live else {}))
    with collected() as notes:
        check(path, [1, 2, 3], 100)
        check_span(path, 10)
    assert any("leap (+5000" in line for line in notes)


def test_a_picture_that_stands_still_while_the_sound_goes_on_is_no_leap(tmp_path):
    times = [time for time in constant_times(25, 20) if time < 3 or time >= 18]
    moments = write_flashes(tmp_path / "a.mkv", times)
    picture, sound = read_picture(tmp_path / "a.mkv", (16, 16)), read_sound(tmp_path / "a.mkv", 32_000)
    assert len(picture) == 500 and moments[-1] == 19
    np.testing.assert_allclose(flashes_in(picture)[[0, 1, -1]], [1, 2, 19], atol=TOKEN)
    np.testing.assert_allclose(beeps_in(sound, 32_000)[[0, 1, -1]], [1, 2, 19], atol=TOKEN)


def test_one_wrong_stamp_in_the_picture_makes_no_hours(tmp_path):
    write_flashes(tmp_path / "a.mkv", constant_times(25, 3))
    late = "setpts='if(gte(N,74),36000/TB,PTS)'"
    ffmpeg("-i", tmp_path / "a.mkv", "-vf", late, "-fps_mode", "passthrough", "-c:a", "copy", tmp_path / "b.mkv")
    check(tmp_path / "b.mkv", [1, 2], 75)


def test_limits_hold_on_what_is_there(tmp_path):
    """Hours between the stamps of a picture alone are believed, and refused before they are read."""
    write_flashes(tmp_path / "a.mkv", constant_times(25, 2), sound_end=0)

    def leap(packet, number):
        if number >= 25:
            packet.pts += round(9000 / packet.time_base)
            packet.dts += round(9000 / packet.time_base)

    path = remuxed(tmp_path / "a.mkv", tmp_path / "leap.mkv", leap, live="1")
    with pytest.raises(UserError, match=r"leap\.mkv: its picture lasts 9002 s; at most 3600 s"):
        check_span(path, 3600, "picture")
    with pytest.raises(UserError, match=r"leap\.mkv: its picture lasts longer than the limit of 60 s"):
        read_picture(path, (16, 16), limit=60)
    write_flashes(tmp_path / "b.mkv", constant_times(25, 3))
    with pytest.raises(UserError, match=r"its sound lasts 3 s, over the limit of 2 s"):
        read_sound(tmp_path / "b.mkv", 32_000, limit=2)


def test_a_file_that_changes_is_read_anew(tmp_path):
    for seconds in (2, 3):
        write_flashes(tmp_path / "a.ts", constant_times(25, seconds))
        assert len(read_picture(tmp_path / "a.ts", (16, 16))) == 25 * seconds
        assert float(span(tmp_path / "a.ts")) == pytest.approx(seconds, abs=0.1)
    (tmp_path / "a.ts").unlink()
    with pytest.raises(UserError, match="no such file"):
        span(tmp_path / "a.ts")


def test_a_file_that_grows_or_shrinks_while_it_is_read(tmp_path):
    """What is read is what was there, or less, and the two streams of it fit together."""
    path = tmp_path / "a.ts"
    write_flashes(path, constant_times(25, 4))
    whole = path.read_bytes()
    for share in (0.5, 0.8):
        path.write_bytes(whole[: int(len(whole) * share)])
        picture = read_picture(path, (16, 16))
        with open(path, "ab") as file:
            file.write(whole[int(len(whole) * share) :])
        assert 25 < len(picture) < 100
        check(path, [1, 2, 3], 100)


def test_what_is_missing_is_told(tmp_path):
    """Packets that were lost before the file was written, an end that was, and a part that the reader does not find."""
    write_flashes(tmp_path / "a.mkv", constant_times(25, 4))
    lost = "noise=drop=between(pts*tb\\,1.4\\,1.8)"
    ffmpeg("-i", tmp_path / "a.mkv", "-c", "copy", "-bsf:a", lost, tmp_path / "gap.mkv")
    with collected() as notes:
        np.testing.assert_allclose(beeps_in(read_sound(tmp_path / "gap.mkv", 32_000), 32_000), [1, 2, 3], atol=TOKEN)
    assert len(notes) == 1 and "its sound has gaps, which are silent: 1.4" in notes[0]
    whole = (tmp_path / "a.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    with collected() as notes:
        span(tmp_path / "cut.mkv")
    assert any("its header states 4.0" in line and "cut short" in line for line in notes)
    write_flashes(tmp_path / "a.flv", constant_times(25, 3))
    (tmp_path / "more.flv").write_bytes((tmp_path / "a.flv").read_bytes() + bytes((tmp_path / "a.flv").stat().st_size))
    with collected() as notes:
        assert float(span(tmp_path / "more.flv")) < 4
    assert any("in its last 50% nothing was found" in line for line in notes)
    ffmpeg("-i", tmp_path / "a.mkv", "-vn", tmp_path / "a.wav")
    whole = (tmp_path / "a.wav").read_bytes()
    for length, told in ((len(whole), 0), (len(whole) // 2, 1)):
        (tmp_path / "a.wav").write_bytes(whole[:length])
        with collected() as notes:
            read_sound(tmp_path / "a.wav", 32_000)
        assert len(notes) == told and all(
            f"states {len(whole)} bytes, and {length} are there" in each for each in notes
        )


def test_rates_of_the_picture_stay_exact_over_a_seam(tmp_path):
    rate = Fraction(30000, 1001)
    write_flashes(tmp_path / "part.ts", constant_times(rate, 3))
    (tmp_path / "a.ts").write_bytes((tmp_path / "part.ts").read_bytes() * 2)
    count = len(constant_times(rate, 3))
    assert len(read_picture(tmp_path / "a.ts", (16, 16))) == int((2 * count / rate + Fraction(1, 1000)) * 25)


@pytest.mark.parametrize("apart", [5000, -1.2, 0.8], ids=["far ahead", "behind", "a little ahead"])
@pytest.mark.parametrize("kind", [8, 9], ids=["sound", "picture"])
def test_a_stray_stamp_moves_nothing(tmp_path, kind, apart):
    path = tmp_path / "a.flv"
    write_flashes(path, constant_times(25, 4))
    data, at, number = bytearray(path.read_bytes()), 13, 0
    while at < len(data):  # from tag to tag
        size, stamp = int.from_bytes(data[at + 1 : at + 4]), int.from_bytes(data[at + 4 : at + 7])
        number += data[at] == kind
        if data[at] == kind and number == 60:
            stray = stamp + round(1000 * apart)
            data[at + 4 : at + 8] = (stray & 0xFFFFFF).to_bytes(3) + bytes([stray >> 24])
        at += 11 + size + 4
    path.write_bytes(data)
    check(path, [1, 2, 3], 100)
    check_span(path, 10)
