"""Tests of the pipeline class in diffusers' manner: what it takes, what it gives, what it refuses, and its folder."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from mvgen.errors import UserError
from mvgen.media import write_video, write_wav
from mvgen.training import checkpoint, step
from mvgen.training.step import TrainState
from tests.integrations.stand_in import StandIn
from tests.mvgen.synthetic import SPEC, tiny

FILE = Path(__file__).parents[2] / "integrations" / "diffusers" / "pipeline.py"


@pytest.fixture(scope="module")
def module() -> ModuleType:
    """The file, imported from where it lies."""
    spec = importlib.util.spec_from_file_location("mvgen_pipeline", FILE)
    assert spec and spec.loader
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found
    spec.loader.exec_module(found)
    return found


def test_both_directions_and_what_is_refused(module: ModuleType, tmp_path: Path) -> None:
    video, song, steps = tmp_path / "film.mp4", tmp_path / "song.wav", []
    write_video(video, np.zeros((5, 32, 32, 3), np.uint8), None, 44_100)
    write_wav(song, np.zeros(44_100, np.float32), 44_100)
    model = StandIn()
    pipe = module.MVGenPipeline(model)

    class Generator:  # as torch's tells its seed
        def initial_seed(self) -> int:
            return 2**32 + 5

    music = pipe(video=video, generator=Generator(), guidance_scale=3.0)
    assert music.audios.shape == (1, 10 * 640) and music.sampling_rate == 32_000 and music.frames is None
    assert model.asked["seed"] == 5 and model.asked["sampling"].guidance == 3.0
    image = Image.new("RGBA", (48, 32), (250, 0, 0, 255))
    film = pipe(
        image=image, audio=song, num_inference_steps=7, output_type="pil",
        callback_on_step_end=lambda *told: steps.append(told[1:]),
    )  # fmt: skip
    assert len(film.frames) == 5 and film.frames[0].mode == "RGB" and film.audios.shape == (1, 44_100)
    assert model.asked["filming"].steps == 7 and steps == [(0, 2), (2, 2)]
    assert tuple(model.seen[0][0, 0]) == (250, 0, 0)
    film.made.save(tmp_path / "saved.mp4")
    numbers = pipe(image=image, audio=song).frames
    assert numbers.ndim == 4 and numbers.max() <= 1
    for wrong in ({}, {"video": video, "image": image}, {"audio": song}):
        with pytest.raises(UserError, match="give a video, for its music; or an image and audio"):
            pipe(**wrong)
    with pytest.raises(UserError, match="output_type 'latent'"):
        pipe(video=video, output_type="latent")


def test_a_pipeline_is_saved_and_read_again(module: ModuleType, tmp_path: Path) -> None:
    config = tiny("")
    _, shapes = step.abstract_model(config, SPEC)
    params = jax.tree.map(lambda x: jnp.full(x.shape, 0.5, x.dtype), shapes)
    checkpoint.write_description(tmp_path, config, {"spec": SPEC.to_json()})
    saved = checkpoint.Checkpoints(tmp_path)
    saved.save(1, TrainState(jnp.int32(1), params, params, ()), {})
    saved.close()
    module.MVGenPipeline.from_pretrained(tmp_path).save_pretrained(tmp_path / "saved")
    again = module.MVGenPipeline.from_pretrained(tmp_path / "saved")
    assert again.model.loaded.spec == SPEC and (tmp_path / "saved" / "README.md").is_file()
    assert again.push_to_hub(str(tmp_path / "pushed")) == str(tmp_path / "pushed")
    assert (tmp_path / "pushed" / "model.safetensors").is_file()
