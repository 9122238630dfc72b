"""Presets: every one builds, its numbers lie within their bounds, and each is found by name from any folder."""

from __future__ import annotations

import dataclasses
import os
import runpy
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from mvgen.data.records import RecordSpec
from mvgen.errors import UserError
from mvgen.files import preset
from mvgen.training import loop, sharding, step

CONFIGS = Path(__file__).parents[1] / "configs"
NAMES = sorted(path.stem for path in CONFIGS.glob("*.py"))
SPEC = RecordSpec(codebooks=4, codebook_size=512, frame_size=(64, 64), flow_size=(16, 16))

LATENTS = dataclasses.replace(SPEC, frame_size=None, latent_shape=(32, 32, 4))


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_builds(name: str) -> None:
    """Its model has a structure, every parameter a place on a mesh, and its step can be traced."""
    config = runpy.run_path(str(preset(name)))["get_config"]()
    config.data.path = "records"
    config.init_from = ""  # weights that somebody must have; the architecture is the same
    for part in ("video_layers", "audio_layers", "decoder_layers", "denoiser_layers"):
        config.model[part] = min(config.model[part], 2)  # a hundred take long to trace, and have the same parameters
    loop.check_config(config)
    spec = LATENTS if config.model.use_latents else SPEC
    program = step.build(config, spec, sharding.make_mesh(devices=jax.devices()[:1]))
    assert sum(leaf.size for leaf in jax.tree.leaves(program.abstract.params)) > 10_000
    assert program.step is not None


def test_every_bound_is_of_a_field_and_holds_for_the_base() -> None:
    base = runpy.run_path(str(preset("base")))
    config = base["get_config"]()
    for name, (least, most) in base["BOUNDS"].items():
        section, _, field = name.rpartition(".")
        assert least <= (config[section][field] if section else config[field]) <= most


def test_a_preset_is_found_by_name_path_and_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    expected = CONFIGS / "base.py"
    for name in ("base", "base.py", "configs/base.py", str(expected)):
        assert preset(name).samefile(expected)
    assert preset("base", "data").samefile(CONFIGS / "data" / "base.py")
    assert preset("configs/data/base.py", "data").samefile(CONFIGS / "data" / "base.py")
    (tmp_path / "base").write_text("")  # a file of that name is meant, where there is one
    assert preset("base") == Path("base")
    for name in ("nothing", "configs/nothing.py", "../base", "data/base/x"):
        with pytest.raises(UserError, match="neither a file nor a preset; presets are .*base.*debug"):
            preset(name)


def test_commands_take_names_from_any_folder(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(CONFIGS.parent)}
    command = [sys.executable, "-m", "mvgen.main", "--config=debug", f"--workdir={tmp_path}"]
    found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 2 and "--config.data.path=DIR is missing" in found.stderr
    command[3] = "--config=nothing"
    found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 2 and "neither a file nor a preset" in found.stderr
