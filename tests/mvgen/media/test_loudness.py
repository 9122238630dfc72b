"""Loudness and true peaks beside ffmpeg's own meter, and sounds that are brought to a loudness."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from mvgen.media import write_video, write_wav
from mvgen.media.loudness import CEILING, brought_to, limited, loudness, true_peak
from mvgen.media.notes import collected

RATE = 44_100
TIME = np.arange(4 * RATE) / RATE


def plucked(peak: float) -> np.ndarray:
    """A chord struck every half second."""
    chord = sum(np.sin(2 * np.pi * pitch * TIME) for pitch in (110, 220.5, 331, 997, 2500))
    return (peak * chord / np.abs(chord).max() * np.exp(-6 * (TIME % 0.5))).astype(np.float32)


def clicks() -> np.ndarray:
    """Short noise twice a second: what AAC changes most."""
    rng = np.random.default_rng(0)
    return (rng.standard_normal(len(TIME)) * np.exp(-150 * (TIME % 0.5))).astype(np.float32) / 5


SOUNDS = {
    "noise": 0.05 * np.random.default_rng(1).standard_normal(len(TIME)).astype(np.float32),
    "plucked": plucked(0.5),
    "clicks": clicks(),
    "stereo": np.stack([plucked(0.3), 0.02 * np.random.default_rng(2).standard_normal(len(TIME)).astype(np.float32)]),
}


def by_ffmpeg(path: Path) -> tuple[float, float]:
    """Integrated loudness in LUFS and true peak in dBTP of a file, by ffmpeg's ebur128."""
    told: dict[str, str] = {}
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        graph = av.filter.Graph()
        source, meter = graph.add_abuffer(template=stream), graph.add("ebur128", "metadata=1:peak=true")
        sink = graph.add("abuffersink")
        source.link_to(meter)
        meter.link_to(sink)
        graph.configure()
        for frame in [*container.decode(stream), None]:
            graph.push(frame)
            while True:
                try:
                    told |= graph.pull().metadata
                except (av.error.BlockingIOError, av.error.EOFError):
                    break
    return float(told["lavfi.r128.I"]), 20 * np.log10(float(told["lavfi.r128.true_peak"]))


@pytest.mark.parametrize("name", SOUNDS)
def test_loudness_and_peak_are_those_of_ffmpegs_meter(name: str, tmp_path: Path) -> None:
    sound = 0.9 * SOUNDS[name] / np.abs(SOUNDS[name]).max()
    write_wav(tmp_path / "a.wav", sound, RATE)
    found, peak = by_ffmpeg(tmp_path / "a.wav")
    assert abs(loudness(sound, RATE) - found) < 0.1 and abs(true_peak(sound, RATE) - peak) < 0.3


@pytest.mark.parametrize("rate", [32_000, 44_100])
def test_sounds_shorter_than_a_block_have_a_loudness(rate: int) -> None:
    tone = 0.1 * np.sin(2 * np.pi * 997 * np.arange(rate) / rate).astype(np.float32)
    whole = loudness(tone, rate)
    for length in range(rate // 4, rate // 4 + 60):  # whatever way the division is rounded
        assert abs(loudness(tone[:length], rate) - whole) < 0.5
    assert loudness(tone[:100], rate) == -np.inf


def test_a_peak_between_samples_is_seen() -> None:
    """A sine at a quarter of the rate, sampled 45 degrees beside its crests."""
    sound = np.sin(np.pi / 2 * np.arange(RATE) + np.pi / 4)
    assert abs(np.abs(sound).max() - 0.5**0.5) < 1e-6 and abs(true_peak(sound, RATE)) < 0.1


@pytest.mark.parametrize("name", SOUNDS)
def test_a_sound_is_brought_to_a_loudness_also_as_a_file(name: str, tmp_path: Path) -> None:
    made = brought_to(SOUNDS[name], RATE, -16, CEILING - 1)
    assert made.shape == SOUNDS[name].shape and made.dtype == np.float32
    assert true_peak(made, RATE) <= CEILING - 1 + 0.01
    write_video(tmp_path / "a.mp4", np.zeros((100, 16, 16, 3), np.uint8), made, RATE)
    found, peak = by_ffmpeg(tmp_path / "a.mp4")
    assert peak <= CEILING
    assert abs(found + 16) < 0.2 or name == "clicks" and found < -16


def test_what_cannot_be_as_loud_is_told() -> None:
    with collected() as notes:
        made = brought_to(SOUNDS["clicks"], RATE, -8)
    assert len(notes) == 1 and "quieter than the -8 LUFS asked for" in notes[0]
    assert true_peak(made, RATE) <= CEILING + 0.01
    for silent in (np.zeros(RATE, np.float32), np.zeros(3, np.float32), 1e-6 * SOUNDS["noise"]):
        np.testing.assert_array_equal(brought_to(silent, RATE, -16), silent)
        assert loudness(silent, RATE) == -np.inf


def test_the_limiter_touches_only_what_is_near_a_peak() -> None:
    sound = np.full(RATE, 0.1, np.float32)
    sound[20_000] = 2.0
    made = limited(sound, RATE)
    reach = round(0.05 * RATE)
    np.testing.assert_allclose(made[: 20_000 - reach], 0.1, rtol=1e-3)
    np.testing.assert_allclose(made[20_000 + reach :], 0.1, rtol=1e-3)
    assert 0.5 < made[20_000] <= 10 ** (CEILING / 20)
    assert limited(made[:10_000], RATE) is not made and (limited(sound[:10_000], RATE) == sound[:10_000]).all()
