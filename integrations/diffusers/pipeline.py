"""mvgen as those who know diffusers expect a pipeline: ``from_pretrained``, a call with its names, ``save_pretrained``.

    pipe = MVGenPipeline.from_pretrained("owner/model", or a folder)
    music = pipe(video="performance.mp4", generator=1)
    film = pipe(image="first frame.png", audio="song.wav", num_inference_steps=4, output_type="pil")

It needs neither diffusers nor torch; a torch ``Generator`` is taken for the seed that it was made with.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import mvgen
from mvgen import clock
from mvgen.api import Film, Filming, Music, Pipeline, Sampling
from mvgen.errors import LAST_SEED, UserError
from mvgen.inference.export import export_safetensors
from mvgen.interop.hub import HUB, is_hub_name, push

File = str | os.PathLike[str]
OUTPUT_TYPES = ("np", "pil")


@dataclass(frozen=True)
class MVGenPipelineOutput:
    """What a call gives.

    Attributes:
        made: the API's own result, with ``save(path)``.
        audios: float32 ``[1, samples]`` or ``[2, samples]``: the music made, or the music given.
        sampling_rate: of it.
        frames: of a film, 0..1 ``[frames, height, width, 3]``, or a list of PIL images; ``None`` for music.
        frame_rate: frames a second.
    """

    made: Music | Film
    audios: np.ndarray
    sampling_rate: int
    frames: np.ndarray | list[Image.Image] | None = None
    frame_rate: int = clock.FRAME_RATE


class MVGenPipeline:
    """Both directions of a trained model.

    Args:
        model: what :func:`mvgen.load` gives.
    """

    def __init__(self, model: Pipeline):
        self.model = model

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: File, **options: Any) -> MVGenPipeline:
        """Reads a model: a folder, or a name of the hub; ``options`` as for :func:`mvgen.load`."""
        return cls(mvgen.load(_named(pretrained_model_name_or_path), **options))

    def save_pretrained(self, save_directory: File) -> None:
        """Writes it as ``mvgen.export --format safetensors`` does, into a new folder."""
        export_safetensors(self.model.loaded.checkpoint, save_directory)

    def push_to_hub(self, repo_id: str, commit_message: str = "An mvgen model") -> str:
        """Puts it into a repository of the hub, which is made private where it is missing; returns where it is."""
        with tempfile.TemporaryDirectory(prefix="mvgen-") as folder:
            export_safetensors(self.model.loaded.checkpoint, out := Path(folder) / "model")
            return push(out, _named(repo_id), commit_message)

    def __call__(
        self,
        video: File | None = None,
        image: File | Image.Image | None = None,
        audio: File | None = None,
        prompt: str | None = None,
        *,
        seconds: float | None = None,
        num_inference_steps: int = Filming.steps,
        guidance_scale: float | None = None,
        temperature: float = Sampling.temperature,
        generator: Any = 0,
        callback_on_step_end: Callable[[MVGenPipeline, int, int], None] | None = None,
        output_type: str = "np",
    ) -> MVGenPipelineOutput:
        """Music for a video, or a film for an image and music.

        Args:
            video: a performance, whose music is wanted.
            image, audio: a first frame and music, whose film is wanted.
            prompt: words beside the video, for a model that reads text.
            seconds: of what is given, from its start; by default all.
            num_inference_steps: diffusion steps of a film.
            guidance_scale: how hard the video, or the music, is followed; by default as the commands do.
            temperature: of the tokens; 0 is always the likeliest.
            generator: the seed, or a torch ``Generator``.
            callback_on_step_end: called with this pipeline, how many windows or stretches are done, and of how many;
                what it raises ends the work.
            output_type: of the frames of a film: ``np`` or ``pil``.

        Raises:
            UserError: neither a video alone nor an image and audio alone were given, or a file cannot be read.
        """
        if output_type not in OUTPUT_TYPES:
            raise UserError(f"output_type {output_type!r}: it can be {' or '.join(OUTPUT_TYPES)}")
        if (video is not None, image is not None, audio is not None) not in ((True, False, False), (False, True, True)):
            raise UserError("give a video, for its music; or an image and audio, for their film")
        seed = (generator.initial_seed() if hasattr(generator, "initial_seed") else int(generator)) % (LAST_SEED + 1)
        tell = callback_on_step_end
        progress = (lambda done, of: tell(self, done, of)) if tell is not None else False
        if video is not None:
            sampling = Sampling(temperature=temperature, guidance=_scale(guidance_scale, Sampling.guidance))
            music = self.model.video_to_music(video, prompt, seconds, seed, sampling=sampling, progress=progress)
            return MVGenPipelineOutput(music, music.sound[None], music.sample_rate)
        assert image is not None and audio is not None
        filming = Filming(num_inference_steps, _scale(guidance_scale, Filming.sound_guidance))
        with tempfile.TemporaryDirectory(prefix="mvgen-") as folder:
            if isinstance(image, Image.Image):
                image.convert("RGB").save(first := Path(folder) / "first.png")
                image = first
            film = self.model.music_to_video(image, audio, seconds, seed, filming=filming, progress=progress)
        frames = list(film.frames())
        shown = [Image.fromarray(frame) for frame in frames] if output_type == "pil" else np.stack(frames) / 255
        return MVGenPipelineOutput(film, np.atleast_2d(film.sound), film.sample_rate, shown)


def _scale(given: float | None, otherwise: float) -> float:
    return otherwise if given is None else given


def _named(name: File) -> str:
    """A name as diffusers takes it, as mvgen takes it: what is no folder here is a name of the hub."""
    name = os.fspath(name)
    return HUB + name if is_hub_name(name) and not os.path.exists(name) else name
