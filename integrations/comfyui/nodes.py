"""ComfyUI's node interface over mvgen's Python API: frames, images and sound as its other nodes have them.

ComfyUI's ``IMAGE`` is a torch tensor ``[frames, height, width, 3]`` of 0..1, its ``AUDIO`` a dict of ``waveform``
``[batch, channels, samples]`` and ``sample_rate``. The API takes files, so both go through a temporary folder.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import mvgen
from mvgen import clock
from mvgen.api import Filming, Pipeline, Sampling
from mvgen.errors import LAST_SEED
from mvgen.media import write_video, write_wav

CATEGORY = "mvgen"
MODEL = "MVGEN_MODEL"
NEARLY_LOSSLESS = 4
"""x264's constant rate factor of what the model is to see."""


def _seed() -> tuple[str, dict[str, Any]]:
    return ("INT", {"default": 0, "min": 0, "max": LAST_SEED})


def _number(default: float, low: float, high: float, step: float, tooltip: str) -> tuple[str, dict[str, Any]]:
    return ("FLOAT", {"default": default, "min": low, "max": high, "step": step, "tooltip": tooltip})


def _progress() -> Callable[[int, int], None]:
    """Moves ComfyUI's bar, and ends the work where its user has cancelled it."""
    from comfy.model_management import throw_exception_if_processing_interrupted
    from comfy.utils import ProgressBar

    bar = ProgressBar(1)

    def tell(done: int, of: int) -> None:
        throw_exception_if_processing_interrupted()
        bar.update_absolute(done, of)

    return tell


def _pixels(images: torch.Tensor) -> np.ndarray:
    """uint8 ``[frames, height, width, 3]``."""
    return np.round(255 * images[..., :3].clamp(0, 1).cpu().numpy()).astype(np.uint8)


def _images(frames: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(frames.astype(np.float32) / 255)


class LoadModel:
    """A trained model, kept for the nodes behind it."""

    CATEGORY, FUNCTION = CATEGORY, "load"
    RETURN_TYPES, RETURN_NAMES = (MODEL,), ("model",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        tooltip = "a training folder, an exported model, or hub:OWNER/MODEL of the Hugging Face hub"
        return {"required": {"checkpoint": ("STRING", {"default": "", "tooltip": tooltip})}}

    def load(self, checkpoint: str) -> tuple[Pipeline]:
        return (mvgen.load(checkpoint),)


class VideoToMusic:
    """The music that is played in silent frames."""

    CATEGORY, FUNCTION = CATEGORY, "play"
    RETURN_TYPES, RETURN_NAMES = ("AUDIO",), ("audio",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "model": (MODEL,),
                "images": ("IMAGE",),
                "frame_rate": _number(clock.FRAME_RATE, 1, 240, 0.001, "of the images, frames a second"),
                "seed": _seed(),
                "temperature": _number(Sampling.temperature, 0, 2, 0.05, "0: always the likeliest, whatever the seed"),
                "guidance": _number(Sampling.guidance, 0, 20, 0.1, "follow the video harder"),
            },
            "optional": {"prompt": ("STRING", {"default": "", "multiline": True})},
        }

    def play(
        self, model: Pipeline, images: torch.Tensor, frame_rate: float, seed: int, temperature: float, guidance: float,
        prompt: str = "",
    ) -> tuple[dict[str, Any]]:  # fmt: skip
        frames = _pixels(images)
        count = max(2, round(len(frames) / frame_rate * clock.FRAME_RATE))
        seen = np.minimum((clock.frame_centres(count) * frame_rate).astype(int), len(frames) - 1)
        sampling = Sampling(temperature=temperature, guidance=guidance)
        with tempfile.TemporaryDirectory(prefix="mvgen-") as folder:
            film = Path(folder) / "film.mp4"
            write_video(film, frames[seen], None, clock.STANDARD_SAMPLE_RATE, quality=NEARLY_LOSSLESS)
            music = model.video_to_music(film, prompt or None, seed=seed, sampling=sampling, progress=_progress())
        return ({"waveform": torch.from_numpy(music.sound)[None, None], "sample_rate": music.sample_rate},)


class MusicToVideo:
    """The frames of a performance, from its first image and its music."""

    CATEGORY, FUNCTION = CATEGORY, "film"
    RETURN_TYPES, RETURN_NAMES = ("IMAGE", "FLOAT"), ("images", "frame_rate")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "model": (MODEL,),
                "image": ("IMAGE",),
                "audio": ("AUDIO",),
                "seed": _seed(),
                "steps": ("INT", {"default": Filming.steps, "min": 1, "max": 100}),
                "follow": _number(Filming.sound_guidance, 0, 20, 0.1, "paint what the music asks for harder"),
            }
        }

    def film(
        self, model: Pipeline, image: torch.Tensor, audio: dict[str, Any], seed: int, steps: int, follow: float
    ) -> tuple[torch.Tensor, float]:
        sides = audio["waveform"][0][:2].cpu().numpy().astype(np.float32)
        with tempfile.TemporaryDirectory(prefix="mvgen-") as folder:
            first, sound = Path(folder) / "first.png", Path(folder) / "music.wav"
            Image.fromarray(_pixels(image)[0]).save(first)
            write_wav(sound, sides if len(sides) == 2 else sides[0], int(audio["sample_rate"]))
            filming = Filming(steps=steps, sound_guidance=follow)
            film = model.music_to_video(first, sound, seed=seed, filming=filming, progress=_progress())
        return (_images(np.stack(list(film.frames()))), float(clock.FRAME_RATE))


NODE_CLASS_MAPPINGS = {
    "MVGenLoadModel": LoadModel,
    "MVGenVideoToMusic": VideoToMusic,
    "MVGenMusicToVideo": MusicToVideo,
}
NODE_DISPLAY_NAME_MAPPINGS = {
    "MVGenLoadModel": "Load model (mvgen)",
    "MVGenVideoToMusic": "Video to music (mvgen)",
    "MVGenMusicToVideo": "Music to video (mvgen)",
}
