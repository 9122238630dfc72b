"""A request from files to a file: music for a video file, a film for an image file and a sound file, all of a split."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from mvgen import clock
from mvgen.data.loader import window_frames
from mvgen.errors import UserError
from mvgen.files import check_output
from mvgen.inference.full_size import FullSize
from mvgen.inference.inputs import (
    FilmReader,
    load_codec,
    read_any_sound,
    read_autoencoder,
    read_first_image,
    read_tokens,
    read_whole_first_image,
)
from mvgen.inference.music_to_video import Filming, film_pieces
from mvgen.inference.options import Prompt
from mvgen.inference.sampling import Sampling
from mvgen.inference.video_to_music import generate_music, stream_music
from mvgen.media import WavStream, write_video, write_wav
from mvgen.models.codec import Codec
from mvgen.models.codec_stream import DecodeStream
from mvgen.training.checkpoint import load_model

VISIBLE = 6.0
"""Grey levels by which a place must change between frames to be seen to."""
HARDLY = 0.002
"""Share of the picture that changes from frame to frame, below which a film is said to hardly move."""
SMALLEST_SIDE = 256  # small pictures are enlarged by a whole factor in written videos, so that players show them well


def music_for_video(
    checkpoint: str,
    video: str,
    out: str,
    sampling: Sampling,
    *,
    seed: int = 0,
    text: Prompt | None = None,
    beginning: str | None = None,
    stream: bool = False,
    encoder: str = "",
    landmarks: str = "",
) -> None:
    """Plays the music of a silent video file.

    Args:
        checkpoint: a training folder or one of its steps.
        video: the performance; its own sound is not heard.
        out: .mp4 or .wav; with ``stream`` .wav, or "-" for stdout.
        sampling: how tokens are drawn.
        seed: the same one gives the same file.
        text: words beside the video, for a model that reads text.
        beginning: a sound or video file whose sound is the music's beginning.
        stream: write the sound as it is made.
        encoder, landmarks: see :class:`mvgen.inference.inputs.FilmReader`.

    Raises:
        UserError: something the user can mend; where it can be told, before any work.
    """
    if not (stream and out == "-"):
        check_output("--out", out, (".wav",) if stream else (".mp4", ".wav"), [video, beginning or ""])
    model, config, spec = load_model(checkpoint)
    codec = load_codec(spec)
    words = text.embedded(model) if text else None
    window = window_frames(config.data.window_seconds)
    film = FilmReader(checkpoint, model.config, encoder, landmarks).read(video)
    seen = {name: values[None] for name, values in film.items()}
    prompt = read_tokens(beginning, codec) if beginning else None
    frames = seen["frames"].shape[1]
    if prompt is not None and clock.frames_of(prompt.shape[1]) >= frames:
        raise UserError(
            f"--prompt-audio {beginning}: lasts {prompt.shape[1] / clock.TOKEN_RATE:g} s, which leaves "
            f"nothing to play of a video of {frames / clock.FRAME_RATE:g} s"
        )
    keys = jax.random.split(jax.random.key(seed), 1)
    if stream:
        pieces = stream_music(model, seen, keys, sampling, window, text=words, prompt=prompt)
        write_stream(out, pieces, codec, frames)
        return
    tokens = generate_music(model, seen, keys, sampling, window, text=words, prompt=prompt, progress=True)
    sound = np.asarray(codec.decode(jnp.asarray(tokens)))[0]
    check_sound(sound)
    if out.lower().endswith(".wav"):
        write_wav(out, sound, codec.sampling_rate)
    else:
        write_video(out, film["frames"], sound, codec.sampling_rate, scale=shown(film["frames"]))


def film_of_music(
    checkpoint: str, image: str, audio: str, out: str, filming: Filming, *, seed: int = 0, soundfont: str = ""
) -> None:
    """Films the performance of a sound file or of a score, beginning with an image.

    Args:
        checkpoint: a training folder or one of its steps.
        image: the first frame: an image, or a video to take it from.
        audio: a sound file, a video with sound, or a MIDI file.
        out: .mp4.
        filming: how frames are drawn.
        seed: the same one gives the same file.
        soundfont: plays the MIDI file (.sf2, .sf3); empty: the one that pretty_midi carries.

    Raises:
        UserError: something the user can mend; where it can be told, before any work.
    """
    check_output("--out", out, (".mp4",), (image, audio))
    model, config, spec = load_model(checkpoint)
    codec = load_codec(spec)
    autoencoder = read_autoencoder(checkpoint, model.config)
    size = spec.frame_size
    if autoencoder is not None:
        assert spec.latent_shape is not None
        size = autoencoder.frame_size(spec.latent_shape)
    assert size is not None
    first = read_first_image(image, size)
    enlarged = None if autoencoder else FullSize(read_whole_first_image(image), size)
    tokens = read_tokens(audio, codec, soundfont)
    keys = jax.random.split(jax.random.key(seed), 1)
    window = window_frames(config.data.window_seconds)
    frames = clock.frames_of(tokens.shape[1])
    sound = read_any_sound(audio, clock.STANDARD_SAMPLE_RATE, soundfont)
    samples = clock.samples_of(frames, clock.STANDARD_SAMPLE_RATE)
    sound = np.pad(sound[:samples], (0, max(0, samples - len(sound))))
    watch = Watch()
    pieces = film_pieces(model, first[None], tokens, keys, filming, window, autoencoder, progress=True)
    painted = (frame for piece in pieces for frame in (enlarged.frames(piece) if enlarged else piece.frames[0]))
    scale = 1 if enlarged else shown(first[None])
    write_video(out, watch.passing(painted), sound, clock.STANDARD_SAMPLE_RATE, scale=scale)
    watch.warn()


class Watch:
    """Watches frames go by, and says on stderr where hardly anything moved."""

    def __init__(self) -> None:
        self.change: list[float] = []

    def passing(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The same frames."""
        before = None
        for frame in frames:
            grey = frame[::4, ::4].mean(axis=-1)
            if before is not None:
                self.change.append(float((np.abs(grey - before) > VISIBLE).mean()))
            before = grey
            yield frame

    def warn(self) -> None:
        """One line, where it is needed."""
        if self.change and np.mean(self.change) < HARDLY:
            print(
                f"warning: the film hardly moves ({np.mean(self.change):.2%} of it changes from frame to frame); try "
                "an image like those of the training, hands in sight, music of the same instrument, or --follow 2",
                file=sys.stderr,
            )


def shown(frames: np.ndarray) -> int:
    """Whole factor by which small pictures are enlarged when written."""
    return max(1, SMALLEST_SIDE // min(frames.shape[1:3]))


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
