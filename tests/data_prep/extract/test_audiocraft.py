"""audiocraft's codecs, read by audiocraft itself. Runs where it is installed (`make setup-audiocraft`)."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from data_prep.convert.command import BASE_CONFIG, convert, load_config
from data_prep.extract.tokens import TokenExtractor, codec_location, weights_hash
from mvgen.data.records import RecordSource
from mvgen.errors import UserError
from tests.mvgen.media.flashes import constant_times, write_flashes

torch = pytest.importorskip("torch")
models = pytest.importorskip("audiocraft.models", reason="audiocraft is not installed: its codecs are not tested")

TINY = "audiocraft:" + codec_location("encodec_tiny")


def noise(*sizes):
    rng = np.random.default_rng(0)
    return [rng.normal(0, 0.1, size).astype(np.float32) for size in sizes]


def test_the_wrapper_of_transformers_gives_the_same_codes():
    """HFEncodecCompressionModel around the packaged codec, against transformers alone."""
    ours, theirs = TokenExtractor("encodec_tiny"), TokenExtractor(TINY)
    assert (theirs.codebooks, theirs.codebook_size) == (4, 512)
    sounds = noise(640, 1280, 12_800, 32_001, 12_800)
    for sound in sounds:
        np.testing.assert_array_equal(theirs.extract(sound), ours.extract(sound))
    for number, codes in theirs.extract_many(enumerate(sounds)):
        np.testing.assert_array_equal(codes, ours.extract(sounds[number]))
    codes = ours.extract(sounds[2])
    np.testing.assert_array_equal(theirs.decode(codes), ours.decode(codes))
    assert weights_hash(TINY) == weights_hash("encodec_tiny")
    assert type(theirs._model).__name__ == "HFEncodecCompressionModel"


def test_the_debug_model_is_read_and_kept_off_the_clock():
    """It makes 25 tokens a second: its codes are its own, records of it are refused in one line."""
    from data_prep.extract.audiocraft import load_audiocraft

    model = load_audiocraft("audiocraft:debug", "cpu")
    (sound,) = noise(32_000)
    with torch.no_grad():
        codes, scale = model.encode(torch.from_numpy(sound)[None, None])
    assert codes.shape == (1, 4, 25) and int(codes.max()) < model.cardinality == 400 and scale is None
    again = load_audiocraft("audiocraft:debug", "cpu")
    torch.testing.assert_close(again.encode(torch.from_numpy(sound)[None, None])[0], codes)
    assert weights_hash("audiocraft:debug") == weights_hash("audiocraft:debug") != weights_hash(TINY)
    with pytest.raises(UserError, match="25 tokens a second and 1 channels; the clock needs 32000 Hz, 50 and 1"):
        TokenExtractor("audiocraft:debug").extract(sound)


def exported(folder, ratios):
    """A codec of the debug model's sizes, at a rate of its own, as audiocraft's export writes it."""
    from omegaconf import OmegaConf

    seanet = {"n_filters": 4, "n_residual_layers": 1, "dimension": 32, "ratios": ratios, "encoder": {}, "decoder": {}}
    config = OmegaConf.create(
        {
            "compression_model": "encodec",
            "device": "cpu",
            "encodec": {"autoencoder": "seanet", "quantizer": "rvq", "sample_rate": 32_000, "channels": 1},
            "seanet": seanet,
            "rvq": {"n_q": 3, "bins": 90},
        }
    )
    torch.manual_seed(0)
    model = models.builders.get_compression_model(config)
    model.train()
    model.quantizer(model.encoder(torch.randn(1, 1, 320_000)), 50)  # k-means of the codebooks
    folder.mkdir(exist_ok=True)
    package = {"xp.cfg": OmegaConf.to_yaml(config), "best_state": model.state_dict(), "exported": True}
    torch.save(package, folder / "compression_state_dict.bin")
    return model.eval()


def test_a_codec_that_audiocraft_exported(tmp_path):
    model = exported(tmp_path, [10, 8, 8])
    extractor = pickle.loads(pickle.dumps(TokenExtractor(f"audiocraft:{tmp_path}", "cpu")))
    assert (extractor.codebooks, extractor.codebook_size) == (3, 90)
    for sound in noise(6_400, 32_000):
        with torch.no_grad():
            codes, _ = model.encode(torch.from_numpy(sound)[None, None])
        found = extractor.extract(sound)
        np.testing.assert_array_equal(found, codes[0].T.numpy())
        assert found.shape == (len(sound) // 640, 3) and len(np.unique(found)) > 5
        assert extractor.decode(found).shape == sound.shape
    assert len(weights_hash(f"audiocraft:{tmp_path}")) == 64


class Mischief:
    """What a pickle may do to who opens it."""

    def __reduce__(self):
        return pytest.fail, ("a pickle was run",)


def test_what_is_no_codec_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    torch.save({"xp.cfg": Mischief(), "best_state": {}}, tmp_path / "compression_state_dict.bin")
    with pytest.raises(UserError, match="cannot be loaded: UnpicklingError"):
        TokenExtractor(f"audiocraft:{tmp_path}").extract(np.zeros(1280, np.float32))
    torch.save({"xp.cfg": "compression_model: other", "best_state": {}}, tmp_path / "compression_state_dict.bin")
    with pytest.raises(UserError, match="cannot be loaded: KeyError"):
        TokenExtractor(f"audiocraft:{tmp_path}").extract(np.zeros(1280, np.float32))
    with pytest.raises(UserError, match="neither a preset"):
        weights_hash("audiocraft:nobody/no such/codec")


def test_a_conversion_makes_the_same_tokens(tmp_path):
    (tmp_path / "in").mkdir()
    write_flashes(tmp_path / "in" / "a.mp4", constant_times(30, 1.5))
    found = []
    for number, codec in enumerate(("encodec_tiny", TINY)):
        config = load_config(str(BASE_CONFIG), [("codec", codec), ("test_percent", "0")])
        folder = tmp_path / f"out{number}"
        convert(str(tmp_path / "in"), str(folder), config, str(tmp_path / f"cache{number}"), workers=1)
        source = RecordSource(folder, "train")
        assert source.spec.codec == codec == source.description["made_by"]["codec"]
        found.append(source[0]["tokens"])
    np.testing.assert_array_equal(*found)
