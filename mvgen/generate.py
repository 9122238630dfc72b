"""Command line of generation, both ways, for files or for all records of a split.

    python -m mvgen.generate music --checkpoint DIR --video FILE --out FILE.mp4|.wav
    python -m mvgen.generate video --checkpoint DIR --image FILE --audio FILE --out FILE.mp4
    python -m mvgen.generate records --checkpoint DIR --records DIR --out DIR

The same seed gives the same file.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from mvgen import clock
from mvgen.checkpoint import load_model
from mvgen.decoding import Sampling
from mvgen.errors import UserError, run_command
from mvgen.film import MOST_SECONDS, FilmReader, add_semantic
from mvgen.held_out import perform
from mvgen.interop.encodec import load_encodec
from mvgen.interop.text import embed, read_text
from mvgen.media import (
    WavStream,
    read_image,
    read_picture,
    read_sound,
    write_video,
    write_wav,
)
from mvgen.models.codec import Codec
from mvgen.models.codec_stream import DecodeStream
from mvgen.models.decoder import Text
from mvgen.models.mvgen import MVGen
from mvgen.music import generate_music, stream_music
from mvgen.records import RecordSource, RecordSpec
from mvgen.video import Filming, generate_video

SMALLEST_SIDE = 256  # small pictures are enlarged by a whole factor in written videos, so that players show them well


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of both directions."""
    directions = parser.add_subparsers(dest="direction", required=True, metavar="music|video|records")
    music = directions.add_parser("music", help="a silent performance in, its music out")
    music.add_argument("--video", required=True, metavar="FILE", help="the performance; its own sound is not heard")
    music.add_argument(
        "--prompt-audio", metavar="FILE", help="the music's true beginning, to go on from: a sound file, or a video"
    )
    music.add_argument(
        "--stream", action="store_true", help="write the sound as it is made, into a .wav or, with --out -, to stdout"
    )
    add_text(music)
    add_semantic(music)
    video = directions.add_parser("video", help="an image and music in, the filmed performance out")
    video.add_argument(
        "--image", required=True, metavar="FILE", help="the first frame: an image, or a video to take it from"
    )
    video.add_argument("--audio", required=True, metavar="FILE", help="the music: a sound file, or a video with sound")
    records = directions.add_parser(
        "records", help="both directions for every record of a split, to watch and to score"
    )
    records.add_argument("--records", required=True, metavar="DIR", help="a folder of records")
    records.add_argument("--split", default="test", help="which split (%(default)s)")
    records.add_argument("--originals", metavar="DIR", help="videos named by clip, whose sound generated pictures get")
    records.add_argument("--limit", type=int, default=0, metavar="N", help="at most so many records (all)")
    records.add_argument("--batch", type=int, default=16, metavar="N", help="clips generated together (%(default)s)")
    for direction in (music, records):
        add_sampling(direction)
    for direction in (video, records):
        add_filming(direction)
    for direction in (music, video, records):
        direction.add_argument(
            "--checkpoint", required=True, metavar="DIR", help="a training folder or one of its steps"
        )
        direction.add_argument("--out", required=True, metavar="FILE", help="what to write (.mp4; music also .wav)")
        direction.add_argument("--seed", type=int, default=0, help="the same seed gives the same file (%(default)s)")


def add_sampling(parser: argparse.ArgumentParser) -> None:
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


def text_of(arguments: argparse.Namespace, model: MVGen) -> Text | None:
    """The embedded prompt of a request, if there is one. Raises ``UserError`` where the model cannot read it."""
    if not arguments.text and not arguments.text_file:
        return None
    width = model.decoder.config.text_width
    if not width:
        raise UserError("this model was made without text: train one with config.model.text_width, or leave --text out")
    if arguments.text and (arguments.text_file or not arguments.text_encoder):
        raise UserError("--text needs --text-encoder NAME (a T5), and no --text-file")
    text = read_text(arguments.text_file) if arguments.text_file else embed([arguments.text], arguments.text_encoder)
    if text.embeddings.shape[0] != 1 or text.embeddings.shape[2] != width:
        prompts, _, found = text.embeddings.shape
        raise UserError(f"one prompt of width {width} is read, not {prompts} of width {found}; use the model's own T5")
    return text


def add_filming(parser: argparse.ArgumentParser) -> None:
    """How frames are drawn."""
    parser.add_argument("--steps", type=int, default=Filming.steps, help="diffusion steps (%(default)s)")
    parser.add_argument("--sound-guidance", type=float, default=Filming.sound_guidance, help="follow the music harder")
    parser.add_argument("--image-guidance", type=float, default=Filming.image_guidance, help="keep to the image harder")


def sampling_of(arguments: argparse.Namespace) -> Sampling:
    """Raises ``UserError`` for a setting that cannot be."""
    if arguments.temperature < 0 or arguments.top_k < 0 or not 0 < arguments.top_p <= 1:
        raise UserError("--temperature and --top-k must not be negative, --top-p lies above 0 and at most at 1")
    text_guidance = getattr(arguments, "text_guidance", Sampling.text_guidance)  # `records` reads no text
    return Sampling(arguments.temperature, arguments.top_k, arguments.top_p, arguments.guidance, text_guidance)


def filming_of(arguments: argparse.Namespace) -> Filming:
    """Raises ``UserError`` for a setting that cannot be."""
    if arguments.steps < 1:
        raise UserError("--steps must be at least 1")
    return Filming(arguments.steps, arguments.sound_guidance, arguments.image_guidance)


def window_frames(config: ConfigDict) -> int:
    """Frames a model was trained on at a time."""
    return clock.whole_frames(config.data.window_seconds)


def read_first_image(path: str, size: tuple[int, int]) -> np.ndarray:
    """An image file, or else the first frame of a video, uint8 ``[height, width, 3]``."""
    try:
        return read_image(path, size)
    except UserError as error:
        if not Path(path).is_file():
            raise
        try:
            return read_picture(path, size, frames=1)[0]
        except UserError:
            raise error from None


def read_tokens(path: str, codec: Codec) -> np.ndarray:
    """Audio tokens of a sound or video file, ``[1, tokens, codebooks]``, whole frames only."""
    sound = read_sound(path, codec.sampling_rate)
    if len(sound) > MOST_SECONDS * codec.sampling_rate:
        raise UserError(f"{path}: its sound is longer than {MOST_SECONDS:.0f} s")
    if not np.isfinite(sound).all():
        raise UserError(f"{path}: its sound holds samples that are not finite numbers")
    frames = clock.whole_frames(len(sound) / codec.sampling_rate)
    if frames < 2:
        raise UserError(f"{path}: its sound is shorter than two frames ({2 / clock.FRAME_RATE} s)")
    sound = sound[: clock.samples_of(frames, codec.sampling_rate)]
    return np.asarray(codec.encode(jnp.asarray(sound)[None]))[:, : clock.tokens_of(frames)]


def load_codec(spec: RecordSpec) -> Codec:
    """The codec that a model's tokens belong to. Raises ``UserError`` when it is another one by now."""
    codec = load_encodec(spec.codec)
    if (codec.codebooks, codec.codebook_size) != (spec.codebooks, spec.codebook_size):
        raise UserError(
            f"the codec {spec.codec} has {codec.codebooks} codebooks of {codec.codebook_size} entries, "
            f"the model was trained on {spec.codebooks} of {spec.codebook_size}"
        )
    return codec


def shown(frames: np.ndarray) -> int:
    """Whole factor by which small pictures are enlarged when written."""
    return max(1, SMALLEST_SIDE // min(frames.shape[1:3]))


def check_out(out: str, endings: tuple[str, ...]) -> None:
    """Raises ``UserError`` where a result could not be written, before any work is done."""
    path = Path(out)
    if path.suffix.lower() not in endings:
        raise UserError(f"--out {out}: end its name with {' or '.join(endings)}")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise UserError(f"--out {out}: the folder {path.parent} does not exist or cannot be written")


def run_music(arguments: argparse.Namespace) -> None:
    """Video in, music out."""
    if not (arguments.stream and arguments.out == "-"):
        check_out(arguments.out, (".wav",) if arguments.stream else (".mp4", ".wav"))
    sampling = sampling_of(arguments)
    model, config, spec = load_model(arguments.checkpoint)
    codec = load_codec(spec)
    text = text_of(arguments, model)
    film = FilmReader(arguments.checkpoint, model.config, arguments.semantic).read(arguments.video)
    video = {name: values[None] for name, values in film.items()}
    prompt = read_tokens(arguments.prompt_audio, codec) if arguments.prompt_audio else None
    frames = video["frames"].shape[1]
    if prompt is not None and clock.frames_of(prompt.shape[1]) >= frames:
        raise UserError(
            f"--prompt-audio {arguments.prompt_audio}: lasts {prompt.shape[1] / clock.TOKEN_RATE:g} s, which leaves "
            f"nothing to play of a video of {frames / clock.FRAME_RATE:g} s"
        )
    keys = jax.random.split(jax.random.key(arguments.seed), 1)
    if arguments.stream:
        pieces = stream_music(model, video, keys, sampling, window_frames(config), text=text, prompt=prompt)
        write_stream(arguments.out, pieces, codec, frames)
        return
    tokens = generate_music(
        model, video, keys, sampling, window_frames(config), text=text, prompt=prompt, progress=True
    )  # fmt: skip
    sound = np.asarray(codec.decode(jnp.asarray(tokens)))[0]
    check_sound(sound)
    if arguments.out.lower().endswith(".wav"):
        write_wav(arguments.out, sound, codec.sampling_rate)
    else:
        write_video(arguments.out, film["frames"], sound, codec.sampling_rate, scale=shown(film["frames"]))


def write_stream(out: str, pieces: Iterator[np.ndarray], codec: Codec, frames: int) -> None:
    """Writes the sound of tokens as they come, and says on stderr when the first and the last of it was there.

    Args:
        out: a .wav, or "-" for stdout.
        pieces: tokens ``[1, some, codebooks]``, two a frame in all.
        codec: theirs.
        frames: of the video, which say how long the sound will be.
    """
    began = time.monotonic()
    first: float | None = None
    decoder = DecodeStream(codec)
    samples = clock.samples_of(frames, codec.sampling_rate)
    nothing = np.zeros((1, 0, codec.codebooks), np.int32)
    with WavStream(sys.stdout.buffer if out == "-" else out, codec.sampling_rate, samples) as file:

        def put(tokens: np.ndarray, last: bool = False) -> None:
            nonlocal first
            sound = decoder.push(tokens, last)[0]
            check_sound(sound)
            file.write(sound)
            if first is None and len(sound):
                first = time.monotonic() - began
                length = len(sound) / codec.sampling_rate
                print(f"first sound ({length:.2f} s of it) after {first:.2f} s, compiling included", file=sys.stderr)

        for tokens in pieces:
            put(tokens)
        put(nothing, last=True)
    took, length = time.monotonic() - began, samples / codec.sampling_rate
    print(f"{length:g} s of sound in {took:.2f} s", file=sys.stderr)


def check_sound(sound: np.ndarray) -> None:
    """Raises ``UserError`` for samples that no file should hold."""
    if not np.isfinite(sound).all():
        raise UserError("the sound made holds samples that are not finite numbers: the codec's weights are damaged")


def run_video(arguments: argparse.Namespace) -> None:
    """Image and music in, video out."""
    check_out(arguments.out, (".mp4",))
    filming = filming_of(arguments)
    model, config, spec = load_model(arguments.checkpoint)
    codec = load_codec(spec)
    assert spec.frame_size is not None
    image = read_first_image(arguments.image, spec.frame_size)
    tokens = read_tokens(arguments.audio, codec)
    keys = jax.random.split(jax.random.key(arguments.seed), 1)
    frames = generate_video(model, image[None], tokens, keys, filming, window_frames(config), progress=True)[0]
    sound = read_sound(arguments.audio, clock.STANDARD_SAMPLE_RATE, seconds=len(frames) / clock.FRAME_RATE)
    write_video(arguments.out, frames, sound, clock.STANDARD_SAMPLE_RATE, scale=shown(frames))


def run_records(arguments: argparse.Namespace) -> None:
    """Every record of a split, both ways."""
    model, config, spec = load_model(arguments.checkpoint)
    codec = load_codec(spec)
    source = RecordSource(arguments.records, arguments.split)
    if source.spec != spec:
        raise UserError(f"{arguments.records} holds {source.spec}, the model was trained on {spec}")
    originals = Path(arguments.originals) if arguments.originals else None
    if originals and not originals.is_dir():
        raise UserError(f"--originals {originals}: no such folder")
    perform(
        model, codec, source, Path(arguments.out), window_frames(config), sampling_of(arguments), filming_of(arguments),
        seed=arguments.seed, batch=arguments.batch, originals=originals, limit=arguments.limit,
    )  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Reads the arguments and generates."""
    parser = argparse.ArgumentParser(prog="python -m mvgen.generate", description="Generates music or video.")
    add_arguments(parser)
    arguments = parser.parse_args(argv)
    {"music": run_music, "video": run_video, "records": run_records}[arguments.direction](arguments)
    if arguments.out != "-":
        print(arguments.out)
    return 0


if __name__ == "__main__":
    run_command(main)
