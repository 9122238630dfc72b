"""Tests of mvgen.export: what is written loads back equal, and bad input is answered by one clear line."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from mvgen import export as command
from mvgen.errors import UserError
from mvgen.inference import export
from mvgen.interop.musicgen import load_musicgen
from mvgen.interop.musicgen_folder import Origin
from mvgen.models.token_decoder import Text
from mvgen.training import checkpoint, step
from mvgen.training.step import TrainState
from tests.mvgen.synthetic import SPEC, tiny

MADE_BY = {"codec": "encodec_tiny", "settings": {"source": "recital", "clips": 12, "input": "/home/me/clips"}}


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a checkpoint of the tiny MVGen: random parameters, and an average that differs."""
    folder = tmp_path_factory.mktemp("run")
    config = tiny("/somewhere/here")
    _, shapes = step.abstract_model(config, SPEC)
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype), shapes)
    checkpoint.write_description(folder, config, {"spec": SPEC.to_json(), "made_by": MADE_BY})
    (folder / "metrics.jsonl").write_text('{"step": 3, "eval/loss": 1.25, "eval/music": 0.5}\n{"step": 3, "loss": 1}\n')
    saved = checkpoint.Checkpoints(folder)
    saved.save(3, TrainState(jnp.int32(3), params, jax.tree.map(lambda x: 2 * x, params), ()), {})
    saved.close()
    return folder


@pytest.fixture(scope="module")
def exported(workdir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its export, by the command."""
    out = tmp_path_factory.mktemp("out") / "model"
    assert command.command(["--checkpoint", str(workdir), "--format", "safetensors", "--out", str(out)]) == 0
    return out


def parameters(model: nnx.Module) -> dict:
    """Parameters as a nested dict."""
    return nnx.to_pure_dict(nnx.state(model, nnx.Param))


def test_an_export_loads_back_equal(workdir: Path, exported: Path) -> None:
    """As a checkpoint is loaded: every command and mvgen.load take it for one."""
    model, config, spec = checkpoint.load_model(exported)
    expected, run_config, run_spec = checkpoint.load_model(workdir)
    assert config.model == run_config.model and spec == run_spec == SPEC
    assert run_config.data.path == "/somewhere/here" and not config.data.path  # this machine's alone
    assert checkpoint.find(exported) == (exported, 3)
    jax.tree.map(np.testing.assert_array_equal, parameters(model), parameters(expected))
    files = ["README.md", "config.json", "model.safetensors", "records.json"]
    assert sorted(path.name for path in exported.iterdir()) == files
    assert json.loads((exported / "records.json").read_text())["made_by"] == MADE_BY
    tensors = load_file(exported / "model.safetensors")
    kernel = parameters(expected)["decoder"]["layers"][0]["attention"]["q"]["kernel"]
    np.testing.assert_array_equal(tensors["decoder.layers.0.attention.q.kernel"], kernel)
    assert all(tensor.dtype == np.float32 for tensor in tensors.values())


def test_the_card_says_what_is_known_and_nothing_else(workdir: Path, exported: Path, tmp_path: Path) -> None:
    card = (exported / "README.md").read_text()
    assert card.startswith("---\nlicense: other\nlicense_name: unknown\nlibrary_name: mvgen\n")
    assert "Recital, performances composed" in card and "- clips: 12" in card and "/home/me" not in card
    assert "3 steps of 4 windows of 0.4 s" in card and "loss 1.250, music 0.500" in card
    assert "No evaluation was given" in card
    each = {"mean": 0.75, "low": 0.7, "high": 0.8, "chance": 0.2, "original": 0.95, "clips": 9}
    (tmp_path / "music.json").write_text(json.dumps({"summary": {"overall": {"onset_f": each}}}))
    space = {"clips": 9, "video_to_music_r1": 0.5, "chance_r1": 0.11, "offset_right": 1.0, "chance_offset": 0.02}
    (tmp_path / "space.json").write_text(json.dumps({"loss": 1.0, "retrieval": space}))
    words = ["--checkpoint", str(workdir), "--format", "safetensors", "--out", str(tmp_path / "out"), "--scores"]
    files = [str(tmp_path / "music.json"), str(tmp_path / "space.json")]
    assert command.command([*words, *files, "--licence", "CC0-1.0", "--push", str(tmp_path / "pushed")]) == 0
    card = (tmp_path / "pushed" / "README.md").read_text()
    assert card.startswith("---\nlicense: cc0-1.0\n") and "### music\n" in card
    assert "| onset_f | 0.750 | 0.200 | 0.950 |" in card
    assert "| video_to_music_r1 | 0.500 | 0.110 |  |" in card and "| offset_right | 1.000 | 0.020 |  |" in card
    (tmp_path / "music.json").write_text("[]")
    with pytest.raises(UserError, match="music.json: neither what"):
        command.command([*words[:-2], str(tmp_path / "again"), *words[-1:], *files])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_weights_can_be_kept_in_half_the_room(workdir: Path, exported: Path, tmp_path: Path, dtype: str) -> None:
    out = export.export_safetensors(workdir, tmp_path / "half", dtype=dtype)
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (out, exported)]
    assert sizes[0] < 0.6 * sizes[1]
    model, whole = (parameters(checkpoint.load_model(folder)[0]) for folder in (out, exported))
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=2**-8, atol=1e-6), model, whole)
    broken = load_file(exported / "model.safetensors")
    broken["decoder.no_video"] = broken["decoder.no_video"] + 1
    save_file(broken, out / "model.safetensors")
    with pytest.raises(UserError, match="are not those that were written"):
        export.check_weights(out, whole, dtype)


def test_the_last_parameters_instead_of_the_average(workdir: Path, exported: Path, tmp_path: Path) -> None:
    last = load_file(export.export_safetensors(workdir, tmp_path / "last", ema=False) / "model.safetensors")
    for name, tensor in load_file(exported / "model.safetensors").items():
        np.testing.assert_array_equal(tensor, 2 * last[name])


def test_bad_input_is_one_clear_line_and_leaves_nothing(workdir: Path, exported: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a checkpoint"):
        export.export_safetensors(tmp_path, tmp_path / "out")
    with pytest.raises(UserError, match="is there already"):
        export.export_safetensors(workdir, exported)
    beyond = "no per-frame token head and no previous-timesteps convolution, which"
    with pytest.raises(UserError, match=beyond):
        command.command(["--checkpoint", str(workdir), "--format", "musicgen", "--out", str(tmp_path / "out")])
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        export.export_safetensors(workdir, tmp_path / "file" / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_export_that_is_not_whole_is_named(exported: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(exported, tmp_path / "copy"))
    tensors = load_file(copy / "model.safetensors")
    tensors["extra"] = tensors.pop("decoder.no_video")
    save_file(tensors, copy / "model.safetensors")
    with pytest.raises(UserError, match="missing, unknown or of another shape: decoder.no_video, extra"):
        checkpoint.load_model(copy)
    (copy / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match="cannot be read"):
        checkpoint.load_model(copy)


def musicgen_like(folder: Path, start: str, text_width: int = 0, **fields: Any) -> Path:
    """A checkpoint whose token decoder is of MusicGen's own form, wider than its towers."""
    folder.mkdir()
    config = tiny("")
    with config.unlocked():
        config.init_from = start
        config.model.update(decoder_width=24, decoder_heads=3, decoder_hidden=40, text_width=text_width)
        config.model.update(cross_positions="none", cross_window=0.0)
    config.model.frame_locked = config.model.token_head = False
    config.model.previous_timesteps = 0
    config.model.update(fields)
    _, shapes = step.abstract_model(config, SPEC)
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape) * 0.3, x.dtype), shapes)
    checkpoint.write_description(folder, config, {"spec": SPEC.to_json()})
    saved = checkpoint.Checkpoints(folder)
    saved.save(1, TrainState(jnp.int32(1), params, params, ()), {})
    saved.close()
    return folder


def test_transformers_loads_a_musicgen_export_and_computes_the_same(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    workdir = musicgen_like(tmp_path / "run", "facebook/musicgen-small")
    out = tmp_path / "out"
    assert command.command(["--checkpoint", str(workdir), "--format", "musicgen", "--out", str(out)]) == 0
    theirs, loading = transformers.MusicgenForCausalLM.from_pretrained(out, output_loading_info=True)
    assert not any(loading.values())  # nothing missing, unexpected or of another shape
    model, _, _ = checkpoint.load_model(workdir)
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(2, 6, 16)).astype(np.float32)
    columns = rng.integers(0, 65, (2, 9, 4))
    ours = np.asarray(nnx.jit(lambda decoder, *given: decoder(*given))(model.decoder, columns, latents))
    apart = load_file(out / "conditioning.safetensors")
    condition = torch.from_numpy(latents @ apart["condition.kernel"] + apart["condition.bias"])
    rows = torch.from_numpy(columns.transpose(0, 2, 1).reshape(-1, 9))
    with torch.no_grad():
        logits = theirs(input_ids=rows, encoder_hidden_states=condition).logits.numpy()
    logits = logits.reshape(2, 4, 9, 64).transpose(0, 2, 1, 3)
    np.testing.assert_allclose(ours, logits, rtol=1e-4, atol=1e-4 * np.abs(logits).max())
    card = (out / "README.md").read_text()
    assert card.startswith("---\nlicense: cc-by-nc-4.0\n") and "facebook/musicgen-small" in card
    # And back: what we wrote is what we read.
    back = load_musicgen(out).decoder
    jax.tree.map(np.testing.assert_array_equal, parameters(back)["layers"], parameters(model)["decoder"]["layers"])


PUBLISHED = {"frame_locked": True, "cross_positions": "time_bias", "cross_window": 0.1}


@pytest.mark.parametrize("fields", [PUBLISHED, {"cross_positions": "alibi"}], ids=["published", "alibi"])
def test_frames_are_seen_in_transformers_as_they_are_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]
) -> None:
    """The form of the preset musicgen_small (frame-locked addition, time bias, a window, words): no --drop, by the file
    that lies in the folder, in one pass and step by step from a cache."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    workdir = musicgen_like(tmp_path / "run", "facebook/musicgen-small", text_width=12, **fields)
    out = tmp_path / "out"
    assert command.command(["--checkpoint", str(workdir), "--format", "musicgen", "--out", str(out)]) == 0
    monkeypatch.syspath_prepend(str(out))
    monkeypatch.delitem(sys.modules, "musicgen_video", raising=False)
    from musicgen_video import watching  # type: ignore[import-not-found]

    theirs = transformers.MusicgenForCausalLM.from_pretrained(out)
    model, _, _ = checkpoint.load_model(workdir)
    rng = np.random.default_rng(0)
    latents, words = (rng.normal(size=shape).astype(np.float32) for shape in ((2, 6, 16), (2, 3, 12)))
    mask = np.array([[True, True, False], [True, True, True]])
    columns = rng.integers(0, 65, (2, 15, 4))  # all steps of 12 tokens
    text = Text(jnp.asarray(words), jnp.asarray(mask))
    ours = np.asarray(nnx.jit(lambda decoder, *given: decoder(*given))(model.decoder, columns, latents, text))
    rows = torch.from_numpy(columns.transpose(0, 2, 1).reshape(-1, 15))
    given = (torch.from_numpy(latents), torch.from_numpy(words), torch.from_numpy(mask))
    cache = transformers.EncoderDecoderCache(transformers.DynamicCache(), transformers.DynamicCache())
    with torch.no_grad(), watching(theirs, out, *given) as condition:
        whole = theirs(input_ids=rows, encoder_hidden_states=condition).logits
        pieces = [
            theirs(input_ids=rows[:, at], encoder_hidden_states=condition, past_key_values=cache, use_cache=True).logits
            for at in (slice(0, 6), slice(6, 7), slice(7, 15))
        ]
    for logits in (whole, torch.cat(pieces, 1)):
        logits = logits.numpy().reshape(2, 4, 15, 64).transpose(0, 2, 1, 3)
        np.testing.assert_allclose(ours, logits, rtol=1e-4, atol=1e-4 * np.abs(logits).max())
    with torch.no_grad():  # the hooks are gone
        plain = theirs(input_ids=rows, encoder_hidden_states=condition).logits
    assert not np.allclose(plain, whole, atol=1e-2)


def test_what_a_musicgen_cannot_hold_is_left_out_only_when_asked(
    workdir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--checkpoint", str(workdir), "--format", "musicgen", "--out", str(tmp_path / "out")]
    assert command.command([*words, "--drop", "--licence", "CC0-1.0"]) == 0
    said = "per-frame token head, previous-timesteps convolution"
    assert said in capsys.readouterr().err
    card = (tmp_path / "out" / "README.md").read_text()
    assert said in card and card.startswith("---\nlicense: cc0-1.0\n") and "random weights" in card


def test_a_licence_that_is_known_cannot_be_said_away(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\ntags: [a]\nlicense: CC-BY-NC-4.0\n---\n# A model\n")
    assert Origin.of(str(tmp_path), "encodec_tiny").licence == "cc-by-nc-4.0"
    assert Origin.of("", "encodec_tiny").licence == "unknown"
    with pytest.raises(UserError, match="whose licence is cc-by-nc-4.0"):
        Origin.of(str(tmp_path), "encodec_tiny", "mit")
