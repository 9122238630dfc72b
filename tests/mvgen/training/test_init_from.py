"""A run that starts from a MusicGen: its loss before the first step is transformers'. Or from another run."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from ml_collections import ConfigDict
from safetensors.numpy import load_file, save_file

from mvgen import export
from mvgen.data.records import RecordSpec
from mvgen.errors import UserError
from mvgen.interop.encodec import codec_folder
from mvgen.interop.musicgen import read_musicgen
from mvgen.training import checkpoint, loop, losses, sharding, step
from mvgen.training.initialisation import check_codec
from mvgen.training.step import abstract_model
from tests.mvgen.synthetic import CONFIGS, SPEC, preset, tiny, write_records

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def musicgen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny decoder in transformers' format, random weights, with a model card."""
    torch.manual_seed(0)
    sizes = dict(vocab_size=64, num_codebooks=4, hidden_size=24, num_hidden_layers=2, num_attention_heads=3, ffn_dim=40)
    model = transformers.MusicgenForCausalLM(
        transformers.MusicgenDecoderConfig(**sizes, pad_token_id=64, bos_token_id=64, dropout=0.0)
    )
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, mean=1.0 if "layer_norm.weight" in name else 0.0, std=0.2)
    folder = tmp_path_factory.mktemp("musicgen")
    model.save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    return folder


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_records(tmp_path_factory.mktemp("records"), {"train": [12, 20, 30, 15], "test": [12, 25]})


def overrides(musicgen: Path, records: Path) -> dict:
    """What makes configs/musicgen_small.py as small as this MusicGen and these records."""
    debug = preset("debug", records)
    fields = {f"model.{name}": debug.model[name] for name in debug.model if name.startswith(("denoiser", "video_l"))}
    return fields | {
        "init_from": str(musicgen), "data.path": str(records), "data.window_seconds": 0.4, "data.batch_size": 4,
        "data.workers": 0, "data.threads": 2, "model.dtype": "float32", "model.width": 16, "model.heads": 2,
        "model.audio_layers": 1, "model.latent_dim": 8, "model.patch": 4,
        "model.denoiser_patch": 8, "model.decoder_width": 24, "model.decoder_heads": 3, "model.decoder_layers": 2,
        "model.decoder_hidden": 40, "model.text_width": 0, "model.frame_locked": False,
        "train.steps": 3, "train.eval_every": 0, "train.log_every": 1,
        "train.checkpoint_every": 3, "loss.align": 0.0, "loss.video": 0.0, "loss.movement": 0.0,
    }  # fmt: skip


@pytest.fixture
def config(musicgen: Path, records: Path) -> ConfigDict:
    """configs/musicgen_small.py, made small."""
    config = preset("musicgen_small", records)
    config.update_from_flattened_dict(overrides(musicgen, records))
    return config


def test_the_loss_before_the_first_step_is_transformers(musicgen: Path, config: ConfigDict) -> None:
    config.model.frame_locked = True  # as the preset has it
    program = step.build(config, SPEC, sharding.make_mesh())
    model = nnx.merge(program.graphdef, program.init().params)
    tokens = np.random.default_rng(0).integers(0, 64, (2, 16, 4))
    latents = jax.random.normal(jax.random.key(0), (2, 8, config.model.width))
    unseen = jnp.zeros(2, bool)  # the video is withheld from both
    ours = nnx.jit(lambda model: losses.music_losses(model, jnp.asarray(tokens), latents, unseen))(model)["music"]
    reference = transformers.MusicgenForCausalLM.from_pretrained(musicgen).eval()
    columns = np.full((2, 4, 20), 64)  # MusicGen's delay pattern: codebook k one step later than k - 1
    for k in range(4):
        columns[:, k, 1 + k : 17 + k] = tokens[:, :, k]
    columns = torch.from_numpy(columns)
    with torch.no_grad():
        logits = reference(input_ids=columns[:, :, :-1].reshape(8, 19)).logits
    targets = columns[:, :, 1:].reshape(8, 19)
    expected = torch.nn.functional.cross_entropy(logits.transpose(1, 2), targets, ignore_index=64)
    assert float(ours) == pytest.approx(float(expected), rel=1e-5)


def test_a_run_by_the_command_starts_from_it_and_goes_back(musicgen: Path, records: Path, tmp_path: Path) -> None:
    workdir = tmp_path / "run"
    fields = overrides(musicgen, records)
    command = [sys.executable, "-m", "mvgen.main", "--config=configs/musicgen_small.py", f"--workdir={workdir}"]
    fields |= {"model.cross_positions": "none", "model.cross_window": 0.0}  # of MusicGen's very form
    flags = [f"--config.{name}={value}" for name, value in fields.items()]
    ended = subprocess.run([*command, *flags], capture_output=True, text=True, cwd=CONFIGS.parent)
    assert ended.returncode == 0, ended.stderr
    assert "cannot be told: no codec lies beside its decoder" in ended.stderr
    model, _, _ = checkpoint.load_model(workdir)
    began = load_file(musicgen / "model.safetensors")
    trained = np.asarray(model.decoder.layers[0].mlp.fc1.kernel[...]).T
    moved = np.abs(trained - began["model.decoder.layers.0.fc1.weight"]).max()
    assert 0 < moved < 1e-2  # three steps away from it, no more
    out = tmp_path / "out"
    assert export.command(["--checkpoint", str(workdir), "--format", "musicgen", "--out", str(out)]) == 0
    back, loading = transformers.MusicgenForCausalLM.from_pretrained(out, output_loading_info=True)
    assert not any(loading.values())
    np.testing.assert_array_equal(back.model.decoder.layers[0].fc1.weight.detach().numpy(), trained)
    card = (out / "README.md").read_text()
    assert card.startswith("---\nlicense: cc-by-nc-4.0\n") and str(musicgen) in card
    # The run knows where it came from.
    ended = subprocess.run([*command, *flags, "--config.init_from="], capture_output=True, text=True,
                           cwd=CONFIGS.parent)  # fmt: skip
    assert ended.returncode == 2 and "a run with config.init_from = " in ended.stderr


def changed(folder: Path, out: Path, config: dict | None = None, tensors=None) -> Path:
    """A copy of a model with another configuration or other tensors."""
    shutil.copytree(folder, out)
    held = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps(held | (config or {})))
    if tensors:
        save_file(tensors(load_file(out / "model.safetensors")), out / "model.safetensors")
    return out


@pytest.mark.parametrize(
    ("fields", "weights", "tensors", "said"),
    [
        ({"init_from": "nowhere"}, None, None, "no MusicGen at nowhere: neither a folder nor a hub's name"),
        ({}, {"model_type": "t5"}, None, "is of a 't5' model, not of a MusicGen"),
        ({"model.decoder_layers": 3}, None, None, "MusicGen with layers 2, and config.model.decoder_layers is 3"),
        ({"model.decoder_hidden": 0}, None, None, "with hidden 40, and config.model.decoder_hidden is 96"),
        ({"model.text_width": 20}, None, None, "reads text of width 24, and config.model.text_width is 20"),
        ({"model.cross_attention": False}, None, None, "set config.model.cross_attention to True"),
        ({}, None, lambda held: held | {"x": np.zeros(2, np.float32)}, "x has no place in this decoder"),
        ({}, None, lambda held: {k: v for k, v in held.items() if "lm_heads.1" not in k}, "lm_heads.1.weight is miss"),
    ],
)
def test_weights_that_do_not_fit_are_one_line_and_nothing_is_written(
    musicgen: Path, config: ConfigDict, tmp_path: Path, fields: dict, weights: dict | None, tensors, said: str
) -> None:
    if weights or tensors:
        config.init_from = str(changed(musicgen, tmp_path / "model", weights, tensors))
    config.update_from_flattened_dict(fields)
    with pytest.raises(UserError, match=said) as caught:
        loop.train(config, tmp_path / "run")
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


def test_records_of_another_codec_are_refused(
    musicgen: Path, config: ConfigDict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_records(tmp_path / "records", {"train": [12], "test": [12]}, dataclasses.replace(SPEC, codebooks=2))
    config.data.path = str(other)
    with pytest.raises(UserError, match="MusicGen with codebooks 4, and the records' codebooks is 2"):
        loop.train(config, tmp_path / "run")
    files = read_musicgen(musicgen)
    spec = RecordSpec(codebooks=4, codebook_size=512, frame_size=(16, 16), flow_size=(4, 4), codec="encodec_tiny")
    own = load_file(Path(codec_folder("encodec_tiny")) / "model.safetensors")
    check_codec(dataclasses.replace(files, codec=(None, own)), spec)
    assert capsys.readouterr().err == ""
    name = "quantizer.layers.2.codebook.embed"
    with pytest.raises(UserError, match="the records' tokens are of the codec encodec_tiny, and the EnCodec in"):
        check_codec(dataclasses.replace(files, codec=(None, own | {name: own[name][::-1]})), spec)
    check_codec(dataclasses.replace(files, codec=(None, own)), dataclasses.replace(spec, codec="no/such/folder"))
    assert "cannot be told: no codec 'no/such/folder'" in capsys.readouterr().err


@pytest.fixture(scope="module")
def first_run(records: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a few steps that another can begin with."""
    workdir = tmp_path_factory.mktemp("first") / "run"
    assert loop.train(following("", records), workdir) == 0
    return workdir


def following(init_from: Path | str, records: Path, **fields: float) -> ConfigDict:
    config = tiny(records)
    config.train.eval_every, config.init_from = 0, str(init_from)
    config.update_from_flattened_dict(fields)
    return config


def test_a_run_begins_as_another_ended(first_run: Path, records: Path, tmp_path: Path) -> None:
    still = {"optimizer.learning_rate": 0.0, "train.steps": 1}
    assert loop.train(following(first_run, records, **still), tmp_path / "run") == 0
    ended = checkpoint.load_params(first_run)[1]
    began = checkpoint.load_params(tmp_path / "run", ema=False)[1]
    jax.tree.map(np.testing.assert_array_equal, began, ended)
    # What it began with in the end, on which the licence hangs, is what the first began with.
    assert checkpoint.first_origin(str(tmp_path / "run")) == ""
    assert checkpoint.first_origin("facebook/musicgen-small") == "facebook/musicgen-small"
    name = checkpoint.CONFIG_FILE
    before = json.loads((first_run / name).read_text())
    moved = tmp_path / "of_musicgen"
    moved.mkdir()
    shutil.copytree(first_run, moved, dirs_exist_ok=True)
    (moved / name).write_text(json.dumps(before | {"init_from": "facebook/musicgen-small"}))
    assert checkpoint.first_origin(str(moved)) == "facebook/musicgen-small"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model.decoder_layers": 2}, r"the model in .* is another: decoder/layers/1/.* is missing"),
        ({"model.width": 32}, r"the model in .* is another: .* is \(.*\), not \(.*\)"),
    ],
)
def test_another_model_is_one_line_and_nothing_is_written(
    first_run: Path, records: Path, tmp_path: Path, fields: dict, said: str
) -> None:
    with pytest.raises(UserError, match=said) as caught:
        loop.train(following(first_run, records, **fields), tmp_path / "run")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600 and not (tmp_path / "run").exists()


def test_a_part_that_may_begin_anew_is_left_out_where_it_is_of_another_shape(
    first_run: Path, records: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = following(first_run, records, **{"model.denoiser_width": 32})
    wanted = abstract_model(config, SPEC)[1]
    with pytest.raises(UserError, match="is another: denoiser/"):
        checkpoint.trained_params(str(first_run), wanted, SPEC)
    with pytest.raises(UserError, match="is another: denoiser/"):
        checkpoint.trained_params(str(first_run), wanted, SPEC, ("movement",))
    found = checkpoint.trained_params(str(first_run), wanted, SPEC, ("movement", "denoiser"))
    assert set(found) == set(wanted) - {"denoiser"} and "denoiser begins anew" in capsys.readouterr().err
    # A run that does not teach the part need not say so.
    program = step.build(config, SPEC, sharding.make_mesh())
    with pytest.raises(UserError, match="is another: denoiser/"):
        loop.starting_params(config, program, SPEC)
    config.loss.video = 0.0
    assert set(loop.starting_params(config, program, SPEC) or {}) == set(wanted) - {"denoiser"}


def test_a_note_head_is_added_to_what_stays_as_it_is(
    first_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the preset; and a model without one can begin with what has one."""
    played = np.array([[0.1, 0.3, 60], [0.4, 0.8, 64]])
    records = write_records(tmp_path / "records", {"train": [12, 20, 30], "test": [12]}, notes=played)
    config, small = preset("notes", records), following(first_run, records)
    with config.unlocked():
        config.model, config.data = small.model, small.data
    config.model.notes_width = 8
    config.train.update(steps=2, eval_every=0, checkpoint_every=2, ema=0.5)
    config.init_from = str(first_run)
    assert loop.train(config, tmp_path / "run") == 0
    assert "notes begins anew" in capsys.readouterr().err
    ended, began = checkpoint.load_params(tmp_path / "run")[1], checkpoint.load_params(first_run)[1]
    head = ended.pop("notes")
    jax.tree.map(np.testing.assert_array_equal, ended, began)
    assert head["fc1"]["kernel"].shape == (80, 8) and np.any(head["fc2"]["bias"])
    # And it is added where all goes on learning.
    config.train.frozen, config.loss.music = "", 1.0
    program = step.build(config, SPEC, sharding.make_mesh())
    assert set(loop.starting_params(config, program, SPEC) or {}) == set(began)
    without = checkpoint.trained_params(str(tmp_path / "run"), abstract_model(following("", records), SPEC)[1], SPEC)
    assert set(without) == set(began) and "notes is left out" in capsys.readouterr().err


def test_tokens_of_another_codec_are_another_language(first_run: Path, tmp_path: Path) -> None:
    other = dataclasses.replace(SPEC, codec="other")
    records = write_records(tmp_path / "records", {"train": [12, 20], "test": [12]}, other)
    with pytest.raises(UserError, match="was trained on tokens of the codec .*, these records hold other's"):
        loop.train(following(first_run, records), tmp_path / "run")
    (tmp_path / "none" / "x").mkdir(parents=True)
    for name in (checkpoint.CONFIG_FILE, checkpoint.RECORDS_FILE):
        shutil.copy(first_run / name, tmp_path / "none")
    with pytest.raises(UserError, match="holds no checkpoint yet"):
        loop.train(following(tmp_path / "none", records), tmp_path / "run")
