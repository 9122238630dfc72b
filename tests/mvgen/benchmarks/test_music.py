"""The bench of music: both engines play the same tokens, and every figure is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mvgen import bench
from mvgen.benchmarks import beside_transformers
from mvgen.benchmarks.music import SIZES
from mvgen.errors import UserError


def test_both_engines_are_measured_on_the_same_music(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setitem(SIZES, "tiny", (32, 2, 2))
    monkeypatch.setattr(beside_transformers, "apart", lambda function, *arguments: function(*arguments))
    out = tmp_path / "bench.json"
    words = [
        "music",
        "--seconds",
        "1",
        "--batches",
        "2",
        "--precision",
        "float32",
        "--repeats",
        "1",
        "--json",
        str(out),
    ]
    assert bench.command(words) == 0
    found = json.loads(out.read_text())
    rows = found["rows"]
    assert [row["engine"] for row in found["codec"]] == ["transformers", "mvgen"]
    assert all(row["encoded_per_s"] > 0 and row["decoded_per_s"] > 0 for row in found["codec"])
    assert found["codec"][1]["same_codes"] >= 0.999
    assert [(row["engine"], row["guidance"]) for row in rows] == [
        ("transformers", 1), ("transformers", 3), ("mvgen", 1), ("mvgen", 3)
    ]  # fmt: skip
    assert all(row["same_tokens"] == 1 for row in rows[2:])
    for row in rows:
        assert row["tokens_per_s"] > 0 and row["peak_bytes"] > 0 and 0 < row["first_sound_s"]
        assert row["sound_per_s"] == pytest.approx(row["tokens_per_s"] / 50)
        # Embeddings and cross-attention's keys and values are not read: 4 heads of 2048, 2 layers, and the cache.
        weights = 4 * 2048 * 32 + 2 * (6 * 32 * 32 + 2 * 32 * 128)
        cache = 2 * (2 if row["guidance"] > 1 else 1) * 2 * 2 * 32 * (53 / 2 + 16)
        assert row["bytes_per_step"] == 4 * (weights + cache)
        assert row["bandwidth_share"] == pytest.approx(
            row["bytes_per_step"] * row["steps_per_s"] / row["copy_bytes_per_s"]
        )
    assert capsys.readouterr().out.count("\n") == 8


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["music", "--batches", "1,x"], "--batches 1,x"),
        (["music", "--seconds", "0"], "--seconds lies between"),
        (["music", "--json", "nowhere/x.json"], "nowhere does not exist"),
    ],
)
def test_bad_input_is_one_line(words: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        bench.command(words)
