"""The training step really compiled for TPUs and GPUs that are not here, where libtpu and jax's CUDA plugin are."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mvgen.synthetic import CONFIGS

SMALL = [
    "--config=debug", "--config.loss.video=0", "--config.loss.align=0", "--config.loss.music=0",
    "--config.loss.token_head=0", "--config.model.patch=8", "--config.model.denoiser_patch=8", "--config.mesh.fsdp=2",
]  # fmt: skip
"""Movement alone: its program compiles soonest of all."""


def compiled(tmp_path: Path, *words: str) -> tuple[subprocess.CompletedProcess[str], dict]:
    out = tmp_path / "found.json"
    command = [sys.executable, "-m", "mvgen.train_compile", *words, f"--json={out}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=CONFIGS.parent)
    return done, json.loads(out.read_text()) if out.exists() else {}


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="pip install -e .[tpu]")
def test_for_a_small_slice(tmp_path: Path) -> None:
    done, found = compiled(tmp_path, *SMALL, "--topology=v5e:2x2")
    assert done.returncode == 0, done.stderr[-2000:]
    assert found["devices"] == 4 and found["compiled"] and found["parameters"] > 1000
    assert 0 < found["device_bytes"]["params"] < found["device_bytes"]["peak"] < found["device_memory"]
    assert found["collectives"] and found["step_seconds"][0] > 0
    assert "v5e:2x2: 4 devices" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="pip install -e .[tpu]")
def test_what_does_not_fit_is_said_and_what_fits_is_found(tmp_path: Path) -> None:
    huge = [*SMALL, "--topology=v5e:2x2", "--config.data.batch_size=16384", "--config.data.window_seconds=2.4"]
    done, _ = compiled(tmp_path, *huge)
    assert done.returncode == 2 and "--search finds" in done.stderr and "each device of v5e:2x2" in done.stderr
    done, found = compiled(tmp_path, *huge, "--search")
    assert done.returncode == 0 and found["changes"]["data.batch_size"] < 16384


@pytest.mark.skipif(importlib.util.find_spec("jax_cuda12_plugin") is None, reason="pip install -e .[cuda]")
def test_for_gpus(tmp_path: Path) -> None:
    done, found = compiled(tmp_path, *SMALL, "--topology=h100:2")
    assert done.returncode == 0, done.stderr[-2000:]
    assert found["devices"] == 2 and found["compiled"] and found["device_bytes"]["peak"] > 0


def test_without_a_compiler_for_gpus_what_can_be_known_is_told(tmp_path: Path) -> None:
    if importlib.util.find_spec("jax_cuda12_plugin") is not None:
        pytest.skip("there is one")
    done, found = compiled(tmp_path, *SMALL, "--topology=h200:1", "--config.mesh.fsdp=1")
    assert done.returncode == 0, done.stderr[-2000:]
    assert not found["compiled"] and found["device_bytes"]["activations"] is None
    assert "not compiled: jax's CUDA plugin, which compiles for h200, is not here" in done.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--config=debug"], "--topology=CHIP:SHAPE are needed"),
        (["--config=debug", "--topology=v9:2x2"], "there is no such"),
        (["--config=debug", "--topology=h200:1", "--config.mesh.fsdp=3"], "config.mesh asks for"),
    ],
)
def test_bad_input_is_one_clear_line(tmp_path: Path, words: list[str], told: str) -> None:
    done, _ = compiled(tmp_path, *words)
    (line,) = [line for line in done.stderr.splitlines() if line]
    assert done.returncode == 2 and line.startswith("error: ") and told in line
