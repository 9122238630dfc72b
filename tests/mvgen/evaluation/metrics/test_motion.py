"""AV-Align, lag and beats on motion and sound whose relation is known."""

import numpy as np
import pytest

from mvgen.evaluation.metrics import beats
from mvgen.evaluation.metrics.av_align import av_align, video_peaks
from mvgen.evaluation.metrics.motion import flow_magnitude, picture_change
from mvgen.media.lag import LATENCY, correlations, lag, strength_at_frames
from mvgen.media.onsets import HOP, SAMPLE_RATE, onset_strength


def clicks_at(times: np.ndarray, seconds: float) -> np.ndarray:
    """Tones of 1 kHz, 0.1 s long, that fade to a thousandth."""
    sound = np.zeros(round((seconds + 0.1) * SAMPLE_RATE), np.float32)
    clock = np.arange(SAMPLE_RATE // 10) / SAMPLE_RATE
    for time in times:
        first = round(time * SAMPLE_RATE)
        sound[first : first + len(clock)] += 1000.0 ** (-10 * clock) * np.sin(2 * np.pi * 1000 * clock)
    return sound[: round(seconds * SAMPLE_RATE)]


def test_video_peaks_by_hand():
    magnitude = np.array([0.5, 0.2, 0.3, 0.2, 0.05, 0.09, 0.05, 0.4, 0.4, 0.1, 0.9])
    # 0.3 is one; 0.09 is too weak; the plateau is no strict maximum; the ends never count.
    np.testing.assert_allclose(video_peaks(magnitude, 10.0), [0.2])


def test_av_align_by_hand():
    # The first onset takes the first peak within reach, though the second is nearer; the second then takes the other.
    assert av_align(np.array([1.00, 1.05]), np.array([0.93, 1.01]), 10.0) == 1.0
    # Nearer than one frame, strictly.
    assert av_align(np.array([1.0]), np.array([1.25]), 4.0) == 0.0
    assert av_align(np.array([1.0, 2.0, 3.0]), np.array([2.01, 9.0]), 25.0) == pytest.approx(1 / 4)
    assert np.isnan(av_align(np.zeros(0), np.zeros(0), 25.0))


def test_flow_follows_a_moving_texture():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (20, 20)).astype(np.uint8)
    texture = np.kron(coarse, np.ones((6, 6), np.uint8))
    import cv2

    texture = cv2.GaussianBlur(texture, (0, 0), 2)
    frames = np.stack([np.repeat(texture[20:84, x : x + 64, None], 3, 2) for x in (10, 10, 12, 12)])
    magnitude = flow_magnitude(frames)
    assert len(magnitude) == 4
    assert magnitude[0] == magnitude[1] < 0.05
    assert magnitude[2] == pytest.approx(2.0, rel=0.2)
    with pytest.raises(ValueError, match="two frames"):
        flow_magnitude(frames[:1])


def test_change_by_hand():
    frames = np.zeros((3, 2, 2, 3), np.uint8)
    frames[2, 0] = 30
    np.testing.assert_allclose(picture_change(frames), [0, 0, 15])
    with pytest.raises(ValueError, match="two frames"):
        picture_change(frames[:1])


@pytest.mark.parametrize("late_frames", [-7, 0, 1, 12])
def test_lag_of_clicks_against_motion(late_frames):
    rng = np.random.default_rng(3)
    times = np.cumsum(rng.uniform(0.25, 0.7, 12)) + 0.6
    frames = 200
    motion = np.zeros(frames)
    motion[np.rint(times * 25).astype(int)] = 1.0  # motion value i is across the moment i / 25
    strength = strength_at_frames(onset_strength(clicks_at(times + late_frames / 25, 8.0)), frames)
    found = lag(motion, strength)
    assert found["ms"] == pytest.approx(40.0 * late_frames)
    assert found["value"] > 0.6


def test_onset_strength_is_late_by_what_is_taken_off():
    centres = []
    for time in 0.5 + np.linspace(0, HOP / SAMPLE_RATE, 12):
        sound = np.zeros(SAMPLE_RATE, np.float32)
        first = round(time * SAMPLE_RATE)
        sound[first : first + 3000] = np.sin(0.3 * np.arange(3000)) * np.exp(-np.arange(3000) / 800)
        strength = onset_strength(sound)
        moments = np.arange(len(strength)) * HOP / SAMPLE_RATE
        near = np.abs(moments - time) < 0.15
        centres.append(np.average(moments[near], weights=strength[near]) - time)
    assert np.mean(centres) == pytest.approx(LATENCY, abs=0.002)
    assert np.ptp(centres) < 0.008


def test_correlation_is_numpys_and_silence_has_none():
    rng = np.random.default_rng(0)
    motion, strength = rng.normal(size=40), rng.normal(size=40)
    values = correlations(motion, strength, 3)
    assert values[3] == pytest.approx(np.corrcoef(motion, strength)[0, 1])
    assert values[5] == pytest.approx(np.corrcoef(motion[:-2], strength[2:])[0, 1])
    assert values[0] == pytest.approx(np.corrcoef(motion[3:], strength[:-3])[0, 1])
    assert np.isnan(lag(motion, np.zeros(40))["ms"])


def test_beat_scores_by_hand():
    reference = np.array([1, 1, 0, 1, 1], bool)
    generated = np.array([1, 0, 1, 1], bool)
    assert beats.loris_scores(reference, generated) == {"coverage": pytest.approx(2 / 3), "hit": pytest.approx(2 / 3)}
    assert beats.loris_scores(reference, np.zeros(4, bool)) == {"coverage": 0.0, "hit": 0.0}
    assert beats.d2m_scores(reference, generated) == {"coverage": pytest.approx(3 / 4), "hit": pytest.approx(2 / 4)}
    assert np.isnan(beats.d2m_scores(np.zeros(4, bool), generated)["hit"])


def test_beat_bits_mark_the_seconds_of_clicks():
    strength = onset_strength(clicks_at(np.array([0.5, 2.5, 3.5]), 5.0))
    assert beats.beat_bits(strength, 5, beats.LORIS_PICKER).tolist() == [True, False, True, True, False]


def test_beat_alignment_at_and_between_minima():
    magnitude = 1.0 - np.cos(2 * np.pi * np.arange(200) / 50)  # minima at frames 50, 100, 150
    at = beats.beat_alignment(np.array([2.0, 4.0, 6.0]), magnitude, 25.0)
    assert at == pytest.approx(1.0)
    off = beats.beat_alignment(np.array([4.05]), magnitude, 25.0)
    assert off == pytest.approx(np.exp(-0.5), abs=1e-3)
    assert np.isnan(beats.beat_alignment(np.zeros(0), magnitude, 25.0))
    assert beats.beat_alignment(np.array([1.0]), np.arange(50.0), 25.0) == 0.0


def test_loris_over_a_set_by_hand():
    scores = beats.loris_set(np.array([1.0, 0.5, np.nan]), np.array([0.5, 0.25, np.nan]))
    assert scores["bcs"] == 0.75 and scores["bhs"] == 0.375
    assert scores["csd"] == pytest.approx(np.sqrt(2 * 0.25**2)) and scores["hsd"] == pytest.approx(
        np.sqrt(2 * 0.125**2)
    )
    assert scores["f1"] == pytest.approx(2 * 0.75 * 0.375 / 1.125)
    assert beats.loris_set(np.zeros(1), np.zeros(1))["f1"] == 0.0
    assert np.isnan(beats.loris_set(np.zeros(0), np.zeros(0))["f1"])
