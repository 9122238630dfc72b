"""Stamps of sound: jitter is none of its time, a gap is, and one stray stamp moves nothing."""

import numpy as np
import pytest

from mvgen.media import read_picture, read_sound
from mvgen.media.placement import place_blocks
from tests.mvgen.media.ffmpeg import ffmpeg, remuxed
from tests.mvgen.media.flashes import beeps_in, constant_times, flashes_in, write_flashes

RATE, BLOCK = 48_000, 960
LENGTHS = [BLOCK] * 500
TRUE = np.arange(500) * BLOCK


def test_exact_stamps_are_believed():
    np.testing.assert_array_equal(place_blocks(list(TRUE + 123), LENGTHS, RATE), TRUE + 123)


@pytest.mark.parametrize("milliseconds", [1, 3, 10, 20])
def test_jitter_leaves_no_hole(milliseconds):
    off = np.random.default_rng(0).uniform(-milliseconds, milliseconds, 500) * RATE / 1000
    starts = place_blocks(list(TRUE + off), LENGTHS, RATE)
    assert (np.diff(starts) == BLOCK).all()
    assert abs(starts[0]) <= milliseconds * RATE / 1000


@pytest.mark.parametrize("jitter", [0, 3])
@pytest.mark.parametrize("gap", [0.01, 0.1, 3.0, -0.03])
@pytest.mark.parametrize("at", [3, 250, 480, 499])
def test_a_gap_is_followed_where_it_is(jitter, gap, at):
    off = np.random.default_rng(1).uniform(-jitter, jitter, 500) * RATE / 1000
    true = TRUE + round(gap * RATE) * (np.arange(500) >= at)
    starts = place_blocks(list(true + off), LENGTHS, RATE)
    if abs(gap) <= 0.01 and (at > 470 or jitter):
        pytest.skip("the last half second speaks for more than 10 ms alone")
    if abs(gap) <= 0.03 and at == 3 and jitter:
        pytest.skip("of three blocks that scatter nobody can tell")
    assert np.abs(starts - true).max() <= max(1, 2 * jitter * RATE / 1000)


def test_stray_stamps_move_nothing_and_a_clock_that_runs_apart_is_followed():
    stamps = list(TRUE.astype(float))
    stamps[100], stamps[300], stamps[301] = stamps[100] + 5 * RATE, 0.0, stamps[301] + 700
    np.testing.assert_array_equal(place_blocks(stamps, LENGTHS, RATE), TRUE)
    apart = TRUE * 1.001
    assert np.abs(place_blocks(list(apart), LENGTHS, RATE) - apart).max() <= 0.0021 * RATE


def test_without_stamps_blocks_follow_each_other():
    np.testing.assert_array_equal(place_blocks([None] * 500, LENGTHS, RATE), TRUE)
    assert len(place_blocks([], [], RATE)) == 0


@pytest.mark.parametrize("milliseconds", [3, 9])
def test_sound_of_a_browsers_recording_is_read_whole(tmp_path, milliseconds):
    """A tone without a hole, and beeps where they were, though packets are stamped some milliseconds off either way."""
    write_flashes(tmp_path / "a.mkv", constant_times(25, 4), 48_000, codec="pcm_s16le")
    tone = ("-af", "aeval=val(0)+0.1*cos(2*PI*100*t):c=same")
    ffmpeg("-i", tmp_path / "a.mkv", *tone, "-c:v", "libvpx", "-b:v", "500k", "-c:a", "libopus", tmp_path / "b.webm")
    rng = np.random.default_rng(0)

    def jitter(packet, number):
        if packet.stream.type == "audio" and number:
            packet.pts = packet.dts = packet.pts + int(rng.integers(-milliseconds, milliseconds + 1))

    path = remuxed(tmp_path / "b.webm", tmp_path / "c.webm", jitter)
    sound = read_sound(path, 48_000)
    loud = np.abs(sound[2400 : 2400 + 480 * 380]).reshape(-1, 480).max(axis=1)  # of every 10 ms, a whole period
    assert loud.min() > 0.05, "there are holes in the tone"
    np.testing.assert_allclose(beeps_in(sound, 48_000), [1, 2, 3], atol=0.01)
    np.testing.assert_allclose(flashes_in(read_picture(path, (16, 16))), [1, 2, 3], atol=0.02)
