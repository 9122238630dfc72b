"""Finds the music of a video, and the video of a music, among records, through the coordinated space.

    python -m mvgen.retrieve --checkpoint DIR --records DIR --video FILE [--top 5] [--json FILE]
    python -m mvgen.retrieve --checkpoint DIR --records DIR --audio FILE

Neither tower has seen the other modality, so every record is worked out once and kept on disk; a second query costs
only itself. The query may begin anywhere in a record, and the other way round: the two are laid against each other at
every distance in time at which at least a window of both meets, and the best one counts.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from tqdm import tqdm

from mvgen import clock
from mvgen.checkpoint import load_model, write_json
from mvgen.data import used_features
from mvgen.errors import UserError, run_command
from mvgen.film import FilmReader, add_semantic
from mvgen.generate import load_codec, read_tokens, window_frames
from mvgen.models.mvgen import MVGen
from mvgen.records import DESCRIPTION_FILE, RecordError, RecordSource, RecordSpec, read_description, shard_paths
from mvgen.space import Space, check_length, fits

FORMAT = 1  # of the index; one of another number is made anew


@dataclass(frozen=True)
class Found:
    """A record that fits a query.

    Attributes:
        clip_id, split, labels: of the record.
        score: mean dot product of unit vectors where the two meet, at most 1.
        start_seconds, end_seconds: the stretch of the record that meets the query.
        query_start_seconds: where that stretch begins in the query.
    """

    clip_id: str
    split: str
    labels: str
    score: float
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


def search(index: Index, query: np.ndarray, modality: str, least: int, top: int) -> list[Found]:
    """The records that fit a query best, the best first.

    Args:
        index: the records.
        query: ``[frames, latent]``, in the coordinated space.
        modality: what the query is, ``video`` or ``audio``; the records' other one is searched.
        least: frames that must meet.
        top: how many.
    """
    others = index.audio if modality == "video" else index.video
    found = []
    for clip in tqdm(index.clips, desc="search", unit="record", delay=2, leave=False):
        distances, scores = fits(query, others[clip["first"] : clip["last"]], least)
        if not len(scores):
            continue
        best = int(np.argmax(scores))
        start, frames = int(distances[best]), clip["last"] - clip["first"]
        first, last = max(0, start), min(frames, start + len(query))
        found.append(
            Found(
                clip["clip_id"], clip["split"], clip["labels"], float(scores[best]), first / clock.FRAME_RATE,
                last / clock.FRAME_RATE, (first - start) / clock.FRAME_RATE,
            )
        )  # fmt: skip
    return sorted(found, key=lambda one: (-one.score, one.clip_id))[:top]


def parser() -> argparse.ArgumentParser:
    """The options."""
    words = argparse.ArgumentParser(
        prog="python -m mvgen.retrieve", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("--checkpoint", required=True, metavar="DIR", help="a training folder or one of its steps")
    words.add_argument("--records", required=True, metavar="DIR", help="a folder of records to search, all its splits")
    query = words.add_mutually_exclusive_group(required=True)
    query.add_argument("--video", metavar="FILE", help="a performance whose music is sought; its sound is not heard")
    query.add_argument("--audio", metavar="FILE", help="music whose video is sought: a sound, or a video with sound")
    add_semantic(words)
    words.add_argument("--top", type=int, default=5, metavar="N", help="so many of the best (%(default)s)")
    words.add_argument("--json", metavar="FILE", help="also write the answer there")
    words.add_argument("--index", metavar="DIR", help="where indexes are kept (RECORDS.index, beside the records)")
    return words


def main(argv: list[str] | None = None) -> int:
    """Reads the arguments and searches."""
    arguments = parser().parse_args(argv)
    if arguments.top < 1:
        raise UserError(f"--top {arguments.top}: at least 1")
    out = Path(arguments.json) if arguments.json else None
    if out and not out.parent.is_dir():
        raise UserError(f"--json {out}: the folder {out.parent} does not exist")
    read_description(arguments.records)
    model, config, spec = load_model(arguments.checkpoint)
    window = window_frames(config)
    space = Space(model, window)
    modality, file = ("video", arguments.video) if arguments.video else ("audio", arguments.audio)
    # Before the index, which takes long: a query that cannot be read is told at once.
    if modality == "video":
        film = FilmReader(arguments.checkpoint, model.config, arguments.semantic).read(file)
        check_length(file, len(film["frames"]), window)
        query = space.of_video(film)
    else:
        tokens = read_tokens(file, load_codec(spec))[0]
        check_length(file, clock.frames_of(len(tokens)), window)
        query = space.of_tokens(tokens)
    records = Path(arguments.records).absolute()
    folder = Path(arguments.index) if arguments.index else records.with_name(f"{records.name}.index")
    index = open_index(model, window, spec, arguments.records, folder)
    found = search(index, query, modality, window, arguments.top)
    print(f"{'':4s}{'score':>6s}  {'from':>8s}  {'to':>8s}  clip")
    for rank, one in enumerate(found, 1):
        print(f"{rank:3d} {one.score:6.3f}  {one.start_seconds:7.2f}s  {one.end_seconds:7.2f}s  "
              f"{one.clip_id} ({one.labels}, {one.split})")  # fmt: skip
    if out:
        answer = {"query": file, "modality": modality, "records": len(index.clips)}
        write_json(out, {**answer, "found": [asdict(one) for one in found]})
    return 0


if __name__ == "__main__":
    run_command(main)
