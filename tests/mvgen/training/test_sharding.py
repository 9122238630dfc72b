"""Tests of mvgen.training.sharding: every parameter has a rule, and several devices compute what one computes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from jax.sharding import PartitionSpec as P

from mvgen.errors import UserError
from mvgen.training import sharding, step
from mvgen.training.history import read_history
from tests.mvgen.synthetic import SPEC, tiny, write_records
from tests.mvgen.training import stand_in

MESH = sharding.make_mesh(devices=jax.devices()[:1])


@pytest.mark.parametrize("positions", ["rotary", "sinusoid"])
def test_every_parameter_of_the_model_has_a_rule(positions: str) -> None:
    config = tiny("")
    config.model.positions = positions
    _, params = step.abstract_model(config, SPEC)
    placed = sharding.shardings({"params": params}, MESH)
    specs = {sharding.path_name(path): leaf.spec for path, leaf in jax.tree_util.tree_leaves_with_path(placed)}
    assert specs["params/decoder/layers/0/attention/q/kernel"] == P("fsdp", "tensor")
    assert specs["params/decoder/layers/0/attention/out/kernel"] == P("tensor", "fsdp")
    assert specs["params/decoder/layers/0/mlp/fc2/kernel"] == P("tensor", "fsdp")
    assert len(specs) > 100


def test_every_rule_is_used() -> None:
    config = tiny("")
    _, params = step.abstract_model(config, SPEC)
    leaves = [(sharding.path_name(path), x) for path, x in jax.tree_util.tree_leaves_with_path(params) if x.shape]
    used = {next(p for p, _ in sharding.RULES if sharding.re.search(p, name)) for name, _ in leaves}
    assert used == {pattern for pattern, _ in sharding.RULES}


def test_a_parameter_without_a_rule_is_an_error() -> None:
    tree = {"params": {"fc1": {"kernel": np.zeros((2, 2))}, "strange": np.zeros(3), "stranger": np.zeros(3)}}
    with pytest.raises(ValueError, match="params/strange of.*params/stranger of"):
        sharding.shardings(tree, MESH)
    with pytest.raises(ValueError, match="speaks of 2 axes"):
        sharding.partition("fc1/kernel", (3,), MESH)


def test_axes_that_do_not_divide_stay_whole_and_leading_axes_too() -> None:
    mesh = jax.sharding.AbstractMesh((1, 2, 1, 2), sharding.AXES)
    assert sharding.partition("fc1/kernel", (4, 3), mesh) == P("fsdp", None)  # type: ignore[arg-type]
    assert sharding.partition("fc1/kernel", (5, 4, 4), mesh) == P(None, "fsdp", "tensor")  # type: ignore[arg-type]


def test_bad_meshes_are_one_clear_line() -> None:
    with pytest.raises(UserError, match="asks for 3 x 1 x 1 x 1 devices .* there are 1; set config.mesh.data to -1"):
        sharding.make_mesh(data=3, devices=jax.devices()[:1])
    with pytest.raises(UserError, match="sizes start at 1"):
        sharding.make_mesh(fsdp=0)
    with pytest.raises(UserError, match="does not divide among 4 devices"):
        sharding.check_batch(6, jax.sharding.AbstractMesh((2, 2, 1, 1), sharding.AXES))  # type: ignore[arg-type]


MEASURE = """
import json, sys
from pathlib import Path
import jax, numpy as np
from flax import nnx
jax.config.update("jax_num_cpu_devices", 8)
from mvgen.training import checkpoint, loop, sharding, step
from tests.mvgen.synthetic import SPEC, tiny

STEPS, SAVED = 5, 3
config = tiny(sys.argv[1])
config.data.batch_size = 8
config.loss.video = config.loss.movement = 0.0  # half of the time to compile
config.optimizer.learning_rate = 1e-4  # rounding grows with every step, the faster the larger it is
windows = loop.open_windows(config, "train")
examples = loop.batches_of(config, windows, 0)
batches = [next(examples) for _ in range(STEPS)]


def program_of(shape):
    mesh = sharding.make_mesh(*shape, devices=jax.devices()[: int(np.prod(shape))])
    return step.build(config, SPEC, mesh)


def run(program, state, batches):
    losses = []
    for batch in batches:
        state, metrics = program.step(state, sharding.put_batch(batch, program.batch_sharding))
        losses.append(float(metrics["loss"]))
    return state, losses


def told(state):
    return {sharding.path_name(path): np.asarray(jax.device_get(leaf)).ravel().tolist()[:: max(1, leaf.size // 50)]
            for path, leaf in jax.tree_util.tree_leaves_with_path(state.params)}


first, start, results = program_of((1, 1, 1)), None, []
start = jax.device_get(first.init())
for shape in ((1, 1, 1), (8, 1, 1), (4, 2, 1), (2, 2, 2)):
    program = first if shape == (1, 1, 1) else program_of(shape)
    state = jax.tree.map(lambda x, like: jax.device_put(x, like.sharding), start, program.abstract)
    kernel = state.params["decoder"]["layers"][0]["mlp"]["fc1"]["kernel"]
    split = kernel.size // kernel.addressable_shards[0].data.size
    state, losses = run(program, state, batches[:SAVED])
    if shape == (4, 2, 1):
        saved = checkpoint.Checkpoints(Path(sys.argv[2]))
        saved.save(SAVED, state, {"next_example": 8 * SAVED, "seconds": 0.0, "records": len(windows)})
        saved.close()
    state, more = run(program, state, batches[SAVED:])
    results.append({"shape": shape, "split": split, "losses": losses + more, "params": told(state)})
# The checkpoint of one mesh goes on in another, with the examples that come next.
saved = checkpoint.Checkpoints(Path(sys.argv[2]))
state, position = saved.restore(SAVED, program.abstract)
examples = loop.batches_of(config, windows, position["next_example"])
state, losses = run(program, state, [next(examples) for _ in range(STEPS - SAVED)])
results.append({"shape": "resumed", "losses": losses, "params": told(state)})
print(json.dumps(results))
"""


def test_training_on_eight_devices_is_training_on_one(tmp_path: Path) -> None:
    """Five steps on meshes of 1, 8, 4 x 2 and 2 x 2 x 2 devices; a checkpoint of one mesh goes on in another."""
    records = write_records(tmp_path / "records", {"train": [12, 20, 30, 15], "test": [12]})
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(records), str(tmp_path / "run")], capture_output=True, text=True,
        check=False, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    one, *others = json.loads(done.stdout.splitlines()[-1])
    assert [result.get("split") for result in (one, *others)] == [1, 1, 2, 4, None]
    assert len(set(one["losses"])) == 5 and np.isfinite(one["losses"]).all()
    for result in others:
        count = len(result["losses"])
        np.testing.assert_allclose(result["losses"], one["losses"][-count:], rtol=1e-5, err_msg=str(result["shape"]))
        for name, values in one["params"].items():
            # Adam divides by the size of a gradient: where it is nearly nothing, rounding is all there is of it. Five
            # steps move a parameter by up to 5e-4.
            np.testing.assert_allclose(result["params"][name], values, rtol=1e-5, atol=2e-5, err_msg=name)
        both = [np.concatenate(list(found["params"].values())) for found in (one, result)]
        assert np.mean(np.isclose(*both, rtol=1e-5, atol=1e-6)) > 0.99


@pytest.mark.slow
def test_two_processes_of_four_devices_are_one_device(tmp_path: Path) -> None:
    """The real model, film and all: five steps on 2 x 2 x 2 devices, split by tensor or by context."""
    records = write_records(tmp_path / "records", {"train": [12, 20, 30, 15], "test": [12]})
    fields = {
        "train.steps": 5, "train.eval_every": 0, "data.batch_size": 8, "optimizer.learning_rate": 1e-4,
        "train.compilation_cache": "none", "loss.video_examples": 8,
    }  # fmt: skip
    runs = {"one": {}, "tensor": {"mesh.fsdp": 2, "mesh.tensor": 2}, "context": {"mesh.fsdp": 2, "mesh.context": 2}}
    for name, mesh in runs.items():
        if name == "one":
            processes = [stand_in.begin(records, tmp_path / name, fields, MODEL="real")]
        else:
            processes = stand_in.begin_two(records, tmp_path / name, {**fields, **mesh}, devices=4, MODEL="real")
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0] * len(processes), (
            tmp_path / f"{name}.err"
        ).read_text()
    one = saved_arrays(tmp_path / "one", 5)
    for name in ("tensor", "context"):
        other = saved_arrays(tmp_path / name, 5)
        for key, values in one["params"].items():
            np.testing.assert_allclose(other["params"][key], values, rtol=1e-5, atol=2e-5, err_msg=f"{name} {key}")
        losses = [read_history(tmp_path / run)[-1]["loss"] for run in ("one", name)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def saved_arrays(workdir: Path, number: int) -> dict[str, dict[str, np.ndarray]]:
    """Parameters of a checkpoint by name, whatever devices it was saved from."""
    folder = workdir / "checkpoints" / str(number) / "state"
    handler = ocp.PyTreeCheckpointHandler()
    like = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), handler.metadata(folder).tree)
    held = handler.restore(folder, args=ocp.args.PyTreeRestore(restore_args=like))
    leaves = jax.tree_util.tree_leaves_with_path(held["params"])
    return {"params": {sharding.path_name(path): leaf for path, leaf in leaves}}
