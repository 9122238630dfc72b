"""Codes: their number, their codec, and codecs that do not fit."""

import json
import pickle
import shutil
import sys

import numpy as np
import pytest

from data_prep.extract.tokens import TokenExtractor, codec_location, weights_hash
from mvgen.errors import UserError


@pytest.fixture(scope="module")
def extractor():
    return TokenExtractor("encodec_tiny")


def test_two_tokens_a_frame(extractor):
    rng = np.random.default_rng(0)
    for frames in (1, 7, 50):
        codes = extractor.extract(rng.normal(0, 0.1, frames * 1280).astype(np.float32))
        assert codes.shape == (2 * frames, extractor.codebooks) and codes.dtype == np.int16
        assert codes.min() >= 0 and codes.max() < extractor.codebook_size
    assert extractor.codebooks == 4


def test_loudness_is_told_apart(extractor):
    wave = np.sin(2 * np.pi * 440 * np.arange(32_000) / 32_000).astype(np.float32)
    assert (extractor.extract(0.5 * wave) != extractor.extract(0.05 * wave)).mean() > 0.2


def test_pickles_without_its_weights(extractor):
    extractor.extract(np.zeros(1280, np.float32))
    again = pickle.loads(pickle.dumps(extractor))
    assert len(pickle.dumps(extractor)) < 1000
    wave = np.random.default_rng(0).normal(0, 0.1, 12_800).astype(np.float32)
    np.testing.assert_array_equal(again.extract(wave), extractor.extract(wave))


def test_a_folder_is_the_same_codec(extractor, tmp_path):
    shutil.copytree(codec_location("encodec_tiny"), tmp_path / "codec")
    wave = np.random.default_rng(0).normal(0, 0.1, 12_800).astype(np.float32)
    np.testing.assert_array_equal(TokenExtractor(str(tmp_path / "codec")).extract(wave), extractor.extract(wave))
    assert weights_hash(str(tmp_path / "codec")) == weights_hash("encodec_tiny")
    assert len(weights_hash("encodec_tiny")) == 64


@pytest.mark.parametrize("sound", [np.zeros(0, np.float32), np.full(1280, np.nan, np.float32), np.zeros((2, 1280))])
def test_sound_that_is_none(extractor, sound):
    with pytest.raises(ValueError, match="finite"):
        extractor.extract(sound)


def test_codecs_that_do_not_fit(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="holds no model.safetensors"):
        weights_hash(str(tmp_path))
    with pytest.raises(UserError, match="neither a preset"):
        weights_hash("nobody/no such/codec")  # not even a hub name: nothing is asked of a network
    with pytest.raises(
        UserError, match="neither a preset .*: there is no folder encodec, and a name of the hub has the"
    ):
        weights_hash("encodec")
    with pytest.raises(UserError, match="neither a preset"):
        TokenExtractor(str(tmp_path)).extract(np.zeros(1280, np.float32))
    folder = tmp_path / "slow"
    shutil.copytree(codec_location("encodec_tiny"), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "sampling_rate": 24_000}))
    with pytest.raises(UserError, match="the clock needs 32000 Hz"):
        TokenExtractor(str(folder)).extract(np.zeros(1280, np.float32))


def test_audiocraft_is_asked_for_where_it_is_not(monkeypatch):
    monkeypatch.setitem(sys.modules, "audiocraft", None)
    for codec in ("audiocraft:debug", "audiocraft:" + codec_location("encodec_tiny")):
        with pytest.raises(UserError, match="needs audiocraft, which does not load here .*make setup-audiocraft"):
            TokenExtractor(codec).extract(np.zeros(1280, np.float32))
