"""A video's own picture with another sound: the same packets where MP4 holds them, in sync either way."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from mvgen.errors import UserError
from mvgen.media import probe, read_picture, read_sound
from mvgen.media.notes import collected
from mvgen.media.remux import write_with_sound
from tests.mvgen.media.flashes import beeps_in, constant_times, flashes_in, write_flashes
from tests.mvgen.media.made import MADE, MOMENTS, MOMENTS_OF, SECONDS

ANEW = {"joined.ts", "glued.mp4", "jitter.webm", "theora.ogv"}
"""What MP4 does not hold as it lies there."""
RATE = 44_100


def payloads(path: Path) -> list[bytes]:
    """The packets of a file's picture."""
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(container.streams.video[0]) if packet.size]


def beeps(seconds: float, moments: tuple[float, ...]) -> np.ndarray:
    sound = np.zeros(round(seconds * RATE), np.float32)
    for moment in moments:
        first = round(moment * RATE)
        sound[first : first + 4410] = 0.8 * np.cos(2 * np.pi * 1000 * np.arange(4410) / RATE)
    return sound


@pytest.mark.parametrize("name", MADE)
def test_every_kind_of_file_gets_a_new_sound(name: str, tmp_path: Path) -> None:
    MADE[name](tmp_path / name)
    moments, out = MOMENTS_OF.get(name, MOMENTS), tmp_path / "out.mp4"
    with collected() as notes:
        write_with_sound(out, tmp_path / name, beeps(3.6, moments), RATE)
        before, after = probe(tmp_path / name), probe(out)
        picture = read_picture(out, (16, 16))
    assert any("encoded anew" in line for line in notes) == (name in ANEW)
    assert (before.width, before.height, before.orientation) == (after.width, after.height, after.orientation)
    assert abs(before.frame_rate - after.frame_rate) < 0.01 * before.frame_rate
    np.testing.assert_allclose(flashes_in(picture), moments, atol=0.02)
    sound = read_sound(out, RATE)
    np.testing.assert_allclose(beeps_in(sound, RATE), moments, atol=0.001)
    assert abs(len(sound) / RATE - SECONDS) < 0.001  # silence where the sound given ends early
    if name not in ANEW and name != "mp2.ts":  # whose packets lose the filling between them
        assert payloads(out) == payloads(tmp_path / name)


@pytest.mark.parametrize(
    ("how", "anew"),
    [
        ({"rotation": 90, "aspect": Fraction(4, 3)}, False),
        ({"size": (63, 47), "pixels": "yuv444p"}, False),
        ({"picture_start": Fraction(5)}, False),
        ({"options": {"bf": "3", "g": "250", "preset": "fast"}}, True),
    ],
)
def test_a_part_of_a_video(how: dict, anew: bool, tmp_path: Path) -> None:
    """With B-frames the last picture of a part may need one that is not in it."""
    source, out = tmp_path / "in.mp4", tmp_path / "out.mp4"
    write_flashes(source, constant_times(Fraction(30000, 1001), SECONDS), **how)
    for seconds, notes_wanted in ((None, False), (Fraction(73, 30), anew)):
        with collected() as notes:
            write_with_sound(out, source, np.stack([beeps(4, (1.0,)), beeps(4, (2.0,))]), RATE, seconds)
        assert bool(notes) == notes_wanted
        before, after = probe(source), probe(out)
        assert after.channels == 2 and (before.width, before.height) == (after.width, after.height)
        picture = read_picture(out, (16, 16))
        wanted = len(read_picture(source, (16, 16))) if seconds is None else 60
        assert len(picture) == wanted
        np.testing.assert_allclose(flashes_in(picture)[:2], [1, 2], atol=0.04)
        assert abs(len(read_sound(out, RATE)) / RATE - float(seconds or 119 * 1001 / 30000)) < 0.002


def test_the_same_every_time_and_nothing_after_an_error(tmp_path: Path) -> None:
    source = tmp_path / "in.avi"
    write_flashes(source, constant_times(25, 2), codec="pcm_s16le", video_codec="mjpeg", pixels="yuvj420p", options={})
    made = set()
    for name in ("a.mp4", "b.mp4"):
        with collected() as notes:
            write_with_sound(tmp_path / name, source, beeps(2, (1.0,)), RATE)
        assert "AVI holds no presentation times" in notes[0]
        made.add((tmp_path / name).read_bytes())
    assert len(made) == 1
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match="nothing.mp4: no such file"):
        write_with_sound(tmp_path / "c.mp4", tmp_path / "nothing.mp4", beeps(2, ()), RATE)
    with pytest.raises(ValueError, match="must be"):
        write_with_sound(tmp_path / "c.mp4", source, np.zeros((3, 99), np.float32), RATE)
    assert sorted(tmp_path.iterdir()) == before
