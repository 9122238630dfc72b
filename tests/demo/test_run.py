"""The demo, small: every step of it, and that what is done is not done again. Slow: `make test-slow` runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_demo_goes_through_and_goes_on(tmp_path: Path) -> None:
    small = ["--train-clips", "16", "--held-out-clips", "3", "--steps", "3"]
    command = [sys.executable, "demo/run.py", "--out", str(tmp_path), *small]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    first = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stdout[-2000:] + first.stderr[-3000:]
    page = (tmp_path / "report.html").read_text()
    assert "mvgen on Recital" in page and "<video" in page
    for part in ("codec", "music", "video"):
        scores = json.loads((tmp_path / f"scores_{part}.json").read_text())
        assert scores["clips"] == 3 and scores["summary"]["overall"]
    assert len(list((tmp_path / "generated" / "music").glob("*.mp4"))) == 3
    assert "done before" not in first.stdout
    trained = (tmp_path / "music" / "metrics.jsonl").stat().st_mtime_ns
    again = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 0 and again.stdout.count("done before") == len(
        json.loads((tmp_path / ".done.json").read_text())
    )
    assert (tmp_path / "music" / "metrics.jsonl").stat().st_mtime_ns == trained
