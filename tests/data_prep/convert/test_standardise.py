"""The standard form: its format, and that it is on the same clock as what is read from the source."""

from fractions import Fraction

import numpy as np
import pytest

from data_prep.convert.standardise import standardise
from mvgen.errors import UserError
from mvgen.media import probe, read_picture, read_sound, write_video
from tests.mvgen.media.flashes import beeps_in, constant_times, flashes_in, write_flashes


@pytest.mark.parametrize(
    ("rate", "options"),
    [
        (Fraction(43, 2), {}),
        (Fraction(25), {"channels": 6, "sample_rate": 48_000}),
        (Fraction(30000, 1001), {"sound_start": 0.5}),
        (Fraction(50), {"sound_start": -0.5, "channels": 2}),
        (Fraction(60), {"picture_start": Fraction(7, 10), "sample_rate": 16_000}),
    ],
    ids=lambda value: str(value),
)
def test_same_clock_as_the_source(tmp_path, rate, options):
    source, made = tmp_path / "a.mp4", tmp_path / "b.mp4"
    moments = write_flashes(source, constant_times(rate, 3), **options)
    standardise(source, made, 74)
    info = probe(made)
    assert (info.frame_rate, info.sample_rate, info.width, info.height) == (25, 44_100, 64, 48)
    frames, sound = read_picture(made, (16, 16)), read_sound(made, 44_100)
    assert len(frames) == 74 and len(sound) == pytest.approx(74 * 1764, abs=2)
    # Frame for frame what is read from the source, ties between two source frames too.
    np.testing.assert_array_equal(flashes_in(frames), flashes_in(read_picture(source, (16, 16))[:74]))
    true = np.array([float(moment) for moment in moments if moment < Fraction(74, 25)])
    np.testing.assert_allclose(beeps_in(sound, 44_100), true, atol=0.003)


def test_same_source_same_bytes(tmp_path):
    write_flashes(tmp_path / "a.mp4", constant_times(30, 2))
    for name in ("b.mp4", "c.mp4"):
        standardise(tmp_path / "a.mp4", tmp_path / name, 50)
    assert (tmp_path / "b.mp4").read_bytes() == (tmp_path / "c.mp4").read_bytes()


def test_names_with_quotes_and_brackets(tmp_path):
    source = tmp_path / "a 'b' [c];d\u97f3.mp4"
    write_flashes(source, constant_times(30, 2))
    standardise(source, tmp_path / "out 'x'.mp4", 50)
    assert probe(tmp_path / "out 'x'.mp4").has_sound


def test_without_sound(tmp_path):
    write_video(tmp_path / "a.mp4", np.zeros((30, 16, 16, 3), np.uint8), None, 32_000)
    with pytest.raises(UserError, match="has no sound"):
        standardise(tmp_path / "a.mp4", tmp_path / "b.mp4", 30)
