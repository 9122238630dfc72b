"""Attention maps: of the right example, on the same clock, changing nothing, and shown at evaluations."""

from pathlib import Path

import jax
import numpy as np
from flax import nnx

from mvgen.evaluation.report.attention import attention_panels
from mvgen.models.attention_maps import attention_maps, compute_maps, on_diagonal, picture
from mvgen.training import loop, sharding, step
from mvgen.training.logger import Progress
from tests.mvgen.models.small import small_batch, small_model
from tests.mvgen.synthetic import SPEC, tiny, write_records


def test_maps_are_of_the_first_example_and_span_the_window():
    model, batch = small_model(positions="alibi"), small_batch()
    maps = compute_maps(model, batch)
    assert maps.keys() == {"decoder"} and maps["decoder"].shape == (20, 10)
    for found in maps.values():
        np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-4)
        assert on_diagonal(found, 0.2)[0] > 0.999  # the attention window of the small model
        assert on_diagonal(found, 0.1)[0] < 1
    other = compute_maps(model, {name: value[::-1] for name, value in batch.items()})
    assert np.abs(other["decoder"] - maps["decoder"]).max() > 1e-4


def test_what_the_model_has_not_is_left_out():
    batch = small_batch()
    without = small_model(cross_attention=False)
    assert jax.eval_shape(lambda: attention_maps(without, batch)) == {}


def test_picture_of_a_diagonal_is_a_diagonal():
    weights = np.repeat(np.eye(6), 2, axis=1) / 2
    spread = 0.5 * weights + 0.5 / 12
    # 0.24 s of 6 frames and 12 tokens: within 21 ms lie a frame's own two tokens.
    np.testing.assert_allclose(on_diagonal(spread, 0.021), (0.5 + 0.5 * 2 / 12, 2 / 12))
    assert on_diagonal(weights, 0.021) == (1.0, 1.0)  # nothing else may be seen
    drawn = picture(weights)
    assert drawn.dtype == np.uint8 and drawn.shape == (240, 240, 3)
    dark = drawn[..., 0] < 0x80
    assert (dark == (np.arange(240)[:, None] // 40 == np.arange(240)[None, :] // 40)).all()


def test_panels_show_each_map_and_how_much_lies_on_the_diagonal():
    panels = attention_panels({"clip <1>/decoder": np.eye(50).repeat(2, axis=0), "clip <1>/unknown": np.eye(3)})
    ((title, svg),) = panels
    assert title.startswith("clip <1>: tokens look at the picture, 100% within 0.1 s (if even: ")
    assert svg.startswith("<svg") and "var(--ink-soft)" in svg and "#0102" not in svg and len(svg) < 60_000
    assert attention_panels({}) == []


def test_training_shows_the_maps_of_a_held_out_window(tmp_path: Path):
    """The compiled program that training uses gives the maps of its averaged parameters; TensorBoard gets pictures."""
    config = tiny(write_records(tmp_path / "records", {"train": [12], "test": [12, 20]}))
    program = step.build(config, SPEC, sharding.make_mesh(devices=jax.devices()[:1]))
    windows = loop.open_windows(config, "test")
    attend = loop.compile_attention(config, program, windows)
    params = nnx.to_pure_dict(nnx.state(step.make_model(config, SPEC), nnx.Param))
    params = jax.tree.map(lambda x, like: jax.device_put(x, like.sharding), params, program.abstract.ema)
    maps = loop.held_out_attention(config, program, attend, params, windows)
    window = windows.cut(0, np.random.default_rng(0))
    expected = compute_maps(nnx.merge(program.graphdef, params), {name: x[None] for name, x in window.items()})
    assert maps.keys() == expected.keys() == {"decoder"}
    for name, found in maps.items():
        np.testing.assert_allclose(found, expected[name], atol=1e-4)
    (tmp_path / "run").mkdir()
    progress = Progress(tmp_path / "run", 10)
    progress.attention(3, maps)
    progress.close()
    (events,) = (tmp_path / "run" / "tensorboard").iterdir()
    assert all(f"attention/{name}".encode() in events.read_bytes() for name in maps)
