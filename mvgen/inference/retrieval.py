"""The music of a video, and the video of a music, found among records through the coordinated space.

Neither tower has seen the other modality, so every record is worked out once and kept on disk; a second query costs
only itself. The query may begin anywhere in a record, and the other way round: the two are laid against each other at
every distance in time at which at least a window of both meets, and the best one counts.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from tqdm import tqdm

from mvgen import clock
from mvgen.data.loader import used_features
from mvgen.data.records import DESCRIPTION_FILE, RecordError, RecordSource, RecordSpec, read_description, shard_paths
from mvgen.errors import UserError, in_range
from mvgen.files import write_json
from mvgen.inference.embedding import Space, check_length, fits
from mvgen.inference.inputs import read_tokens
from mvgen.inference.loaded import Loaded
from mvgen.models.mvgen import MVGen

FORMAT = 1  # of the index; one of another number is made anew


@dataclass(frozen=True)
class Found:
    """A record that fits a query.

    Attributes:
        clip_id, split, labels: of the record.
        score: mean dot product of unit vectors where the two meet, at most 1.
        belongs: probability that the two belong together.
        start_seconds, end_seconds: the stretch of the record that meets the query.
        query_start_seconds: where that stretch begins in the query.
    """

    clip_id: str
    split: str
    labels: str
    score: float
    belongs: float
    start_seconds: float
    end_seconds: float
    query_start_seconds: float


@dataclass(frozen=True)
class Index:
    """All records in the coordinated space.

    Attributes:
        video, audio: float16 ``[frames of all, latent]``, on disk.
        clips: of each record ``clip_id``, ``split``, ``labels`` and its half-open range of frames, ``first``, ``last``.
    """

    video: np.ndarray
    audio: np.ndarray
    clips: list[dict[str, Any]]


def fingerprint(model: MVGen, window: int, records: str | os.PathLike[str]) -> str:
    """What an index hangs on, as text: every parameter, the window, and the records' files (name, size, time)."""
    digest = hashlib.sha256(f"{FORMAT} {window} {model.config}".encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(nnx.state(model.encoder, nnx.Param))):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    digest.update((Path(records) / DESCRIPTION_FILE).read_bytes())
    for split in read_description(records)["splits"]:
        for shard in shard_paths(records, split):
            facts = shard.stat()
            digest.update(f"{shard.name} {facts.st_size} {facts.st_mtime_ns}".encode())
    return digest.hexdigest()[:24]


def open_index(model: MVGen, window: int, spec: RecordSpec, records: str, folder: Path) -> Index:
    """The index of a folder of records, made now if it is not kept in ``folder``.

    Raises:
        UserError: the records are not such as the model was trained on, are damaged or all too short, or the folder
            cannot be written.
    """
    found = RecordSpec.from_json(read_description(records)["spec"])
    if found != spec:
        raise UserError(f"{records} holds {found}, the model was trained on {spec}")
    place = folder / fingerprint(model, window, records)
    if not (place / "clips.json").is_file():
        _make_index(model, window, records, place)
    try:
        clips = json.loads((place / "clips.json").read_text())
        arrays = [np.load(place / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ("video", "audio")]
        if any(array.shape != (clips[-1]["last"], model.config.latent_dim) for array in arrays):
            raise ValueError("its parts do not fit together")
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise UserError(f"the index {place} cannot be read ({error}); remove it, and it is made anew") from None
    return Index(arrays[0], arrays[1], clips)


def _make_index(model: MVGen, window: int, records: str, place: Path) -> None:
    space = Space(model, window)
    sources = [RecordSource(records, split) for split in read_description(records)["splits"]]
    names = [name for name in used_features(sources[0].spec, model.config) if name != "tokens"]
    clips: list[dict[str, Any]] = []
    parts: dict[str, list[np.ndarray]] = {"video": [], "audio": []}
    skipped = last = 0
    with tqdm(total=sum(map(len, sources)), desc="index", unit="record", dynamic_ncols=True) as bar:
        for source in sources:
            for number in range(len(source)):
                bar.update()
                try:
                    record = source[number]
                except RecordError as error:
                    raise UserError(f"{error}; see `python -m data_prep inspect`") from None
                frames = clock.frames_of(len(record["tokens"]))
                if frames < window:
                    skipped += 1
                    continue
                parts["video"].append(space.of_video({name: record[name] for name in names}).astype(np.float16))
                parts["audio"].append(space.of_tokens(record["tokens"]).astype(np.float16))
                clips.append({"clip_id": record["clip_id"], "split": source.split, "labels": record["labels"],
                              "first": last, "last": last + frames})  # fmt: skip
                last += frames
    if not clips:
        raise UserError(f"{records}: no record is as long as a window of {window / clock.FRAME_RATE:g} s")
    if skipped:
        print(f"{skipped} records are shorter than a window and left out", file=sys.stderr)
    partial = place.with_name(f".{place.name}.partial-{os.getpid()}")
    try:
        partial.mkdir(parents=True)
        for name, pieces in parts.items():
            np.save(partial / f"{name}.npy", np.concatenate(pieces))
        write_json(partial / "clips.json", clips)
        shutil.rmtree(place, ignore_errors=True)
        os.replace(partial, place)
    except OSError as error:
        raise UserError(
            f"the index cannot be kept in {place.parent} ({error.strerror}); give another --index"
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def search(index: Index, space: Space, query: np.ndarray, modality: str, top: int) -> list[Found]:
    """The records that fit a query best, the best first.

    Args:
        index: the records.
        space: of the model; at least a window of it must meet.
        query: ``[frames, latent]``, in the coordinated space.
        modality: what the query is, ``video`` or ``audio``; the records' other one is searched.
        top: how many.
    """
    others = index.audio if modality == "video" else index.video
    found = []
    for clip in tqdm(index.clips, desc="search", unit="record", delay=2, leave=False):
        distances, scores = fits(query, others[clip["first"] : clip["last"]], space.window)
        if not len(scores):
            continue
        best = int(np.argmax(scores))
        start, frames = int(distances[best]), clip["last"] - clip["first"]
        first, last = max(0, start), min(frames, start + len(query))
        found.append(
            Found(
                clip["clip_id"], clip["split"], clip["labels"], float(scores[best]),
                space.belongs(float(scores[best])), first / clock.FRAME_RATE,
                last / clock.FRAME_RATE, (first - start) / clock.FRAME_RATE,
            )
        )  # fmt: skip
    return sorted(found, key=lambda one: (-one.score, one.clip_id))[:top]


@dataclass(frozen=True)
class Answer:
    """What a query found.

    Attributes:
        query: the file that was asked for.
        modality: what it was taken as, ``video`` or ``audio``.
        records: how many records were searched.
        found: those that fit best, the best first.
    """

    query: str
    modality: str
    records: int
    found: list[Found]

    def __str__(self) -> str:
        lines = [f"{'':4s}{'score':>6s}  {'belongs':>7s}  {'from':>8s}  {'to':>8s}  clip"]
        lines += [
            f"{rank:3d} {one.score:6.3f}  {one.belongs:7.2f}  {one.start_seconds:7.2f}s  {one.end_seconds:7.2f}s  "
            f"{one.clip_id} ({one.labels}, {one.split})"
            for rank, one in enumerate(self.found, 1)
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes all of it as JSON. Raises ``UserError`` where it cannot be written."""
        write_json(path, asdict(self))


def retrieve(
    loaded: Loaded, records: str, *, video: str = "", audio: str = "", top: int = 5, index: str = ""
) -> Answer:
    """The records that fit a file best.

    Args:
        loaded: a checkpoint.
        records: a folder of records, all of whose splits are searched.
        video, audio: the file; one of the two.
        top: how many.
        index: where indexes are kept; by default beside the records.

    Raises:
        UserError: what is asked cannot be read, is too short, or fits another model.
    """
    in_range("top", top, 1, 1_000_000)
    if bool(video) == bool(audio):
        raise UserError("what is sought is told by a video or by audio: give one of the two")
    read_description(records)
    model, window, space = loaded.model, loaded.window, loaded.space
    # Before the index, which takes long: a query that cannot be read is told at once.
    if video:
        film = loaded.read_film(video)
        check_length(video, len(film["frames"]), window)
        query = space.of_video(film)
    else:
        tokens = read_tokens(audio, loaded.codec)[0]
        check_length(audio, clock.frames_of(len(tokens)), window)
        query = space.of_tokens(tokens)
    place = Path(records).absolute()
    folder = Path(index) if index else place.with_name(f"{place.name}.index")
    opened = open_index(model, window, loaded.spec, records, folder)
    modality = "video" if video else "audio"
    return Answer(video or audio, modality, len(opened.clips), search(opened, space, query, modality, top))
