"""Tests of mvgen.export --format stablehlo: the folder plays and films without mvgen, as mvgen does."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import wave
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mvgen import export as command
from mvgen.data.records import RecordSpec
from mvgen.errors import UserError
from mvgen.inference import run_exported, stablehlo
from mvgen.inference.inputs import load_codec
from mvgen.inference.music_to_video import Filming, generate_video
from mvgen.inference.samples import play_and_film
from mvgen.inference.sampling import Sampling
from mvgen.inference.video_to_music import generate_music
from mvgen.training import checkpoint, step
from mvgen.training.step import TrainState
from tests.mvgen.synthetic import tiny

SPEC = RecordSpec(codebooks=4, codebook_size=512, frame_size=(16, 16), flow_size=(4, 4), codec="encodec_tiny")
FRAMES, WINDOW = 14, 10  # two windows, the last of which reaches back; five stretches of four frames
ALONE = """
import json, runpy, sys
sys.modules["mvgen"] = None  # whoever imports it fails
script, commands = sys.argv[1:]
for words in json.loads(commands):
    sys.argv = [script, *words]
    runpy.run_path(script, run_name="__main__")
"""


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a tiny MVGen whose parameters are all random: none of its parts is silent."""
    folder = tmp_path_factory.mktemp("run")
    config = tiny("")
    _, shapes = step.abstract_model(config, SPEC)
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda x: jnp.asarray(0.2 * rng.normal(size=x.shape), x.dtype), shapes)
    checkpoint.write_description(folder, config, {"spec": SPEC.to_json(), "made_by": {"settings": {}}})
    saved = checkpoint.Checkpoints(folder)
    saved.save(1, TrainState(jnp.int32(1), params, params, ()), {})
    saved.close()
    return folder


@pytest.fixture(scope="module")
def exported(workdir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its export, by the command, for sampled tokens: the seed counts."""
    out = tmp_path_factory.mktemp("out") / "model"
    words = ["--checkpoint", str(workdir), "--format", "stablehlo", "--out", str(out), "--seconds", "0.56"]
    assert command.command([*words, "--temperature", "1", "--top-k", "0"]) == 0
    return out


def run(folder: Path, *commands: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """Runs the folder's script, command after command, in a process that finds no mvgen."""
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(jax.config.jax_compilation_cache_dir)}
    line = [sys.executable, "-I", "-c", ALONE, str(folder / "run.py"), json.dumps(commands)]
    return subprocess.run(line, env=environment, cwd=folder.parent, capture_output=True, text=True)


def test_the_script_is_short_and_imports_jax_and_numpy_alone(exported: Path) -> None:
    text = (exported / "run.py").read_text()
    assert len(text.splitlines()) < 60
    names: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
    assert names - set(sys.stdlib_module_names) == {"jax", "numpy"}


def test_music_and_film_without_mvgen_are_those_of_mvgen(workdir: Path, exported: Path, tmp_path: Path) -> None:
    """Of other inputs and another seed than the example's, and the example itself."""
    rng = np.random.default_rng(5)
    film = {
        "frames": rng.integers(0, 256, (FRAMES, 16, 16, 3), dtype=np.uint8),
        "flow": rng.normal(size=(FRAMES, 4, 4, 2)).astype(np.float16),
    }
    tokens = rng.integers(0, 512, (2 * FRAMES, 4))
    np.savez(tmp_path / "film.npz", seed=9, **film)
    np.savez(tmp_path / "scene.npz", seed=9, image=film["frames"][0], tokens=tokens)
    done = run(
        exported, ("music", str(tmp_path / "film.npz"), str(tmp_path / "music.wav")),
        ("video", str(tmp_path / "scene.npz"), str(tmp_path / "filmed.npy")), ("check",),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "0 tokens differ, frames by 0 grey levels at most\n"
    model, _, _ = checkpoint.load_model(workdir)
    keys = jax.random.split(jax.random.key(9), 1)
    video = {name: values[None] for name, values in film.items()}
    played = generate_music(model, video, keys, Sampling(1.0, 0), WINDOW)
    np.testing.assert_array_equal(np.load(tmp_path / "music.npy"), played[0])
    with wave.open(str(tmp_path / "music.wav")) as file:
        assert (file.getframerate(), file.getnframes()) == (32_000, 32_000 * FRAMES // 25)
    filmed = generate_video(model, film["frames"][:1], tokens[None], keys, Filming(), WINDOW)[0].astype(int)
    assert np.abs(filmed[1:] - filmed[:1]).max() > 20
    assert np.abs(np.load(tmp_path / "filmed.npy") - filmed).max() <= 1


def test_another_length_and_a_difference_are_named(exported: Path) -> None:
    example = dict(np.load(exported / "example.npz"))
    with pytest.raises(SystemExit, match=r"listen: sound is \(3,\), and this export is for \(17920,\)"):
        run_exported.load(exported, "listen")(sound=np.zeros(3))
    with pytest.raises(UserError, match="do not make what mvgen makes of the same inputs: tokens differing 1,"):
        example["tokens"][5, 2] ^= 1
        stablehlo.compared(exported, {**example, "sound": np.zeros(17920)})


def test_one_artifact_is_for_three_platforms_and_the_folder_is_an_export_of_safetensors_too(exported: Path) -> None:
    card = (exported / "README.md").read_text()
    assert "for exactly 0.56 s (14 frames)" in card and "`frames` uint8 [14, 16, 16, 3]" in card
    for name in stablehlo.PROGRAMS:
        program = jax.export.deserialize(bytearray((exported / f"{name}.jax_export").read_bytes()))
        assert program.platforms == ("cpu", "cuda", "tpu")
    assert checkpoint.load_model(exported)[2] == SPEC


def test_a_length_that_cannot_be_leaves_nothing(workdir: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--seconds 0.01: it must be a number from 0.08"):
        stablehlo.export_stablehlo(str(workdir), tmp_path / "out", seconds=0.01)
    assert list(tmp_path.iterdir()) == []


def test_a_held_out_window_is_played_and_filmed_for_tensorboard(workdir: Path) -> None:
    """Here, where its programs are compiled: what training shows of a window is what the commands would make of it."""
    model, _, _ = checkpoint.load_model(workdir)
    rng = np.random.default_rng(3)
    window = {
        "frames": rng.integers(0, 256, (WINDOW, 16, 16, 3), dtype=np.uint8),
        "flow": rng.normal(size=(WINDOW, 4, 4, 2)).astype(np.float16),
        "tokens": rng.integers(0, 512, (2 * WINDOW, 4)).astype(np.int16),
    }
    sample = play_and_film(model, SPEC, window, True, Sampling(1.0, 0))
    keys = jax.random.split(jax.random.key(0), 1)
    video = {name: window[name][None] for name in ("frames", "flow")}
    tokens = generate_music(model, video, keys, Sampling(1.0, 0), WINDOW)
    codec = load_codec(SPEC)
    np.testing.assert_array_equal(sample.music, codec.decode(tokens)[0])
    np.testing.assert_array_equal(sample.own_music, codec.decode(window["tokens"][None])[0])
    assert sample.film is not None and sample.film.shape == window["frames"].shape and sample.own_film is not None
    np.testing.assert_array_equal(sample.film[0], sample.own_film[0])
    assert play_and_film(model, SPEC, window, False, Sampling(1.0, 0)).film is None
