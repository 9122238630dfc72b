"""Tests of mvgen.training.checkpoint: what is saved comes back bit for bit, and what is no checkpoint is said to be
none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mvgen.errors import UserError
from mvgen.training import checkpoint, step
from mvgen.training.step import TrainState
from tests.mvgen.synthetic import SPEC, tiny

DESCRIPTION = {"spec": SPEC.to_json(), "made_by": {"codec": "encodec_tiny"}, "splits": {"train": 3}}
ONE = jax.sharding.SingleDeviceSharding(jax.devices()[0])


def state_of(params: dict, factor: float = 1.0) -> TrainState:
    """A state like a run's, with momenta that differ from the parameters."""
    optimizer = step.make_optimizer(tiny(""))
    moments = optimizer.update(jax.tree.map(jnp.ones_like, params), optimizer.init(params), params)[1]
    ema = jax.tree.map(lambda x: factor * x + 0.5, params)
    return TrainState(jnp.int32(5), params, ema, moments)


def like(state: TrainState) -> TrainState:
    """Shapes and shardings of a state."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=ONE), state)


SMALL = {"a": {0: {"kernel": jnp.arange(6.0).reshape(2, 3)}, 1: {"kernel": jnp.ones((2, 3))}}, "bias": jnp.zeros(3)}


def test_state_and_position_come_back_and_only_the_newest_are_kept(tmp_path: Path) -> None:
    saved = checkpoint.Checkpoints(tmp_path, keep=2)
    for number in (1, 2, 3):
        saved.save(number, state_of(SMALL, number), {"next_example": 8 * number, "seconds": 1.5})
    saved.save(3, state_of(SMALL, 99), {})  # there already: left alone
    saved.close()
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["2", "3"]
    again = checkpoint.Checkpoints(tmp_path, keep=2)
    assert again.latest() == 3
    state, position = again.restore(3, like(state_of(SMALL)))
    assert position == {"next_example": 24, "seconds": 1.5}
    assert jax.tree.structure(state) == jax.tree.structure(state_of(SMALL))
    jax.tree.map(np.testing.assert_array_equal, state, state_of(SMALL, 3))


def test_what_changes_while_it_is_written_is_saved_as_it_was(tmp_path: Path) -> None:
    checkpoints = checkpoint.Checkpoints(tmp_path, keep=20)
    state, position = state_of(SMALL), {"next_example": 0}
    for number in range(1, 13):
        position["next_example"] = number
        checkpoints.save(number, state, position)
        position["next_example"] += 100
    checkpoints.close()
    again = checkpoint.Checkpoints(tmp_path, keep=20)
    found = [again.restore(number, like(state))[1]["next_example"] for number in range(1, 13)]
    again.close()
    assert found == list(range(1, 13))


def test_every_mismatch_is_named(tmp_path: Path) -> None:
    saved = checkpoint.Checkpoints(tmp_path)
    saved.save(1, state_of(SMALL), {})
    saved.close()
    other = {"a": {0: {"kernel": jnp.zeros((2, 4))}, 1: {"kernel": jnp.ones((2, 3))}}, "scale": jnp.zeros(3)}
    with pytest.raises(UserError) as error:
        checkpoint.Checkpoints(tmp_path).restore(1, like(state_of(other)))
    for words in ("params/scale is missing", "params/bias is unknown", "params/a/0/kernel is (2, 3), not (2, 4)"):
        assert words in str(error.value)


def test_a_damaged_checkpoint_is_one_clear_line(tmp_path: Path) -> None:
    saved = checkpoint.Checkpoints(tmp_path)
    saved.save(1, state_of(SMALL), {})
    saved.close()
    for path in (tmp_path / "checkpoints" / "1" / "state").rglob("d/*"):
        path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(UserError, match="cannot be read|not a readable checkpoint"):
        checkpoint.Checkpoints(tmp_path).restore(1, like(state_of(SMALL)))


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with one checkpoint of the tiny MVGen, its parameters counted up and its average minus them."""
    folder = tmp_path_factory.mktemp("run")
    config = tiny("")
    _, shapes = step.abstract_model(config, SPEC)
    leaves, structure = jax.tree.flatten(shapes)
    params = structure.unflatten([jnp.full(x.shape, i, x.dtype) for i, x in enumerate(leaves)])
    checkpoint.write_description(folder, config, DESCRIPTION)
    saved = checkpoint.Checkpoints(folder)
    saved.save(7, TrainState(jnp.int32(7), params, jax.tree.map(lambda x: -x, params), ()), {})
    saved.close()
    return folder


def test_a_model_is_loaded_from_the_folder_or_the_step(workdir: Path) -> None:
    for given, ema, sign in ((workdir, True, -1), (workdir / "checkpoints" / "7", False, 1)):
        model, config, spec = checkpoint.load_model(given, ema=ema)
        assert spec == SPEC and config.model == tiny("").model
        leaves = jax.tree.leaves(nnx.to_pure_dict(nnx.state(model, nnx.Param)))
        assert all((np.asarray(leaf) == sign * i).all() for i, leaf in enumerate(leaves)) and len(leaves) > 100


def test_what_is_no_checkpoint_is_one_clear_line(workdir: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        checkpoint.load_model(tmp_path / "nowhere")
    with pytest.raises(UserError, match="has no config.json and records.json"):
        checkpoint.load_model(tmp_path)
    copy = Path(shutil.copytree(workdir, tmp_path / "copy"))
    with pytest.raises(UserError, match="not a readable checkpoint"):
        (copy / "checkpoints" / "9").mkdir()
        checkpoint.load_model(copy)
    shutil.rmtree(copy / "checkpoints")
    with pytest.raises(UserError, match="no checkpoint yet"):
        checkpoint.load_model(copy)
    (copy / "config.json").write_text('{"model": ')
    with pytest.raises(UserError, match="not a readable checkpoint"):
        checkpoint.load_model(copy)


def test_another_model_is_named_field_by_field(workdir: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(workdir, tmp_path / "copy"))
    config = json.loads((copy / "config.json").read_text())
    config["model"]["width"] = 32
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"does not fit this model: ema/.*is \(16.*\), not \(32"):
        checkpoint.load_model(copy)
    with pytest.raises(UserError, match="config.model.width = 32, now it is 16; use another --workdir"):
        checkpoint.check_same_model(copy, tiny(""), DESCRIPTION)
    with pytest.raises(UserError, match="the records' codebooks = 4, now it is 2"):
        checkpoint.check_same_model(workdir, tiny(""), {"spec": {**SPEC.to_json(), "codebooks": 2}})
    checkpoint.check_same_model(workdir, tiny(""), DESCRIPTION)
