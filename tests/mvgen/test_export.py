"""Tests of mvgen.export: what is written loads back equal, and bad input is answered by one clear line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from mvgen import checkpoint, export, step
from mvgen.errors import UserError
from mvgen.step import TrainState
from tests.mvgen.synthetic import SPEC, tiny


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a checkpoint of the tiny MVGen: random parameters, and an average that differs."""
    folder = tmp_path_factory.mktemp("run")
    config = tiny("")
    _, shapes = step.abstract_model(config, SPEC)
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype), shapes)
    checkpoint.write_description(folder, config, {"spec": SPEC.to_json(), "made_by": {"codec": "encodec_tiny"}})
    saved = checkpoint.Checkpoints(folder)
    saved.save(3, TrainState(jnp.int32(3), jnp.int32(0), params, jax.tree.map(lambda x: 2 * x, params), ()), {})
    saved.close()
    return folder


@pytest.fixture(scope="module")
def exported(workdir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its export, by the command."""
    out = tmp_path_factory.mktemp("out") / "model"
    assert export.command(["--checkpoint", str(workdir), "--format", "safetensors", "--out", str(out)]) == 0
    return out


def parameters(model: nnx.Module) -> dict:
    """Parameters as a nested dict."""
    return nnx.to_pure_dict(nnx.state(model, nnx.Param))


def test_an_export_loads_back_equal(workdir: Path, exported: Path) -> None:
    model, config, spec = export.load_safetensors(exported)
    expected, run_config, run_spec = checkpoint.load_model(workdir)
    assert config == run_config and spec == run_spec == SPEC
    jax.tree.map(np.testing.assert_array_equal, parameters(model), parameters(expected))
    assert sorted(path.name for path in exported.iterdir()) == ["config.json", "model.safetensors", "records.json"]
    assert json.loads((exported / "records.json").read_text())["made_by"] == {"codec": "encodec_tiny"}
    tensors = load_file(exported / "model.safetensors")
    kernel = parameters(expected)["decoder"]["layers"][0]["attention"]["q"]["kernel"]
    np.testing.assert_array_equal(tensors["decoder.layers.0.attention.q.kernel"], kernel)
    assert all(tensor.dtype == np.float32 for tensor in tensors.values())


def test_the_last_parameters_instead_of_the_average(workdir: Path, exported: Path, tmp_path: Path) -> None:
    last = load_file(export.export_safetensors(workdir, tmp_path / "last", ema=False) / "model.safetensors")
    for name, tensor in load_file(exported / "model.safetensors").items():
        np.testing.assert_array_equal(tensor, 2 * last[name])


def test_bad_input_is_one_clear_line_and_leaves_nothing(workdir: Path, exported: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a checkpoint"):
        export.export_safetensors(tmp_path, tmp_path / "out")
    with pytest.raises(UserError, match="is there already"):
        export.export_safetensors(workdir, exported)
    with pytest.raises(UserError, match="--format musicgen is not there yet"):
        export.command(["--checkpoint", str(workdir), "--format", "musicgen", "--out", str(tmp_path / "out")])
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        export.export_safetensors(workdir, tmp_path / "file" / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_export_that_is_not_whole_is_named(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not an export"):
        export.load_safetensors(tmp_path)
    copy = Path(shutil.copytree(exported, tmp_path / "copy"))
    tensors = load_file(copy / "model.safetensors")
    tensors["extra"] = tensors.pop("decoder.no_video")
    save_file(tensors, copy / "model.safetensors")
    with pytest.raises(UserError, match="missing, unknown or of another shape: decoder.no_video, extra"):
        export.load_safetensors(copy)
    (copy / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match="cannot be read"):
        export.load_safetensors(copy)
