"""Onsets and mel bands are those of librosa, without librosa's functions that are compiled at their first call."""

import re
from pathlib import Path

import numpy as np
import pytest

from mvgen.evaluation.metrics.beats import LORIS_PICKER
from mvgen.media.mel import mel_bands
from mvgen.media.onsets import SAMPLE_RATE, onset_strength, pick_onsets

ROOT = Path(__file__).parents[3]


def scale():
    """Three notes a second for two seconds."""
    time = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    return np.sin(2 * np.pi * 220 * 2 ** (np.floor(3 * time) / 12) * time) * np.exp(-3 * (3 * time % 1))


def test_onsets_of_a_scale():
    """As librosa 0.11 gives them, to the third digit: the slow test compares."""
    strength = onset_strength(scale())
    known = {3: 0.039, 15: 23.658, 16: 11.883, 17: 0.090, 29: 9.153, 30: 22.236, 31: 2.468}
    assert len(strength) == 87
    np.testing.assert_allclose(strength[:35], [known.get(number, 0) for number in range(35)], atol=0.02)
    np.testing.assert_allclose(pick_onsets(strength), np.array([15, 29, 44, 58, 73]) * 512 / SAMPLE_RATE)


def sounds():
    rng = np.random.default_rng(0)
    return {
        "noise": rng.normal(0, 0.1, 3 * SAMPLE_RATE),
        "clicks": np.eye(1, 7000)[0].tolist() * 9,
        "scale": scale(),
        "notes": scale() + rng.normal(0, 1e-4, len(scale())),
        "short": rng.normal(0, 1, 300),
        "silence": np.zeros(9999),
    }


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:n_fft")
def test_onsets_of_librosa():
    import librosa

    for name, sound in sounds().items():
        sound = np.asarray(sound, np.float32)
        strength = onset_strength(sound)
        theirs = librosa.onset.onset_strength(y=sound, sr=SAMPLE_RATE, n_fft=2048, hop_length=512)
        np.testing.assert_allclose(strength, theirs, atol=1e-5, err_msg=name)
        for picker in ({}, {"delta": 0.3}, LORIS_PICKER):
            onsets = librosa.onset.onset_detect(onset_envelope=theirs, sr=SAMPLE_RATE, units="time", **picker)
            np.testing.assert_allclose(pick_onsets(strength, **picker), onsets, err_msg=f"{name} {picker}")


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["slaney", None])
def test_mel_bands_of_librosa(norm):
    import librosa

    ours = mel_bands(32_000, 2970, 128, 30.0, 11_025.0, equal_area=norm is not None)
    theirs = librosa.filters.mel(sr=32_000, n_fft=2970, n_mels=128, fmin=30, fmax=11_025, norm=norm)
    np.testing.assert_allclose(ours, theirs, atol=1e-6 * theirs.max())


def test_nothing_imports_what_compiles_at_its_first_call():
    """Two processes that fill numba's cache of librosa's functions at once break it for every later one."""
    sources = [path for room in ("mvgen", "data_prep") for path in (ROOT / room).rglob("*.py")]
    assert len(sources) > 100
    found = [path for path in sources if re.search(r"^\s*(import|from) (librosa|numba)", path.read_text(), re.M)]
    assert not found
