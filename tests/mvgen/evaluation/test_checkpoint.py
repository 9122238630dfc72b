"""A checkpoint is scored over the whole split, each record by its first window."""

from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

from mvgen.data.loader import Windows
from mvgen.data.records import RecordSource
from mvgen.evaluation import checkpoint
from tests.mvgen.synthetic import SPEC, tiny, write_records

FEATURES = ("frames", "flow", "tokens")
FRAMES = 60
LENGTHS = [70, 60, 59, *[64] * 18]


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_records(tmp_path_factory.mktemp("records"), {"train": [60], "test": LENGTHS})


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """In place of a model: latents that depend on which record it is (its flow tells), the same from both sides."""
    calls: list[tuple[int, ...]] = []

    def latents(model, video, tokens, window):
        numbers = tuple(int(flow[0, 0, 0, 0]) for flow in video["flow"])
        calls.append(numbers)
        assert tokens.shape[1] == 2 * window == 2 * FRAMES and (tokens[:, 0] == 0).all()
        assert (video["frames"][:, 0] == 0).all() and (video["frames"][:, -1] == FRAMES - 1).all()
        drawn = np.stack([np.random.default_rng(number).normal(size=(window, 16)) for number in numbers])
        return drawn, drawn

    monkeypatch.setattr(checkpoint, "coordinates", latents)
    return calls


def test_every_record_is_in_the_pool_once(records, seen):
    scores = checkpoint.score_space(None, Windows(RecordSource(records, "test", FEATURES), FRAMES))
    assert scores["clips"] == len(LENGTHS) - 1  # one is too short
    assert scores["video_to_music_r1"] == scores["music_to_video_r1"] == scores["offset_right"] == 1.0
    assert scores["chance_r1"] == pytest.approx(1 / 20)
    assert [len(numbers) for numbers in seen] == [16, 16]
    assert sorted(seen[0] + seen[1][:4]) == [1, 2, *range(4, 22)]  # record 0 is the train split's, record 3 too short


def test_losses_and_space_stand_together(records, seen, monkeypatch):
    run: ConfigDict = tiny(records)
    run.data.window_seconds = FRAMES / 25

    class Model:
        config = type("Seen", (), {"sees_flow": True, "sees_semantic": False})()

    monkeypatch.setattr(checkpoint, "load_model", lambda workdir: (Model(), run, SPEC))
    monkeypatch.setattr(checkpoint.held_out, "evaluate", lambda config, workdir: {"step": 7, "loss": 0.5})
    monkeypatch.setattr(checkpoint, "used_features", lambda spec, model: FEATURES)
    config = tiny(records)
    config.data.path = ""
    scores = checkpoint.score_checkpoint(config, "anywhere")
    assert (scores["step"], scores["loss"], scores["retrieval"]["clips"]) == (7, 0.5, 20)
    assert scores["retrieval"]["window_seconds"] == FRAMES / 25
    run.loss.align = 0.0
    assert "retrieval" not in checkpoint.score_checkpoint(config, "anywhere")
