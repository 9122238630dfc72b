"""``python -m data_prep download``: fetches a data set, goes on where it stopped, and says what cannot be had.

OUT/downloads.jsonl    what became of each file or video: done, dead or failed, the reason, bytes, sha256, when
OUT/manifest.jsonl     for data sets of single videos: what ``convert --input OUT`` reads
"""

from __future__ import annotations

import argparse
import fcntl
import json
import shutil
import sys
import tarfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from data_prep.download import fetch as http
from data_prep.download.datasets import DATASETS, Dataset, find_dataset
from data_prep.download.fetch import DeadLink, FetchFailed, Item
from data_prep.download.ids import Video, fetch_video, library, read_ids
from data_prep.sources.manifest import MANIFEST_FILE
from mvgen.errors import UserError
from mvgen.files import file_hash, write_text

LOG_FILE = "downloads.jsonl"
GIGABYTE = 10**9
UNPACKED_MOST = 20
"""An archive may grow by this factor when unpacked, and no more."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument(
        "--dataset", required=True, metavar="NAME", help=f"{', '.join(DATASETS)}, or a .json that describes one"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="where it goes; an earlier download there goes on")
    parser.add_argument(
        "--list", metavar="FILE", help="list of video ids (.json or .csv) in place of the data set's own"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N videos or files")
    parser.add_argument("--height", type=int, default=720, help="height of the videos, at most (default: %(default)s)")
    parser.add_argument(
        "--largest", type=float, default=200.0, metavar="GB", help="of one file, at most (default: %(default)g)"
    )
    parser.add_argument("--retry-dead", action="store_true", help="ask again for links that were dead before")


def run(args: argparse.Namespace) -> int:
    """Runs the command: 0 when all that is not dead is there, 1 when something failed or nothing came."""
    dataset = find_dataset(args.dataset)
    if args.largest <= 0 or args.height < 1 or (args.limit is not None and args.limit < 1):
        raise UserError("--largest, --height and --limit must be positive")
    counts = download(
        dataset,
        Path(args.out),
        Path(args.list) if args.list else None,
        limit=args.limit,
        height=args.height,
        most=int(args.largest * GIGABYTE),
        retry_dead=args.retry_dead,
    )
    told = ", ".join(f"{counts[status]} {status}" for status in ("done", "dead", "failed"))
    print(f"{args.out}: {dataset.name}: {told}" + (f"; see {LOG_FILE}" if counts["dead"] + counts["failed"] else ""))
    if counts["failed"]:
        print("run the same command again to go on with what failed", file=sys.stderr)
    return 1 if counts["failed"] or not counts["done"] else 0


def download(
    dataset: Dataset,
    out: Path,
    id_list: Path | None = None,
    *,
    limit: int | None = None,
    height: int = 720,
    most: int = 200 * GIGABYTE,
    retry_dead: bool = False,
    wait: float = 1.0,
) -> Counter[str]:
    """Fetches what is not there yet; one file that cannot be had does not stop the others.

    Args:
        dataset: what.
        out: the folder; made where it is missing.
        id_list: in place of the data set's own lists.
        limit: only so many files or videos.
        height, most: of a video's picture; bytes of one file.
        retry_dead: ask again for links that were dead in an earlier run.
        wait: seconds before a second attempt.

    Returns:
        How many are done, dead and failed (those of earlier runs counted).

    Raises:
        UserError: it cannot be fetched by program, a list cannot be had or read, yt-dlp is missing, the folder cannot
            be written, or another run is at work in it.
    """
    if dataset.by_hand and id_list is None:
        raise UserError(f"{dataset.name} cannot be fetched by program: {dataset.by_hand}")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with _alone(out):
            log = _Log(out / LOG_FILE, retry_dead)
            try:
                _files(dataset.files[:limit], out, log, most, wait)
                _videos(dataset, id_list, out, log, limit, height, most, wait)
            finally:
                log.file.close()
            return log.counts
    except OSError as error:
        raise UserError(f"{out}: {error.strerror or error}; run the same command again once that is mended") from None


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    with open(out / ".download.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"{out}: another download is at work in this folder") from None
        yield


class _Log:
    """What became of each file in this and earlier runs; every outcome is on disk before the next begins."""

    def __init__(self, path: Path, retry_dead: bool):
        self.retry_dead = retry_dead
        self.counts: Counter[str] = Counter()
        self.past: dict[str, dict[str, Any]] = {}
        if path.is_file():
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    told = json.loads(line)
                    self.past[told["path"]] = told
                except (ValueError, KeyError, TypeError):
                    continue  # the last line of a run that was killed
        self.file = open(path, "a", encoding="utf-8")
        if path.stat().st_size and not path.read_bytes().endswith(b"\n"):
            self.file.write("\n")

    def known(self, path: str, url: str, place: Path | None) -> bool:
        """Whether nothing is left to do for this one: it is there as it was left, or known to be dead."""
        past = self.past.get(path)
        if past is None or past.get("url") != url:
            return False
        there = place is None or (place.is_file() and place.stat().st_size == past.get("bytes"))
        known = (past.get("status") == "done" and there) or (past.get("status") == "dead" and not self.retry_dead)
        if known:
            self.counts[past["status"]] += 1
        return known

    def attempt(self, path: str, url: str, make: Callable[[], Path | None]) -> None:
        """Calls ``make`` and notes what became of it. ``OSError`` (a full disk) goes on to the caller."""
        told: dict[str, Any] = {"path": path, "url": url, "status": "done", "reason": "", "bytes": 0, "sha256": ""}
        try:
            place = make()
            if place is not None:
                told |= {"bytes": place.stat().st_size, "sha256": file_hash(place)}
        except DeadLink as error:
            told |= {"status": "dead", "reason": str(error)}
        except (FetchFailed, ValueError) as error:
            told |= {"status": "failed", "reason": str(error)}
        told["when"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.counts[told["status"]] += 1
        if told["status"] != "done":
            tqdm.write(f"{told['status']}: {url}: {told['reason']}", file=sys.stderr)
        self.file.write(json.dumps(told) + "\n")
        self.file.flush()
        self.past[path] = told


# --- files ----------------------------------------------------------------------------------------------------------


def _files(items: tuple[Item, ...], out: Path, log: _Log, most: int, wait: float) -> None:
    for item in items:
        archive = item.path.endswith((".tar.gz", ".tgz", ".tar"))
        try:
            place = None if archive else http.inside(out, item.path)
        except ValueError:
            place = None  # the attempt says so
        if log.known(item.path, item.url, place):
            continue
        with tqdm(total=item.size, desc=Path(item.path).name, unit="B", unit_scale=True) as bar:

            def make(item: Item = item, archive: bool = archive, bar: Any = bar) -> Path | None:
                path = http.fetch(item, out, most, bar.update, wait)
                if not archive:
                    return path
                _unpack(path, out)
                path.unlink()
                return None

            log.attempt(item.path, item.url, make)


def _unpack(archive: Path, out: Path) -> None:
    """Unpacks plain files and folders, all of them inside ``out``; links, devices and bombs are refused.

    Raises:
        FetchFailed: it is not an archive, it is damaged, or holds what may not be unpacked; it is then removed.
    """
    room = archive.stat().st_size * UNPACKED_MOST + GIGABYTE
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                if not (member.isfile() or member.isdir()):
                    continue
                room -= member.size
                if room < 0:
                    raise FetchFailed(f"unpacked, it is more than {UNPACKED_MOST} times as large as packed")
                if member.isfile():
                    try:
                        target = http.inside(out, member.name)
                    except ValueError:
                        raise FetchFailed(f"it holds {member.name!r}, which lies outside of its folder") from None
                    if target.is_file() and target.stat().st_size == member.size:
                        continue
                tar.extract(member, out, filter="data")
    except FetchFailed:
        archive.unlink(missing_ok=True)
        raise
    except (tarfile.TarError, EOFError, zlib.error) as error:
        archive.unlink(missing_ok=True)
        reason = str(error).splitlines()[0].rstrip(":")
        raise FetchFailed(f"it is not an archive that can be unpacked ({reason}); removed") from None


# --- videos ---------------------------------------------------------------------------------------------------------


def _videos(
    dataset: Dataset, id_list: Path | None, out: Path, log: _Log, limit: int | None, height: int, most: int, wait: float
) -> None:
    lists = [id_list] if id_list is not None else []
    if not lists and dataset.lists:
        for item in dataset.lists:
            try:
                lists.append(http.fetch(item, out, 64 << 20, wait=wait))
            except (DeadLink, FetchFailed, ValueError) as error:
                raise UserError(f"the list {item.url} cannot be had: {error}; fetch it and say --list FILE") from None
    if not lists:
        return
    library()  # before anything is begun
    videos = list({video.name: video for path in lists for video in read_ids(path)}.values())[:limit]
    folder = out / "videos"
    folder.mkdir(exist_ok=True)
    with tqdm(total=len(videos), desc=dataset.name, unit="video") as bar:
        for video in videos:
            path, url = f"videos/{video.name}.mp4", dataset.address.format(id=video.id)
            if not log.known(path, url, out / path):
                log.attempt(
                    path, url, partial(fetch_video, video, folder, most, height, dataset.address, bar.update)
                )  # fmt: skip
            bar.set_postfix(dict(log.counts), refresh=False)
            bar.update()
    if not log.counts["failed"]:
        shutil.rmtree(folder / ".whole", ignore_errors=True)
    _write_manifest(dataset, videos, out, log)


def _write_manifest(dataset: Dataset, videos: list[Video], out: Path, log: _Log) -> None:
    lines = []
    for video in videos:
        path = f"videos/{video.name}.mp4"
        if log.past.get(path, {}).get("status") != "done":
            continue
        line: dict[str, Any] = {
            "clip_id": video.name,
            "path": path,
            "source_id": f"{dataset.name}/{video.id}",
            "labels": list(dict.fromkeys((*dataset.labels, *video.labels))),
            "licence": dataset.licence,
            "dataset": dataset.name,
            "url": dataset.address.format(id=video.id),
        }
        if video.split:
            line["split"] = video.split
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    write_text(out / MANIFEST_FILE, "".join(lines))
