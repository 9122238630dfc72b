"""Command-line options that several commands share: how music and frames are drawn, and what a model is given
beside."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from mvgen.errors import UserError, in_range
from mvgen.inference.mastering import Mastering
from mvgen.inference.music_to_video import Filming
from mvgen.inference.sampling import Sampling
from mvgen.interop.text import embed, read_text
from mvgen.models.flow_matching import SAMPLERS
from mvgen.models.mvgen import MVGen
from mvgen.models.token_decoder import Text
from mvgen.pretrained import RECITAL

MOST_TEMPERATURE = 100.0
"""Far above it every token is as likely as any other."""
MOST_GUIDANCE = 100.0
MOST_STEPS = 10_000


@dataclass(frozen=True)
class Prompt:
    """Words beside the video: ``words`` for the T5 named ``encoder``, or ``file``, in which they are embedded."""

    words: str | None
    encoder: str | None
    file: str | None

    def embedded(self, model: MVGen) -> Text | None:
        """``None`` where nothing is said. Raises ``UserError`` where the model cannot read it."""
        if not self.words and not self.file:
            return None
        width = model.decoder.config.text_width
        if not width:
            raise UserError(
                "this model was made without text: train one with config.model.text_width, or leave --text out"
            )
        if self.words and self.file or not (self.file or self.encoder):
            raise UserError("--text needs --text-encoder NAME (a T5), and no --text-file")
        text = read_text(self.file) if self.file else embed([self.words or ""], self.encoder or "")
        if text.embeddings.shape[0] != 1 or text.embeddings.shape[2] != width:
            prompts, _, found = text.embeddings.shape
            raise UserError(
                f"one prompt of width {width} is read, not {prompts} of width {found}; use the model's own T5"
            )
        return text


def add_sampling(parser: argparse._ActionsContainer) -> None:
    """How music is drawn."""
    parser.add_argument(
        "--temperature",
        type=float,
        default=Sampling.temperature,
        help="0: always the likeliest token, whatever the seed; 0.15 and up: another take for each seed (%(default)s)",
    )
    parser.add_argument(
        "--top-k", type=int, default=Sampling.top_k, help="draw among so many entries, 0: all (%(default)s)"
    )
    parser.add_argument(
        "--top-p", type=float, default=Sampling.top_p, help="draw among this much likelihood (%(default)s)"
    )
    parser.add_argument(
        "--guidance", type=float, default=Sampling.guidance, help="follow the video harder (%(default)s)"
    )


def add_text(parser: argparse.ArgumentParser) -> None:
    """A prompt beside the video, for models that read text."""
    parser.add_argument("--text", metavar="PROMPT", help="words beside the video, for a model that reads text")
    parser.add_argument("--text-encoder", metavar="NAME", help="folder or hub name of the T5 that embeds them")
    parser.add_argument("--text-file", metavar="FILE", help="or a prompt that mvgen.interop.text has embedded")
    parser.add_argument(
        "--text-guidance", type=float, default=Sampling.text_guidance, help="follow the words harder (%(default)s)"
    )


def add_filming(parser: argparse._ActionsContainer) -> None:
    """How frames are drawn."""
    parser.add_argument("--steps", type=int, default=Filming.steps, help="diffusion steps (%(default)s)")
    parser.add_argument(
        "--sampler", choices=SAMPLERS, default=Filming.sampler,
        help="multistep is of second order, for four steps and more (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--follow", "--sound-guidance", dest="sound_guidance", type=float, default=Filming.sound_guidance,
        help="paint what the music asks for harder (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--image-guidance", type=float, default=Filming.image_guidance, help="keep to the image harder (%(default)s)"
    )


def sampling_of(arguments: argparse.Namespace) -> Sampling:
    """Raises ``UserError`` for a setting that cannot be."""
    in_range("--temperature", arguments.temperature, 0, MOST_TEMPERATURE)
    in_range("--top-k", arguments.top_k, 0, 2**31 - 1)
    if not 0 < arguments.top_p <= 1:
        raise UserError(f"--top-p {arguments.top_p}: it must be a number above 0 and at most 1")
    in_range("--guidance", arguments.guidance, 0, MOST_GUIDANCE)
    text_guidance = getattr(arguments, "text_guidance", Sampling.text_guidance)  # `records` reads no text
    in_range("--text-guidance", text_guidance, 0, MOST_GUIDANCE)
    return Sampling(arguments.temperature, arguments.top_k, arguments.top_p, arguments.guidance, text_guidance)


def filming_of(arguments: argparse.Namespace) -> Filming:
    """Raises ``UserError`` for a setting that cannot be."""
    in_range("--steps", arguments.steps, 1, MOST_STEPS)
    in_range("--sound-guidance", arguments.sound_guidance, 0, MOST_GUIDANCE)
    in_range("--image-guidance", arguments.image_guidance, 0, MOST_GUIDANCE)
    return Filming(arguments.steps, arguments.sound_guidance, arguments.image_guidance, arguments.sampler)


def loudness_of(text: str) -> float | None:
    """``--loudness``: LUFS, or "none" for as it is."""
    return None if text == "none" else float(text)


def add_mastering(parser: argparse.ArgumentParser, loudness: float | None) -> None:
    """How the sound is written.

    Args:
        loudness: the default.
    """
    parser.add_argument(
        "--loudness", type=loudness_of, default=loudness, metavar="LUFS",
        help=f"integrated loudness (BS.1770), peaks below -1 dB; none: as it is ({loudness or 'none'})",
    )  # fmt: skip
    parser.add_argument("--rate", type=int, default=Mastering.rate, metavar="HZ", help="samples a second (%(default)s)")


def mastering_of(arguments: argparse.Namespace) -> Mastering:
    """Raises ``UserError`` for a setting that cannot be."""
    return Mastering(arguments.loudness, arguments.rate, getattr(arguments, "mix", 0.0))  # a film's sound is its own


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Adds ``--checkpoint``; the model that comes with mvgen, unless told."""
    parser.add_argument(
        "--checkpoint", default=RECITAL, metavar="DIR",
        help="a training folder, one of its steps, or an exported model (the model that comes with mvgen)",
    )  # fmt: skip


def add_features(parser: argparse._ActionsContainer) -> None:
    """The options for models that see semantic embeddings or landmarks."""
    parser.add_argument(
        "--semantic", metavar="DIR", default="",
        help="encoder of semantic embeddings, for a model that sees them (default: as its records say)",
    )  # fmt: skip
    parser.add_argument(
        "--landmarks", metavar="mediapipe:FILE", default="",
        help="what finds landmarks, for a model that sees them (default: as its records say)",
    )  # fmt: skip
