"""Real performances: the plain ways find offsets where movement tells them, folds are pooled over groups."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from mvgen import robustness
from mvgen.data.groups import Told
from mvgen.data.index import index_shards, write_description
from mvgen.data.records import RecordSpec, encode_record, write_tfrecord
from mvgen.errors import UserError
from mvgen.evaluation import plain_sync, real
from mvgen.evaluation.metrics.chance import bootstrap_interval
from mvgen.evaluation.plain_sync import hand_speed, late, offsets_near, shares, shares_told
from mvgen.inference.inputs import load_codec
from tests.mvgen.synthetic import preset

SPEC = RecordSpec(4, 512, frame_size=(16, 16), flow_size=(4, 4), landmarks=("wrist", "tip"))
RATE = 32_000


def played(times: list[float], seconds: float) -> np.ndarray:
    """Short bursts of noise at these times."""
    sound = np.zeros(round(seconds * RATE), np.float32)
    noise = np.random.default_rng(0).normal(0, 0.3, 3200) * np.geomspace(1, 0.001, 3200)
    for time in times:
        first = round(time * RATE)
        sound[first : first + 3200] += noise[: len(sound) - first].astype(np.float32)
    return sound


def moving(times: list[float], frames: int) -> np.ndarray:
    motion = np.zeros(frames)
    motion[[round(time * 25) for time in times]] = 1.0
    return motion


TIMES = [0.4, 0.72, 1.3, 1.5, 2.1, 2.32, 2.9, 3.3, 3.52]


@pytest.mark.parametrize("shift", [-0.4, 0.0, 0.32])
def test_the_plain_way_says_how_late_a_sound_is(shift: float) -> None:
    sound = played([time + shift for time in TIMES[1:-1]], 4.0)
    assert abs(late(moving(TIMES[1:-1], 100), sound, RATE, 1.0) - 1000 * shift) <= 40
    assert math.isnan(late(np.zeros(100), sound, RATE, 1.0)) and math.isnan(
        late(moving(TIMES, 100), 0 * sound, RATE, 1.0)
    )


def test_the_speed_of_hands_counts_points_seen_twice() -> None:
    points = np.zeros((5, 2, 3), np.float16)
    points[1:4, 0] = [[0.25, 0.5, 1], [0.5, 0.5, 1], [0.5, 0.75, 1]]
    points[2:, 1] = [0.5, 0.5, 0.7]
    np.testing.assert_allclose(hand_speed(points), [0, 0, 0.25, 0.125, 0])
    assert hand_speed(points[:0]).shape == (0,)


def test_an_offset_is_found_or_not() -> None:
    motion = moving(TIMES, 100)
    assert offsets_near(motion, motion, 25, 2) and offsets_near(motion, np.roll(motion, 2), 25, 2)
    assert not offsets_near(motion, np.roll(motion, 7), 25, 2)
    assert not offsets_near(np.zeros(100), motion, 25, 2) and not offsets_near(motion, np.zeros(100), 25, 2)


def test_shares_by_family_with_chance_and_whole_groups_drawn() -> None:
    table = {"a": Told("g", ("drums",)), "b": Told("g", ("drums",)), "c": Told("c", ("violin",))}
    cases = [
        {"file": f"{name}.mp4", "true_ms": true, "flow": true + error}
        for name, error in (("a", 0.0), ("b", 50.0), ("c", 300.0)) for true in (-600.0, -200.0, 200.0, 600.0)
    ]  # fmt: skip
    found = shares(cases, ("flow",), table)
    assert list(found) == ["all", "drums", "violin"]
    assert [round(entry["flow"]["share"], 3) for entry in found.values()] == [0.667, 1.0, 0.0]
    assert found["drums"]["flow"]["low"] == 1.0 and found["all"]["flow"]["low"] == 0.0
    assert found["all"]["flow"]["chance"] < 0.5 and found["all"]["clips"] == 3
    assert "0.67 (0.00 to 1.00)" in "\n".join(shares_told(found, ("flow",)))


def test_an_interval_over_groups_is_wider() -> None:
    values = np.repeat([0.0, 1.0, 0.0, 1.0, 1.0], 40)
    alone = np.ptp(bootstrap_interval(values))
    together = np.ptp(bootstrap_interval(values, groups=np.repeat(list("abcde"), 40).tolist()))
    assert together > 3 * alone


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folds: of each, a group whose flow moves with its sound, and one in which nothing moves and hardly anything
    sounds."""
    folder = tmp_path_factory.mktemp("folds")
    codec = load_codec(SPEC)
    tokens = np.asarray(codec.encode(played(TIMES, 4.0)[None]))[0].astype(np.int16)
    silence = np.asarray(codec.encode(played([], 4.0)[None]))[0].astype(np.int16)
    flow = np.zeros((100, 4, 4, 2), np.float16)
    flow[..., 0] = moving(TIMES, 100)[:, None, None]
    for fold in range(2):
        at = folder / f"fold-{fold}"
        at.mkdir()
        record = {
            "clip_id": "a", "source_id": f"group {fold}", "labels": "percussion,drums", "start_seconds": np.float32(0),
            "tokens": tokens, "flow": flow, "frames": np.zeros((100, 16, 16, 3), np.uint8),
            "landmarks": np.zeros((100, 2, 3), np.float16), "notes": np.zeros((0, 3), np.float32),
        }  # fmt: skip
        still = record | {"clip_id": "b", "source_id": f"still {fold}", "tokens": silence, "flow": 0 * flow}
        for split in ("train", "test"):
            records = [encode_record(each, SPEC) for each in (record, still)]
            write_tfrecord(at / f"recital-{split}.tfrecord-00000-of-00001", records)
        index = {split: index_shards(sorted(at.glob(f"recital-{split}.*")), SPEC) for split in ("train", "test")}
        splits = {"train": 2, "test": 2}
        write_description(at, {"spec": SPEC.to_json(), "made_by": {}, "splits": splits, "index": index})
    return folder


def test_the_plain_ways_on_folds(folds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert robustness.main(["--real", str(folds), "--out", str(tmp_path / "out")]) == 0
    told = (tmp_path / "out" / "real.md").read_text()
    assert "2 windows of 4 s of 2 groups in 2 folds; 2 more were left out" in told
    assert (
        "| the same, by flow against onset strength | 1.00 (1.00 to 1.00); 0.10 | 1.00 (1.00 to 1.00); 0.10 |" in told
    )
    assert "hand speed" not in told  # no hand is seen: nothing is said of it
    assert "percussion" in capsys.readouterr().out


def test_bad_input_of_real_is_named(folds: Path, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path)]
    for words, said in (
        (["--real", str(tmp_path)], "data_prep folds"),
        (["--real", str(folds), "--change", "seed=1"], "goes with --config"),
        (["--real", str(folds), "--config", "real", "--change", "model.heads=many"], "--change model.heads=many"),
        (["--real", str(folds), "--config", "real", "--change", "model.none=1"], "--change model.none=1"),
        (["--real", str(folds), "--plain", "x"], "trains what it measures"),
        (["--real", str(folds), "--seconds", "1"], "at least 2.04"),
        ([], "--real FOLDS"),
    ):
        with pytest.raises(UserError, match=said):
            robustness.main([*words, *out])


@pytest.mark.slow
def test_a_configuration_is_trained_and_measured_on_folds(folds: Path, tmp_path: Path) -> None:
    config = preset("debug", "")
    config.model.patch, config.model.denoiser_patch = 4, 8
    status, found = real.run_folds(real.fold_folders(str(folds)), tmp_path, config, 4.0, None)
    assert status == 0 and {"offset", "video_to_music_r1"} <= set(found["measures"])


def test_without_networks_the_flow_alone_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(name: str) -> str:
        raise UserError("not here")

    monkeypatch.setattr(plain_sync, "landmarks_hash", gone)
    assert plain_sync.PlainWays().names == ("flow",)
    with pytest.raises(UserError, match="not here"):
        plain_sync.PlainWays("mediapipe:x.whl")
