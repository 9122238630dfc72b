"""Lists of video ids, as data sets publish them, and the videos themselves through yt-dlp.

Read are: JSON of ids under instrument names (Solos, MUSIC and MUSIC-21), and CSV of an id, a start and an end or a
length (AtinPiano: ``vid,start_time,duration``; VGGSound, from which AVSync15 is taken: id, start, label, split without
a header, ten seconds each).
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.download.fetch import DeadLink, FetchFailed
from mvgen.errors import UserError
from mvgen.media import probe

ID = re.compile(r"[A-Za-z0-9_-]{11}")
"""What YouTube's ids look like: also what may name a file."""
WATCH = "https://www.youtube.com/watch?v={id}"
VGGSOUND_SECONDS = 10.0
COLUMNS = {
    "id": ("vid", "id", "youtube_id", "video_id", "ytid", "videoid"),
    "start": ("start_time", "start", "start_seconds"),
    "end": ("end_time", "end", "end_seconds"),
    "length": ("duration", "length"),
    "labels": ("labels", "label", "class", "category", "instrument"),
    "split": ("split",),
}
"""Names that columns go by, in lower case."""
LARGEST_LIST = 64 << 20
"""Bytes of a list, at most."""


@dataclass(frozen=True)
class Video:
    """A video to fetch: ``start`` and ``end`` in seconds where only a stretch of it is wanted."""

    id: str
    labels: tuple[str, ...] = ()
    split: str | None = None
    start: float = 0.0
    end: float | None = None

    @property
    def name(self) -> str:
        """Unique, and fit to name a file."""
        return self.id if self.end is None else f"{self.id}_{round(self.start * 1000):07d}"


def read_ids(path: Path) -> list[Video]:
    """The videos of a list, each once, in order.

    Raises:
        UserError: it cannot be understood, or lists nothing.
    """
    try:
        if path.stat().st_size > LARGEST_LIST:
            raise UserError(f"{path} is larger than a list of videos can be ({LARGEST_LIST} bytes)")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a readable list: {error}") from None
    videos = list(_json(text, path) if path.suffix.lower() == ".json" else _csv(text, path))
    if not videos:
        raise UserError(f"{path} lists no video")
    return list({video.name: video for video in videos}.values())


def _json(text: str, path: Path) -> Iterator[Video]:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from None
    if isinstance(data, dict) and isinstance(data.get("videos"), dict):
        data = data["videos"]  # as MUSIC has it; Solos begins with the instruments at once
    if not isinstance(data, dict):
        raise UserError(f"{path}: ids must lie under names of instruments")
    for instruments, ids in data.items():
        if not isinstance(ids, list | dict):
            raise UserError(f"{path}: {instruments!r} is not a list of ids")
        for one in ids:  # of a dict (Solos' timestamps), its keys
            yield Video(_id(one, f"{path}: {instruments}"), tuple(instruments.lower().split()))


def _csv(text: str, path: Path) -> Iterator[Video]:
    rows = [row for row in csv.reader(text.splitlines()) if row]
    if not rows:
        return
    head = [cell.strip().lower() for cell in rows[0]]
    columns = {
        field: next((head.index(name) for name in names if name in head), None) for field, names in COLUMNS.items()
    }
    if columns["id"] is None:
        if not ID.fullmatch(rows[0][0].strip()) or len(rows[0]) < 2:
            raise UserError(f"{path}: no column is named {', '.join(COLUMNS['id'])}")
        # VGGSound's own form.
        columns = {"id": 0, "start": 1, "end": None, "length": None, "labels": 2, "split": 3}
        length: float | None = VGGSOUND_SECONDS
    else:
        length, rows = None, rows[1:]
    for number, row in enumerate(rows):
        where = f"{path} line {number + 1}"

        def cell(field: str, row: list[str] = row) -> str:
            column = columns[field]
            return row[column].strip() if column is not None and column < len(row) else ""

        start = _seconds(cell("start"), where) or 0.0
        end = _seconds(cell("end"), where)
        span = _seconds(cell("length"), where) or length
        if end is None and span is not None:
            end = start + span
        if end is not None and end <= start:
            raise UserError(f"{where}: it ends ({end:g} s) before it starts ({start:g} s)")
        split = {"train": "train", "test": "test"}.get(cell("split").lower())
        labels = tuple(label.strip() for label in re.split("[;|]", cell("labels")) if label.strip())
        yield Video(_id(cell("id"), where), labels, split, start, end)


def _id(given: Any, where: str) -> str:
    if not isinstance(given, str) or not ID.fullmatch(given.strip()):
        raise UserError(f"{where}: {given!r} is not a video id (11 letters, digits, - or _)")
    return given.strip()


def _seconds(text: str, where: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise UserError(f"{where}: {text!r} is not a time in seconds")
    return value


def library() -> Any:
    """``yt_dlp``.

    Raises:
        UserError: it is not installed.
    """
    try:
        import yt_dlp
    except ImportError:
        raise UserError(
            "videos of this data set are fetched by yt-dlp, which is not installed: pip install 'mvgen[download]'"
        ) from None
    return yt_dlp


def fetch_video(
    video: Video, folder: Path, most: int, height: int, address: str = WATCH, told: Callable[[int], None] | None = None
) -> Path:
    """Fetches one video, or the stretch of it that is wanted, as ``folder/NAME.mp4``; goes on with what was begun.

    A stretch is cut here out of the whole video, which stays in ``folder/.whole`` for other stretches of it: cutting on
    the way depends on what the server can do, and ends in empty files where it cannot.

    Args:
        most: bytes at most. height: of the picture, at most.
        address: with ``{id}`` where the id goes.
        told: called with 0 as it goes, to keep a progress bar alive.

    Raises:
        UserError: yt-dlp is not installed. DeadLink: the video is gone, private or barred here. FetchFailed: it did not
            arrive, is too large, or is no video.
    """
    if video.end is None:
        return _whole(video.id, folder, most, height, address, told)
    whole = folder / ".whole" / f"{video.id}.mp4"
    if not whole.is_file():
        whole.parent.mkdir(exist_ok=True)
        _whole(video.id, whole.parent, most, height, address, told)
    target = folder / f"{video.name}.mp4"
    _cut(whole, target, video.start, video.end)
    return target


def _whole(name: str, folder: Path, most: int, height: int, address: str, told: Callable[[int], None] | None) -> Path:
    import imageio_ffmpeg

    yt_dlp = library()
    target = folder / f"{name}.mp4"
    settings: dict[str, Any] = {
        "outtmpl": {"default": str(folder / f"{name}.%(ext)s")},
        "format": f"bv*[height<={height}]+ba/b[height<={height}]/b",
        "merge_output_format": "mp4",
        "ffmpeg_location": imageio_ffmpeg.get_ffmpeg_exe(),
        "max_filesize": most,
        "continuedl": True,
        "noplaylist": True,
        "quiet": True,
        "no_warnings": True,
        "noprogress": True,
        "logger": _Silent(),
        "retries": 3,
        "cachedir": False,
        "enable_file_urls": False,
        "postprocessors": [{"key": "FFmpegVideoRemuxer", "preferedformat": "mp4"}],
        "progress_hooks": [lambda state: told(0) if told else None],
    }
    try:
        with yt_dlp.YoutubeDL(settings) as downloader:
            downloader.extract_info(address.format(id=name), download=True)
    except yt_dlp.utils.DownloadError as error:
        reason = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip().splitlines()[0].removeprefix("ERROR: ")
        raise (DeadLink if _gone(reason) else FetchFailed)(reason) from None
    if not target.is_file():
        raise FetchFailed(f"nothing arrived (larger than {most} bytes, or in a form that cannot be made an MP4)")
    if target.stat().st_size > most:
        size = target.stat().st_size
        target.unlink()
        raise FetchFailed(f"its {size} bytes are over the limit of {most}")
    _require_video(target)
    return target


def _require_video(path: Path) -> None:
    try:
        if probe(path).duration > 0:
            return
        reason = "it has no length"
    except UserError as error:
        reason = str(error).removeprefix(str(path)).lstrip(": ")
    path.unlink()
    raise FetchFailed(f"what arrived is no video: {reason}; removed")


def _cut(whole: Path, target: Path, start: float, end: float) -> None:
    """Cuts a stretch out, to the frame: encoded anew, unless it begins where the video does."""
    import imageio_ffmpeg

    encoding = ["-c", "copy"] if start == 0 else ["-c:v", "libx264", "-crf", "18", "-preset", "veryfast", "-c:a", "aac"]
    unfinished = target.with_name(f".{target.name}")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-loglevel", "error", "-y", "-protocol_whitelist", "file"]
    command += ["-ss", f"{start:.3f}", "-i", os.path.abspath(whole), "-t", f"{end - start:.3f}"]
    command += ["-map", "0:v:0", "-map", "0:a:0?", *encoding, "-f", "mp4", os.path.abspath(unfinished)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=3600, check=False)
        if done.returncode:
            lines = done.stderr.decode(errors="replace").strip().splitlines()
            raise FetchFailed(
                f"its stretch from {start:g} to {end:g} s cannot be cut: {(lines or ['ffmpeg failed'])[-1]}"
            )
        _require_video(unfinished)
        os.replace(unfinished, target)
    except subprocess.TimeoutExpired:
        raise FetchFailed(f"its stretch from {start:g} to {end:g} s takes too long to cut") from None
    finally:
        unfinished.unlink(missing_ok=True)


GONE = (
    *("unavailable", "not available", "private", "removed", "terminated", "copyright", "deleted", "no longer"),
    *("does not exist", "members-only", "sign in to confirm your age", "error 404", "error 410", "not made this video"),
)
"""Words of yt-dlp's that tell of a video that is gone, or that its owner gives to few. All else may pass."""


def _gone(reason: str) -> bool:
    return any(words in reason.lower() for words in GONE)


class _Silent:
    """Takes what yt-dlp would print: outcomes are told once, by the caller."""

    def debug(self, message: str) -> None: ...

    info = warning = error = debug
