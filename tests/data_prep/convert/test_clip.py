"""One clip through the extractors that the config chooses, in this process."""

import dataclasses

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from transformers import Dinov2Config, Dinov2Model, EncodecConfig, EncodecModel

from data_prep.convert.clip import ClipProcessor, Settings
from data_prep.convert.command import BASE_CONFIG, load_config
from data_prep.extract.latents import LatentExtractor, autoencoder_hash
from data_prep.extract.semantic import encoder_hash
from data_prep.extract.tokens import TokenExtractor, weights_hash
from data_prep.sources.manifest import Clip, result_line
from mvgen.data.records import decode_record, encode_record
from mvgen.errors import UserError
from mvgen.interop import landmarks
from mvgen.interop.note_readers import READERS
from mvgen.media import read_picture, read_sound, write_wav
from tests.mvgen.media.flashes import constant_times, write_flashes


def settings_of(**changes):
    changes = {"frame_size": (16, 16), "flow_size": (8, 8), "segment_seconds": 1, "keep_standardised": False, **changes}
    config = load_config(str(BASE_CONFIG), [(name, repr(value)) for name, value in changes.items()])
    return Settings.from_config(config)


def test_embeddings_and_latents_lie_in_the_records(tmp_path):
    """Networks of random weights; what counts is that each frame's own result reaches its record, and what is said."""
    torch.manual_seed(0)
    encoder, autoencoder = str(tmp_path / "encoder"), str(tmp_path / "autoencoder")
    Dinov2Model(
        Dinov2Config(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, image_size=14, mlp_ratio=1)
    ).save_pretrained(encoder)
    AutoencoderTiny(latent_channels=3).save_pretrained(autoencoder)
    write_flashes(tmp_path / "a.mp4", constant_times(30, 2))
    settings = settings_of(semantic=encoder, autoencoder=autoencoder)
    told = dataclasses.asdict(settings)
    assert (told["semantic"], told["semantic_sha256"]) == (encoder, encoder_hash(encoder))
    assert (told["autoencoder"], told["autoencoder_sha256"]) == (autoencoder, autoencoder_hash(autoencoder))
    processor = ClipProcessor(settings, tmp_path / "cache")
    spec = processor.spec
    assert spec.semantic_dim == 8 and spec.latent_shape == (2, 2, 3) and spec.frame_size is None
    clip = Clip("a", tmp_path / "a.mp4", "a")
    outcome = processor.process(clip)
    assert (outcome["status"], outcome["records"]) == ("used", 2)
    parts = [decode_record(encode_record(record, spec), spec) for record in processor.records(clip, outcome)]
    frames = read_picture(tmp_path / "a.mp4", (16, 16))[: outcome["frames"]]
    latents = np.concatenate([part["latents"] for part in parts])
    np.testing.assert_array_equal(latents, LatentExtractor(autoencoder, (16, 16)).encode(frames))
    # Bright frames are embedded alike, and unlike dark ones: each embedding is of its own frame.
    embeddings = np.concatenate([part["semantic"] for part in parts]).astype(np.float32)
    bright = frames.mean(axis=(1, 2, 3)) > 100
    assert len(embeddings) == len(frames) and 0 < bright.sum() < len(frames)
    middle = embeddings[bright].mean(axis=0), embeddings[~bright].mean(axis=0)
    nearer = np.linalg.norm(embeddings - middle[0], axis=1) < np.linalg.norm(embeddings - middle[1], axis=1)
    np.testing.assert_array_equal(nearer, bright)


def test_any_encodec_in_transformers_format_makes_tokens(tmp_path):
    torch.manual_seed(0)
    model = EncodecModel(
        EncodecConfig(
            upsampling_ratios=[8, 5, 4, 4], target_bandwidths=[1.0], num_filters=2, sampling_rate=32_000, hidden_size=8,
            codebook_size=32, codebook_dim=8, use_causal_conv=False, normalize=False, num_lstm_layers=1,
        )
    ).eval()  # fmt: skip
    sound = torch.randn(1, 1, 32_000)
    with torch.no_grad():
        seen = model.encoder(sound)[0].T
        for layer in model.quantizer.layers:  # entries are zeros in a fresh codec, and then every code is the same
            layer.codebook.embed.copy_(seen[torch.randperm(len(seen))[:32]])
        wanted = model.encode(sound, bandwidth=1.0).audio_codes[0, 0].T.numpy()
    model.save_pretrained(tmp_path / "codec")
    extractor = TokenExtractor(str(tmp_path / "codec"))
    assert (extractor.codebooks, extractor.codebook_size) == (4, 32)
    found = extractor.extract(sound[0, 0].numpy())
    np.testing.assert_array_equal(found, wanted)
    assert len(np.unique(found[:, 0])) > 10
    assert settings_of(codec=str(tmp_path / "codec")).codec_sha256 == weights_hash(str(tmp_path / "codec"))


def test_a_sound_of_its_own_takes_the_place_of_the_videos(tmp_path):
    """The video's beeps come every second, those of the other file half a second later; the picture stays the same."""
    write_flashes(tmp_path / "a.mp4", constant_times(25, 4))
    beeps = read_sound(tmp_path / "a.mp4", 48_000, start=0.5)
    write_wav(tmp_path / "b.wav", np.pad(beeps, (0, 24_000)), 48_000)
    clip = Clip("a", tmp_path / "a.mp4", "a", sound=tmp_path / "b.wav")
    processor = ClipProcessor(settings_of(segment_seconds=5), tmp_path / "cache")
    outcome = processor.process(clip)
    assert outcome["status"] == "used", outcome
    record = processor.record(clip, outcome, 0)
    np.testing.assert_array_equal(record["frames"], read_picture(tmp_path / "a.mp4", (16, 16))[: outcome["frames"]])
    wanted = read_sound(tmp_path / "b.wav", 32_000, seconds=outcome["frames"] / 25)
    same = record["tokens"] == TokenExtractor("encodec_tiny").extract(wanted)
    assert same.mean() > 0.95  # but for 24 bits of the samples, and where they begin
    own = processor.process(Clip("a", tmp_path / "a.mp4", "a"))
    assert own["sha256"] != outcome["sha256"]
    missing = processor.process(Clip("a", tmp_path / "a.mp4", "a", sound=tmp_path / "c.wav"))
    assert missing["status"] == "refused" and "c.wav: no such file" in missing["reason"]
    assert processor.process(Clip("a", tmp_path / "x.mp4", "a", sound=tmp_path / "b.wav"))["status"] == "refused"


def test_landmarks_and_estimated_notes_lie_in_the_records(tmp_path, monkeypatch):
    """Finders that say which frame and which second it is: each record holds what was found in its own time."""

    def follow(location):
        return lambda pictures: np.stack([np.tile([0.5, 0.5, (n + 1) / 64], (42, 1)) for n, _ in enumerate(pictures)])

    monkeypatch.setattr(landmarks, "HandTracker", follow)
    monkeypatch.setattr(landmarks, "hands_hash", lambda location: "the hash")
    notes = np.array([[0.2, 0.6, 60], [1.2, 1.5, 64], [1.5, 1.6, 140]])
    monkeypatch.setitem(READERS, "basic_pitch", lambda: lambda sound, rate: notes)
    write_flashes(tmp_path / "a.mp4", constant_times(25, 2))
    settings = settings_of(landmarks="mediapipe", estimate_notes="basic_pitch", frame_size=(16, 32))
    assert settings.landmarks_sha256 == "the hash"
    processor = ClipProcessor(settings, tmp_path / "cache")
    spec, clip = processor.spec, Clip("a", tmp_path / "a.mp4", "a")
    assert spec.landmarks == landmarks.NAMES
    outcome = processor.process(clip)
    assert result_line(clip, outcome, "train")["notes_estimated_by"] == "basic_pitch"
    parts = [decode_record(encode_record(record, spec), spec) for record in processor.records(clip, outcome)]
    found = np.concatenate([part["landmarks"] for part in parts])[:, 5].astype(float)
    assert len(found) == outcome["frames"] and len(parts) == 2
    np.testing.assert_allclose(found[:, 2], np.arange(1, len(found) + 1) / 64, atol=1e-3)
    np.testing.assert_allclose(parts[1]["notes"], [[0.2, 0.5, 64]], atol=1e-6)  # no key has the last one's pitch
    known = dataclasses.replace(clip, notes=((0.0, 1.0, 50.0),))
    outcome = processor.process(known)
    assert "notes_estimated_by" not in result_line(known, outcome, "train")
    np.testing.assert_array_equal(processor.record(known, outcome, 0)["notes"], [[0, 1, 50]])
    with pytest.raises(UserError, match=r"config.estimate_notes is 'crepe'; it can be none, basic_pitch, swift_f0"):
        settings_of(estimate_notes="crepe")
