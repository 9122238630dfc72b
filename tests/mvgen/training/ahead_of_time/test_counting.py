"""What is read from programs without a machine for them: collectives, FLOPs, chips, bounds, the search's order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mvgen.errors import UserError
from mvgen.training.ahead_of_time import chips
from mvgen.training.ahead_of_time.collectives import array_bytes, collectives, groups_of
from mvgen.training.ahead_of_time.compiling import Step, counted_flops, records_of
from mvgen.training.ahead_of_time.report import figures, lines
from mvgen.training.ahead_of_time.roofline import bound
from mvgen.training.ahead_of_time.search import candidates, flags
from mvgen.training.ahead_of_time.work import model_flops
from tests.mvgen.synthetic import CONFIGS, SPEC, preset, tiny

PROGRAM = """
HloModule jit_step, is_scheduled=true

%add (a: f32[], b: f32[]) -> f32[] {
  ROOT %sum = f32[] add(%a, %b)
}

%condition.1 (state: (s32[], f32[8,4])) -> pred[] {
  %limit = s32[]{:T(128)} constant(5)
  ROOT %less = pred[] compare(%number, %limit), direction=LT
}

%body.1 (state: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
  %gathered = f32[8,4]{1,0} all-gather(%part), channel_id=1, replica_groups=[2,4]<=[8], dimensions={0}
  ROOT %out = (s32[], f32[8,4]) tuple(%next, %gathered)
}

ENTRY %main (x: f32[2,4]) -> f32[8,4] {
  %loop = (s32[], f32[8,4]{1,0}) while(%start), condition=%condition.1, body=%body.1
  %summed = f32[100]{0} all-reduce(%y), channel_id=2, replica_groups={{0,4},{1,5},{2,6},{3,7}}, to_apply=%add
  %begun = (bf16[16]{0}, bf16[64]{0}) all-gather-start(%z), replica_groups=mesh['a'=2,'b'=4] {'b'}, dimensions={0}
  %done = bf16[64]{0} all-gather-done(%begun)
  ROOT %last = f32[8,4]{1,0} get-tuple-element(%loop), index=1
}
"""


def test_collectives_are_counted_with_their_loops_and_slices():
    found = collectives(PROGRAM, devices=8, slices=2)
    assert found["all-gather"].count == 5 + 1
    # 128 bytes among 4, five times; and of 32 + 128 bytes the 128 of the output among 4.
    assert found["all-gather"].wire == pytest.approx(5 * 128 * 3 / 4 + 128 * 3 / 4) and not found["all-gather"].network
    assert found["all-reduce"].wire == 0 and found["all-reduce"].network == pytest.approx(2 * 400 / 2)
    assert collectives(PROGRAM, devices=8)["all-reduce"].wire == pytest.approx(400)
    assert collectives("", 8) == {}


def test_groups_in_every_spelling():
    assert groups_of("replica_groups=[2,4]<=[8]", 8).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert groups_of("replica_groups=[4,2]<=[2,4]T(1,0)", 8).tolist() == [[0, 4], [1, 5], [2, 6], [3, 7]]
    assert groups_of("replica_groups=mesh['a'=2,'b'=2,'c'=2] {'b'}", 8).tolist() == [[0, 2], [1, 3], [4, 6], [5, 7]]
    turned = "replica_groups=mesh['a'=2,'b'=2], device_ids=([2,2]T(1,0)) {'b'}"
    assert groups_of(turned, 4).tolist() == [[0, 2], [1, 3]]
    assert groups_of("source_target_pairs={{0,1},{1,0}}", 2).shape == (2, 2)
    assert groups_of("nothing", 3).tolist() == [[0, 1, 2]]
    assert array_bytes("(f32[4,8]{1,0:T(8,128)}, /*index=1*/ bf16[3]{0}, u8[])") == 128 + 6 + 1


def test_model_flops_are_those_of_the_written_definition():
    a, b = jax.ShapeDtypeStruct((3, 5), jnp.float32), jax.ShapeDtypeStruct((5, 7), jnp.float32)
    assert model_flops(lambda a, b: a @ b, a, b) == 2 * 3 * 5 * 7

    def looped(a, b):
        return jax.lax.scan(lambda x, _: (jnp.tanh(x @ b @ b.T), None), a, None, length=4)[0].sum()

    assert model_flops(looped, a, b) == 4 * 2 * (2 * 3 * 5 * 7)
    # Backward twice as much; what jax.checkpoint works out again would count, so steps are counted without it.
    assert model_flops(jax.grad(lambda a, b: (a @ b).sum(), argnums=(0, 1)), a, b) == 3 * 2 * 3 * 5 * 7


def test_a_training_steps_flops_grow_with_the_batch_and_not_with_remat():
    config = tiny("")
    config.loss.video = config.loss.movement = 0.0
    one = counted_flops(config, SPEC)
    config.train.remat, config.mesh.fsdp = "layers", 64
    assert counted_flops(config, SPEC) == one > 1e6
    config.data.batch_size *= 2
    assert counted_flops(config, SPEC) == pytest.approx(2 * one, rel=0.02)


def test_topologies_that_are_none():
    for name in ("v5p", "v9:4x4", "v5e:4xfour", "h100:0", ""):
        with pytest.raises(UserError, match="there is no such; for example v5e:4x4"):
            chips.find(name)


def test_bounds_and_report():
    chip = chips.CHIPS["v5e"]
    topology = chips.Topology("v5e:2x4", chip, 8, 1, ())
    moved = collectives(PROGRAM, 8)
    step = Step(topology, 10**6, 8e6, 8e6, 1e6, 2e9, 3e9, 16, 8 * chip.flops * 0.5, moved, 7.0)
    found = bound(step, remat=True)
    assert found.computing == pytest.approx(0.5 * 4 / 3) and found.mfu_best == pytest.approx(0.75)
    assert found.best == found.computing and found.worst == found.computing + found.sending
    told = lines(step, True)
    for words in ("v5e:2x4: 8 devices, 1.0 M parameters, 16 examples", "of 16.00 GiB (17%)", "all-gather: 6 a step"):
        assert words in told
    assert figures(step, True)["device_bytes"]["peak"] == 3e9
    blind = Step(
        chips.Topology("h100:8", chips.CHIPS["h100"], 8, 1, None, "no plugin"), 1, 1, 1, 1, None, 4, 8, 1, {}, 0
    )
    assert "not compiled: no plugin" in lines(blind, False) and "before any activation" in lines(blind, False)


def test_the_search_tries_the_least_change_first():
    config = preset("base", "")
    config.data.batch_size = 32
    tried = list(candidates(config, 16))
    assert tried[0] == {"train.remat": "layers", "train.scan_layers": True}
    assert tried[1] == {**tried[0], "mesh.data": -1, "mesh.fsdp": 16}
    for changes in tried[2:]:
        ways = 16 // int(changes["mesh.context"])
        assert changes["mesh.fsdp"] == ways and int(changes["data.batch_size"]) % ways == 0
    assert min(int(changes["data.batch_size"]) for changes in tried[2:]) == 1
    assert flags(tried[1]).endswith("--config.mesh.data=-1 --config.mesh.fsdp=16")


def test_presets_say_what_their_records_are():
    assert records_of(str(CONFIGS / "pod_v6e_256.py"), "").frame_size == (480, 640)
    assert records_of(str(CONFIGS / "base.py"), "").codebook_size == 512
    assert np.prod(records_of(str(CONFIGS / "pod_v5e_16.py"), "").frame_size) == 64 * 64
