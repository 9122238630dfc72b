"""Both directions for every record of a split, written as folders of videos that can be watched and scored.

OUT/codec/CLIP.mp4    the record's picture, and its own tokens decoded: the best that any generated token can sound
OUT/music/CLIP.mp4    the record's picture, and the music generated from it
OUT/music/CLIP.mid    the notes that are seen in it, where the model has a note head and pretty_midi is installed
OUT/video/CLIP.mp4    the picture generated from the record's first frame and tokens, with the original sound
OUT/attention.npz     what attention looked at in the first window of the first clip of each instrument
"""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from mvgen import clock
from mvgen.data.loader import used_features
from mvgen.data.records import RecordSource
from mvgen.errors import UserError
from mvgen.inference.music_to_video import Filming, audio_latents, generate_video
from mvgen.inference.sampling import Sampling
from mvgen.inference.video_to_music import generate_music, video_latents
from mvgen.inference.video_to_notes import notes_of, read_rolls
from mvgen.interop.image_autoencoder import ImageAutoencoder
from mvgen.media import read_sound, write_video
from mvgen.media.midi import write_midi
from mvgen.models.attention_maps import compute_maps
from mvgen.models.codec import Codec
from mvgen.models.mvgen import MVGen


@dataclass(frozen=True)
class Performed:
    """What :func:`perform` has made.

    Attributes:
        names: ids of the clips.
        video, audio: both modalities of each clip's first window in the coordinated space, ``[clips, window, latent]``.
        seconds: how long each part took by the clock on the wall; music and video run beside each other.
    """

    names: list[str]
    video: np.ndarray
    audio: np.ndarray
    seconds: dict[str, float]


def groups(source: RecordSource, window: int, batch: int) -> Iterator[list[dict[str, Any]]]:
    """Records of equal length together, at most ``batch`` at a time, without those shorter than ``window`` frames."""
    waiting: dict[int, list[dict[str, Any]]] = {}
    for number in range(len(source)):
        record = source[number]
        length = clock.frames_of(len(record["tokens"]))
        if length < window:
            continue
        waiting.setdefault(length, []).append(record)
        if len(waiting[length]) == batch:
            yield waiting.pop(length)
    yield from waiting.values()


def coordinates(
    model: MVGen, video: dict[str, np.ndarray], tokens: np.ndarray, window: int
) -> tuple[np.ndarray, np.ndarray]:
    """Both modalities of the first window in the coordinated space, each ``[batch, window, latent]``."""
    head = {name: jnp.asarray(values[:, :window]) for name, values in video.items()}
    z_video = model.encoder.coordinates(video_latents(model, head), "video")
    z_audio = model.encoder.coordinates(
        audio_latents(model, jnp.asarray(tokens[:, : clock.tokens_of(window)])), "audio"
    )
    return np.asarray(z_video), np.asarray(z_audio)


def perform(
    model: MVGen, codec: Codec, source: RecordSource, out: Path, window: int, sampling: Sampling, filming: Filming,
    *, seed: int = 0, batch: int = 16, originals: Path | None = None, limit: int = 0,
    autoencoder: ImageAutoencoder | None = None, film: bool = True,
) -> Performed:  # fmt: skip
    """Generates both directions for the records of a split.

    Args:
        model: a trained model.
        codec: what its tokens belong to.
        source: the records.
        out: folder to write; what is there already is written again.
        window: frames the model was trained on at a time.
        sampling, filming: how music and frames are drawn.
        seed: of all draws; clip ``i`` has its own key.
        batch: clips generated together.
        originals: folder of videos named by clip, whose sound the generated pictures get; without it they get the
            record's own tokens, decoded.
        limit: how many records at most; 0 is all.
        autoencoder: whose latents the records hold, for a model that films in them.
        film: whether pictures are generated as well, which takes longest.

    Returns:
        What was made.

    Raises:
        UserError: no record is as long as a window.
    """
    for part in ("codec", "music", "video") if film else ("codec", "music"):
        (out / part).mkdir(parents=True, exist_ok=True)
    spent = dict.fromkeys(("latents", "music", "video"), 0.0)
    latents: list[tuple[np.ndarray, np.ndarray]] = []
    names: list[str] = []
    noted = model.notes is not None and importlib.util.find_spec("pretty_midi") is not None
    looked: dict[str, dict[str, np.ndarray]] = {}  # by instrument
    count = min(limit or len(source), len(source))
    # Writing goes on beside the next clips' generation, and filming beside playing: much of either is one program being
    # compiled, or small operations, and leaves a core free.
    with (
        tqdm(total=count, desc="generating", unit="clip") as bar,
        ThreadPoolExecutor(os.cpu_count()) as pool,
        ThreadPoolExecutor(1) as studio,
    ):
        written: list[Future[None]] = []
        for records in groups(source, window, batch):
            records = records[: count - len(names)]
            if not records:
                break
            number = jnp.arange(len(names), len(names) + len(records))
            keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), number)
            video = {
                name: np.stack([record[name] for record in records])
                for name in used_features(source.spec, model.config)
                if name != "tokens"
            }
            tokens = np.stack([record["tokens"] for record in records]).astype(np.int32)
            with _timed(spent, "latents"):
                latents.append(coordinates(model, video, tokens, window))
            pictures = video["frames"] if autoencoder is None else _decoded(autoencoder, video["latents"])
            filmed = None
            if film:
                filmed = studio.submit(_film, spent, model, pictures[:, 0], tokens, keys, filming, window, autoencoder)
            with _timed(spent, "music"):
                music = generate_music(model, video, keys, sampling, window)
                sounds = np.asarray(codec.decode(jnp.asarray(np.concatenate([music, tokens]))))
            films = filmed.result() if filmed else None
            for at, record in enumerate(records):
                name = f"{record['clip_id']}.mp4"
                if record["labels"] not in looked:
                    seen = {part: values[at : at + 1, :window] for part, values in video.items()}
                    seen["tokens"] = tokens[at : at + 1, : clock.tokens_of(window)]
                    maps = compute_maps(model, seen)
                    looked[record["labels"]] = {f"{record['clip_id']}/{part}": maps[part] for part in maps}
                if noted:
                    rolls = read_rolls(model, {part: values[at] for part, values in video.items()}, window)
                    write_midi(out / "music" / f"{record['clip_id']}.mid", notes_of(rolls))
                frames, played, decoded = pictures[at], sounds[at], sounds[len(records) + at]
                written += [
                    pool.submit(write_video, out / "codec" / name, frames, decoded, codec.sampling_rate),
                    pool.submit(write_video, out / "music" / name, frames, played, codec.sampling_rate),
                ]
                if films is not None:
                    sound, rate = _original_sound(originals, name, record, decoded, codec)
                    written.append(pool.submit(write_video, out / "video" / name, films[at], sound, rate))
                names.append(record["clip_id"])
                bar.update()
        for writing in written:
            writing.result()  # an error in it is raised here
    if not names:
        raise UserError(f"{source.folder}: no record of split {source.split} is as long as {window} frames")
    attention: dict[str, Any] = {key: found for maps in looked.values() for key, found in maps.items()}
    np.savez_compressed(out / "attention.npz", **attention)
    video_latents, audio_latents = (np.concatenate(part) for part in zip(*latents, strict=True))
    return Performed(names, video_latents, audio_latents, spent)


def _decoded(autoencoder: ImageAutoencoder, latents: np.ndarray) -> np.ndarray:
    return np.stack([autoencoder.decode(clip) for clip in latents])


def _film(spent: dict[str, float], *arguments: Any) -> np.ndarray:
    with _timed(spent, "video"):
        return generate_video(*arguments)


def _original_sound(
    originals: Path | None, name: str, record: dict[str, Any], decoded: np.ndarray, codec: Codec
) -> tuple[np.ndarray, int]:
    if originals is None or not (originals / name).is_file():
        return decoded, codec.sampling_rate
    start, seconds = float(record["start_seconds"]), len(record["frames"]) / clock.FRAME_RATE
    return read_sound(originals / name, clock.STANDARD_SAMPLE_RATE, start, seconds), clock.STANDARD_SAMPLE_RATE


class _timed:
    """Adds the wall seconds of a block to an entry."""

    def __init__(self, spent: dict[str, float], name: str):
        self.spent, self.name = spent, name

    def __enter__(self) -> None:
        self.began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self.spent[self.name] += time.monotonic() - self.began
