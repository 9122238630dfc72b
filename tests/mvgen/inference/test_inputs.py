"""Films as a model wants to see them: flow and embeddings as those of its records, or one clear line."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Dinov2Config, Dinov2Model

from data_prep.extract.cache import Cache
from data_prep.extract.semantic import SemanticExtractor, encoder_hash
from mvgen import generate
from mvgen.data.records import RecordSpec
from mvgen.errors import UserError
from mvgen.inference.inputs import FilmReader
from mvgen.media import read_picture_and_flow, read_sound, write_video
from mvgen.training.checkpoint import load_model
from tests.mvgen.synthetic import preset, write_checkpoint

SPEC = RecordSpec(codebooks=4, codebook_size=512, frame_size=(16, 16), flow_size=(4, 4), codec="encodec_tiny")
SEEING = dataclasses.replace(SPEC, semantic_dim=8)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """0.84 s in which a square moves."""
    frames = np.random.default_rng(0).integers(0, 40, (1, 48, 64, 3), np.uint8).repeat(21, axis=0)
    for number in range(21):
        frames[number, 10:20, 2 * number : 2 * number + 10] = 200
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    write_video(path, frames, None, 44100)
    return path


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two encoders of one architecture with weights of their own."""
    folders = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("other")
    config = Dinov2Config(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, image_size=14, mlp_ratio=1)
    for seed, folder in enumerate(folders):
        torch.manual_seed(seed)
        Dinov2Model(config).save_pretrained(folder)
    return folders


def test_embeddings_are_those_that_records_would_hold(film: Path, encoders: tuple[Path, Path], tmp_path: Path) -> None:
    one, other = (str(folder) for folder in encoders)
    checkpoint = str(
        write_checkpoint(tmp_path / "run", preset("debug", ""), SEEING, semantic=one, semantic_sha256=encoder_hash(one))
    )
    config = load_model(checkpoint)[0].config
    seen = FilmReader(checkpoint, config).read(str(film))
    recorded = SemanticExtractor(one, SEEING.frame_size).extract(film, "content", Cache(tmp_path / "cache"))
    assert seen["semantic"].shape == (21, 8)
    np.testing.assert_array_equal(seen["semantic"], recorded)
    with pytest.raises(UserError, match="has other weights"):
        FilmReader(checkpoint, config, other)
    moved = tmp_path / "moved"
    moved.mkdir()
    for file in encoders[0].iterdir():
        (moved / file.name).write_bytes(file.read_bytes())
    np.testing.assert_array_equal(FilmReader(checkpoint, config, str(moved)).read(str(film))["semantic"], recorded)
    # Through the command, to the end.
    words = ["music", "--checkpoint", checkpoint, "--video", str(film), "--semantic", str(moved)]
    generate.main([*words, "--out", str(tmp_path / "music.wav")])
    assert len(read_sound(tmp_path / "music.wav", 32000)) == 21 * 1280


def test_an_encoder_that_is_not_there_is_named(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    for number, (settings, said) in enumerate(
        (({"semantic": gone, "semantic_sha256": "0"}, "gone.*--semantic DIR"), ({}, "do not say of what"))
    ):
        checkpoint = str(write_checkpoint(tmp_path / str(number), preset("debug", ""), SEEING, **settings))
        with pytest.raises(UserError, match=said):
            FilmReader(checkpoint, load_model(checkpoint)[0].config)


def test_landmarks_that_cannot_be_found_are_named(tmp_path: Path) -> None:
    config = preset("debug", "")
    config.model.use_landmarks = True
    gone, spec = f"mediapipe:{tmp_path / 'gone'}", dataclasses.replace(SPEC, landmarks=("bow_tip",))
    for number, (settings, said) in enumerate((({}, "known; use its records"), ({"landmarks": gone}, "--landmarks"))):
        checkpoint = str(write_checkpoint(tmp_path / str(number), config, spec, **settings))
        with pytest.raises(UserError, match=said):
            FilmReader(checkpoint, load_model(checkpoint)[0].config)


def test_flow_is_made_as_for_the_records(film: Path, tmp_path: Path) -> None:
    read = {}
    for method in ("dis", "farneback"):
        checkpoint = str(write_checkpoint(tmp_path / method, preset("debug", ""), SPEC, flow_method=method))
        read[method] = FilmReader(checkpoint, load_model(checkpoint)[0].config).read(str(film))["flow"]
        np.testing.assert_array_equal(read[method], read_picture_and_flow(film, (16, 16), (4, 4), method)[1])
    assert not np.array_equal(read["dis"], read["farneback"])
    checkpoint = str(write_checkpoint(tmp_path / "raft", preset("debug", ""), SPEC, flow_method="raft"))
    with pytest.raises(UserError, match="'raft'.*use records"):
        FilmReader(checkpoint, load_model(checkpoint)[0].config)


def test_a_model_without_flow_reads_frames_alone(film: Path, tmp_path: Path) -> None:
    config = preset("debug", "")
    config.model.use_flow = False
    checkpoint = str(write_checkpoint(tmp_path, config, SPEC, flow_method="raft"))
    assert set(FilmReader(checkpoint, load_model(checkpoint)[0].config).read(str(film))) == {"frames"}
