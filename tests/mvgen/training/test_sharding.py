"""Tests of mvgen.training.sharding: every parameter has a rule, and several devices compute what one computes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from mvgen.errors import UserError
from mvgen.training import sharding, step
from tests.mvgen.synthetic import SPEC, tiny, write_records

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
    mesh = jax.sharding.AbstractMesh((1, 2, 2), sharding.AXES)
    assert sharding.partition("fc1/kernel", (4, 3), mesh) == P("fsdp", None)  # type: ignore[arg-type]
    assert sharding.partition("fc1/kernel", (5, 4, 4), mesh) == P(None, "fsdp", "tensor")  # type: ignore[arg-type]


def test_bad_meshes_are_one_clear_line() -> None:
    with pytest.raises(UserError, match="asks for 3 x 1 x 1 devices, and there are"):
        sharding.make_mesh(data=3, devices=jax.devices()[:1])
    with pytest.raises(UserError, match="sizes start at 1"):
        sharding.make_mesh(fsdp=0)
    with pytest.raises(UserError, match="does not divide among 4 devices"):
        sharding.check_batch(6, jax.sharding.AbstractMesh((2, 2, 1), sharding.AXES))  # type: ignore[arg-type]


MEASURE = """
import json, sys
import jax, numpy as np
from flax import nnx
jax.config.update("jax_num_cpu_devices", 4)
from mvgen import sharding, step, train
from tests.mvgen.synthetic import SPEC, tiny
config = tiny(sys.argv[1])
batch = next(train.batches_of(config, train.open_windows(config, "train"), 0))
params = nnx.to_pure_dict(nnx.state(step.make_model(config, SPEC), nnx.Param))
results = []
for shape, devices in (((1, 1, 1), 1), ((1, 2, 2), 4)):
    mesh = sharding.make_mesh(*shape, devices=jax.devices()[:devices])
    program = step.build(config, SPEC, mesh)
    placed = jax.tree.map(lambda x, like: jax.device_put(x, like.sharding), params, program.abstract.params)
    kernel = placed["decoder"]["layers"][0]["mlp"]["fc1"]["kernel"]
    split = kernel.size // kernel.addressable_shards[0].data.size
    losses = program.evaluate(placed, sharding.put_batch(batch, program.batch_sharding), np.int32(3))
    results.append({"split": split, **{name: float(value) for name, value in losses.items()}})
print(json.dumps(results))
"""


def test_four_devices_agree_with_one(tmp_path: Path) -> None:
    records = write_records(tmp_path / "records", {"train": [12, 20, 30, 15], "test": [12]})
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(records)], capture_output=True, text=True, check=False,
        cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    one, four = json.loads(done.stdout.splitlines()[-1])
    assert one.pop("split") == 1 and four.pop("split") == 4
    assert {"loss", "align", "music", "video"} <= set(one)
    for name, value in one.items():
        assert four[name] == pytest.approx(value, rel=1e-5, abs=1e-6), name
