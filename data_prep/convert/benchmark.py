"""``python -m data_prep bench``: seconds of work for a second of video, stage by stage.

In one run, on the same videos: reading alone, which is the limit (every frame decoded, nothing made of it); each stage
of :class:`data_prep.convert.clip.ClipProcessor` on one core; the plain way (one process, one clip at a time, frames by
number through OpenCV, nothing at the same time as anything else); and the whole of it over all workers.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import ffmpeg
import imageio_ffmpeg
import numpy as np

from data_prep.convert.clip import ClipProcessor, Settings
from data_prep.convert.command import BASE_CONFIG, load_config, split_options
from data_prep.convert.pool import Workers
from data_prep.convert.standardise import standardise
from data_prep.extract.cache import Cache
from data_prep.sources import find_clips
from data_prep.sources.manifest import Clip
from mvgen.clock import CODEC_SAMPLE_RATE, FRAME_RATE
from mvgen.data.records import encode_record, frame_tfrecord
from mvgen.errors import UserError
from mvgen.files import check_output, file_hash, write_json
from mvgen.media import frames_and_flow, probe, read_sound, span, working_size
from mvgen.media.container import open_media, picture_stream
from mvgen.media.picture import stream_picture

LIMIT = "decode the picture"
"""The stage without which nothing can be read."""
OPTIONAL = "standardised copy"
"""Counted only where the config asks for it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--input", metavar="DIR_OR_MANIFEST", help="videos to measure on (default: made for it)")
    parser.add_argument("--clips", type=int, default=4, help="how many to make (%(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each (%(default)s)")
    parser.add_argument("--size", default="1280x720", help="of each (%(default)s)")
    parser.add_argument("--rounds", type=int, default=1, help="how often the pool converts all clips (%(default)s)")
    parser.add_argument("--config", default=BASE_CONFIG, metavar="NAME", help="data preset or file (%(default)s)")
    parser.add_argument("--workers", type=int, default=0, help="processes (default: one a core)")
    parser.add_argument("--json", metavar="FILE", help="write every figure here")
    parser.epilog = "--config.FIELD=VALUE changes one field of the config."
    parser.set_defaults(passes_options=True)


def make_videos(folder: Path, clips: int, seconds: float, width: int, height: int) -> None:
    """Films of a moving test picture with grain, 30 frames a second at 2.5 Mbit/s (H.264, AAC at 44.1 kHz)."""
    for number in range(clips):
        picture = ffmpeg.input(f"testsrc2=size={width}x{height}:rate=30:duration={seconds}", f="lavfi")
        picture = picture.filter("noise", alls=6, allf="t", all_seed=number)
        sound = ffmpeg.input(f"sine={220 * 1.06**number}:sample_rate=44100:duration={seconds}", f="lavfi")
        form = {"c:v": "libx264", "preset": "veryfast", "b:v": "2500k", "pix_fmt": "yuv420p", "c:a": "aac"}
        output = ffmpeg.output(picture, sound, str(folder / f"{number:04d}.mp4"), loglevel="error", **form)
        ffmpeg.run(output, cmd=imageio_ffmpeg.get_ffmpeg_exe(), overwrite_output=True)


def decode_alone(path: Path) -> int:
    """Decodes every frame of the picture and drops it; returns how many there were."""
    with open_media(path) as container:
        stream = picture_stream(container)
        assert stream is not None and stream.codec_context is not None
        stream.codec_context.thread_count = 1
        return sum(1 for _ in container.decode(stream))


class Stages:
    """CPU seconds of each stage over the clips it was given, one process (and what it starts) at a time."""

    def __init__(self, settings: Settings, cache: Path):
        self.settings, self.cache = settings, Cache(cache)
        self.processor = ClipProcessor(settings, cache)
        self.spec = self.processor.spec
        self.seconds: dict[str, float] = {}
        self.video = 0.0

    @contextmanager
    def _stage(self, name: str, less: float = 0.0) -> Iterator[None]:
        began = _cpu_seconds()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + _cpu_seconds() - began - less

    def measure(self, clip: Clip) -> None:
        """Takes a clip through all stages.

        A stage that cannot run by itself is measured with the ones before it, which are then taken off: scaling is
        what reading frames takes beyond decoding, flow what it adds to that.
        """
        settings, path = self.settings, clip.path
        began = _cpu_seconds()
        frames = decode_alone(path)
        decoded = _cpu_seconds() - began
        self.seconds[LIMIT] = self.seconds.get(LIMIT, 0.0) + decoded
        with self._stage("hash, headers, packets"):
            content = file_hash(path)
            probe(path)
            self.video += float(span(path))
        began = _cpu_seconds()
        working = list(stream_picture(path, working_size(settings.frame_size)))
        read = _cpu_seconds() - began
        if not frames or not working:
            raise UserError(f"{path}: none of its picture can be decoded")
        self.seconds["scale, by the clock"] = self.seconds.get("scale, by the clock", 0.0) + read - decoded
        method = settings.flow_method
        with self._stage("frames and flow"):
            small, flow = frames_and_flow(iter(working), settings.frame_size, settings.flow_size, method)
        assert flow is not None
        with self._stage("sound, resampled"):
            sound = read_sound(path, CODEC_SAMPLE_RATE)
        count = min(len(small), len(sound) * FRAME_RATE // CODEC_SAMPLE_RATE)
        with self._stage("tokens"):
            tokens = self.processor.tokens.extract(sound[: count * CODEC_SAMPLE_RATE // FRAME_RATE])
        with self._stage("keep results"):
            for kind, array in (("frames", small), ("flow", flow), ("tokens", tokens)):
                self.cache.keep_array(self.cache.place(content, f"bench-{kind}", {}, ".npy"), array)
        with self._stage("record"):
            record = {"clip_id": clip.clip_id, "source_id": clip.source_id, "labels": "",
                      "start_seconds": np.float32(0), "tokens": tokens, "flow": flow[:count], "frames": small[:count],
                      "notes": np.zeros((0, 3), np.float32)}  # fmt: skip
            frame_tfrecord(encode_record(record, self.spec))
        with self._stage(OPTIONAL):
            form = settings.standard_quality, settings.standard_height
            standardise(path, self.cache.folder / "copy.mp4", count, *form)


def _cpu_seconds() -> float:
    """User and system time of this process and of the processes that it waited for."""
    own, others = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime


def plain_way(path: Path, settings: Settings, tokens: Callable[[np.ndarray], np.ndarray]) -> None:
    """A clip as one would do it at first: OpenCV reads frames, chosen by number, then flow, then the sound."""
    import cv2
    import soxr

    video = cv2.VideoCapture(str(path))
    rate = video.get(cv2.CAP_PROP_FPS) or FRAME_RATE
    height, width = working_size(settings.frame_size)
    frames, number, shown = [], 0, 0
    while True:
        good, picture = video.read()
        if not good:
            break
        while shown <= number * FRAME_RATE / rate:
            side = min(picture.shape[:2])
            top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
            square = cv2.cvtColor(picture[top : top + side, left : left + side], cv2.COLOR_BGR2RGB)
            frames.append(cv2.resize(square, (width, height), interpolation=cv2.INTER_AREA))
            shown += 1
        number += 1
    video.release()
    greys = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    h, w = settings.flow_size
    flows = [
        cv2.resize(method.calc(before, after, None), (w, h), interpolation=cv2.INTER_AREA)  # type: ignore[call-overload]
        for before, after in zip(greys[:-1], greys[1:], strict=True)
    ]
    small = [cv2.resize(frame, settings.frame_size[::-1], interpolation=cv2.INTER_AREA) for frame in frames]
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        sound = np.concatenate([frame.to_ndarray().mean(axis=0) for frame in container.decode(stream)])
        sound_rate = stream.rate
    codes = tokens(soxr.resample(sound.astype(np.float32), sound_rate, CODEC_SAMPLE_RATE))
    np.savez(os.devnull, frames=np.stack(small), flow=np.stack(flows).astype(np.float16), tokens=codes)


def measure_pool(settings: Settings, cache: Path, clips: list[Clip], rounds: int, workers: int) -> dict[str, float]:
    """All clips through the pool that ``convert`` uses, each round into a cache of its own.

    Returns:
        ``video`` seconds converted, ``wall`` seconds from when the first worker was ready, ``work`` and ``busy``: CPU
        seconds, and seconds in which a worker had a clip, over all workers; ``start``: seconds until they were ready.
    """
    count = workers or len(os.sched_getaffinity(0))
    found = {"workers": float(count), "video": 0.0, "wall": 0.0, "work": 0.0, "busy": 0.0, "start": 0.0}
    for number in range(rounds):
        began = time.monotonic()
        results = Workers(settings, str(cache / str(number)), count).run(clips)
        next(results)
        ready = time.monotonic()
        for result in results:
            assert isinstance(result, tuple)
            outcome = result[1]
            if outcome["status"] != "used":
                raise UserError(f"{clips[result[0]].path} cannot be measured on: {outcome['reason']}")
            found["video"] += outcome["seconds"]
            found["work"] += outcome["work_seconds"]
            found["busy"] += outcome["wall_seconds"]
        found["wall"] += time.monotonic() - ready
        found["start"] += ready - began
    return found


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    changes, unknown = split_options(args.options)
    if unknown:
        raise UserError(f"unknown option {unknown[0]}; see `python -m data_prep bench --help`")
    width, _, height = args.size.partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) >= 16 and int(height) >= 16):
        raise UserError(f"--size {args.size}: write WIDTHxHEIGHT, for example 1280x720")
    if args.clips < 1 or args.seconds < 1 or args.rounds < 1:
        raise UserError("--clips, --seconds and --rounds are 1 at least")
    if args.json:
        check_output("--json", args.json)
    settings = Settings.from_config(load_config(args.config, changes))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = args.input
        if source is None:
            source = str(folder / "videos")
            (folder / "videos").mkdir()
            print(f"making {args.clips} videos of {args.seconds:g} s at {args.size}", flush=True)
            make_videos(folder / "videos", args.clips, args.seconds, int(width), int(height))
        figures = measure(find_clips(source), settings, folder, args.rounds, args.workers)
    print(table(figures))
    if args.json:
        write_json(args.json, figures)
    return 0


def measure(clips: list[Clip], settings: Settings, folder: Path, rounds: int, workers: int) -> dict[str, Any]:
    """Every figure of the command; ``stages``, ``plain`` and ``limit`` are CPU seconds a second of video."""
    import cv2
    import torch

    pool = measure_pool(settings, folder / "pool", clips, rounds, workers)
    threads = torch.get_num_threads(), cv2.getNumThreads()
    stages = Stages(settings, folder / "stages")
    began, began_work = time.monotonic(), _cpu_seconds()
    for clip in clips:
        plain_way(clip.path, settings, stages.processor.tokens.extract)
    plain_wall, plain_work = time.monotonic() - began, _cpu_seconds() - began_work
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        for clip in clips:
            stages.measure(clip)
    finally:
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])
    video = stages.video
    each = {name: seconds / video for name, seconds in stages.seconds.items()}
    if not settings.keep_standardised:
        copy = each.pop(OPTIONAL)
    else:
        copy = each[OPTIONAL]
    return {
        "clips": len(clips),
        "seconds": video,
        "stages": each,
        "sum": sum(each.values()),
        "standardised_copy": copy,
        "limit": each[LIMIT],
        "plain": {"work": plain_work / video, "wall": plain_wall / video},
        "pool": pool,
    }


def table(figures: dict[str, Any]) -> str:
    """The figures as text."""
    total, pool, plain = figures["sum"], figures["pool"], figures["plain"]
    lines = [f"{figures['clips']} videos, {figures['seconds']:.0f} s; CPU seconds for a second of video:"]
    lines += [f"  {name:24}{each:8.4f}{each / total:7.0%}" for name, each in figures["stages"].items()]
    slowest = max(figures["stages"], key=figures["stages"].get)
    lines += [
        f"  {'all of it':24}{total:8.4f}  {1 / total:.1f} times real time a core; slowest: {slowest}",
        f"  {OPTIONAL:24}{figures['standardised_copy']:8.4f}  (config.keep_standardised)",
        f"  {'reading alone':24}{figures['limit']:8.4f}  {1 / figures['limit']:.1f} times real time a core: the limit",
        f"  {'the plain way':24}{plain['work']:8.4f}  {1 / plain['wall']:.1f} times real time by the clock on the wall",
    ]
    work = pool["work"] / pool["video"]
    lines.append(
        f"{pool['workers']:.0f} workers: {pool['video']:.0f} s in {pool['wall']:.1f} s, "
        f"{pool['video'] / pool['wall']:.1f} times real time by the clock on the wall "
        f"({work:.4f} CPU seconds a second, {1 / work:.1f} times real time a core); "
        f"busy {pool['busy'] / pool['wall'] / pool['workers']:.0%} of the time, "
        f"computing {pool['work'] / pool['wall'] / pool['workers']:.0%}; ready after {pool['start']:.1f} s"
    )
    return "\n".join(lines)
