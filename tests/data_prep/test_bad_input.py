"""Whatever lies in the folder, the run ends, the good clips are used, and every file is in the manifest.

MVGEN_FUZZ=300 mutates so many real clips; MVGEN_CUTS=1 cuts a file at each of its bytes.
"""

import ctypes
import json
import os
import random
import socket
import time
from pathlib import Path

import av
import numpy as np
import pytest

from data_prep.convert.clip import Settings
from data_prep.convert.command import BASE_CONFIG, convert, load_config
from data_prep.convert.pool import Workers
from data_prep.inspect.records import inspect_folder
from data_prep.sources import find_clips
from data_prep.sources.manifest import Clip
from mvgen.media import probe, read_picture, read_sound, span
from tests.data_prep.clocks import ffmpeg
from tests.data_prep.mutations import box_edges, mutate, referring
from tests.mvgen.media.flashes import constant_times, write_flashes

FUZZ = int(os.environ.get("MVGEN_FUZZ", "0"))
CUTS = int(os.environ.get("MVGEN_CUTS", "0"))
CLIPS = Path(__file__).parents[3] / "shared" / "clips"
SETTINGS = {"frame_size": (16, 16), "flow_size": (8, 8), "limits.max_seconds": 90.0, "limits.min_seconds": 0.2}


def config(**changes):
    return load_config(str(BASE_CONFIG), [(name, repr(value)) for name, value in {**SETTINGS, **changes}.items()])


def converted(folder, place, **changes):
    """The lines of the manifest by the files' names, once every file of the folder is in it."""
    convert(str(folder), str(place / "out"), config(**changes), str(place / "cache"), workers=2)
    lines = [json.loads(line) for line in (place / "out" / "manifest.jsonl").read_text().splitlines()]
    told = {os.path.relpath(line["path"], folder): line for line in lines}
    assert set(told) == {os.path.relpath(clip.path, folder) for clip in find_clips(folder)}
    assert len(told) == len(lines)
    for name, line in told.items():
        assert line["status"] in ("used", "refused") and (line["status"] == "used") == (line["reason"] == ""), name
        assert line["reason"].isprintable(), name
    # They are all made of one performance, and what lies in both splits is told too.
    bad = inspect_folder(place / "out")[0].bad
    assert [line for line in bad if not line.endswith("the same in both splits")] == []
    return told


def write_sound(path, sound, sample_rate=32_000):
    """A clip with this sound, as floating-point samples."""
    raw = path.with_name("raw")
    raw.write_bytes(sound.astype("<f4").tobytes())
    picture = ("-f", "lavfi", "-i", f"testsrc=s=64x48:r=25:d={len(sound) / sample_rate}")
    ffmpeg(*picture, "-f", "f32le", "-ar", sample_rate, "-ac", 1, "-i", raw, "-c:v", "mpeg4", "-c:a", "pcm_f32le", path)
    raw.unlink()


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The bytes of a good clip of 0.8 s."""
    path = tmp_path_factory.mktemp("good") / "good.mp4"
    write_flashes(path, constant_times(25, 0.8))
    return path.read_bytes()


def test_every_kind_of_bad_file(good, tmp_path):
    folder, outside = tmp_path / "in", tmp_path / "outside"
    folder.mkdir(), outside.mkdir()
    (outside / "film.mp4").write_bytes(good)
    used = ["plain.mp4", "two words.mp4", "it's \"quoted\".mp4", "line\nbreak.mp4", "\u97f3\u697d \u00fc.mp4",
            "-i.mp4", "%03d.mp4", "x" * 240 + ".mp4", "y" * 240 + "1.mp4", "y" * 240 + "2.mp4"]  # fmt: skip
    for name in used:
        (folder / name).write_bytes(good)
    used.append(os.fsdecode(b"not-\xff-utf8.mp4"))
    (folder / used[-1]).write_bytes(good)
    (folder / "link inside.mp4").symlink_to("plain.mp4")
    write_sound(folder / "silence.mkv", np.zeros(25_600))
    write_flashes(folder / "grows.ts", constant_times(25, 0.8), size=(64, 48))
    write_flashes(tmp_path / "larger.ts", constant_times(25, 0.8), size=(128, 96))
    with open(folder / "grows.ts", "ab") as file:
        file.write((tmp_path / "larger.ts").read_bytes())
    used += ["link inside.mp4", "silence.mkv", "grows.ts"]

    refused = {}
    for name, contents in {"empty.mp4": b"", "text.mp4": b"hello\n" * 99, "zeros.mkv": bytes(9999)}.items():
        (folder / name).write_bytes(contents)
        refused[name] = {"empty.mp4": "0 bytes", "text.mp4": "is text"}.get(name, "not a readable video or sound")
    (folder / "link outside.mp4").symlink_to(outside / "film.mp4")
    (folder / "device.mp4").symlink_to("/dev/zero")
    refused |= dict.fromkeys(("link outside.mp4", "device.mp4"), "leads out of the folder")
    (folder / "dangling.mp4").symlink_to("missing.mp4")
    (folder / "circle.mp4").symlink_to("circle.mp4")
    refused |= dict.fromkeys(("dangling.mp4", "circle.mp4"), "no such file")
    os.mkfifo(folder / "pipe.mp4")
    refused["pipe.mp4"] = "is not a file"
    ffmpeg("-i", outside / "film.mp4", "-an", folder / "silent.mp4")
    ffmpeg("-i", outside / "film.mp4", "-vn", folder / "blind.mp4")
    refused |= {"silent.mp4": "has no sound", "blind.mp4": "has no picture"}
    write_sound(folder / "nan.mkv", np.where(np.arange(25_600) == 9000, np.nan, 0.1))
    write_sound(folder / "infinite.mkv", np.where(np.arange(25_600) == 9000, np.inf, 0.1))
    write_sound(folder / "loud.mkv", np.full(25_600, 1e20))
    write_sound(folder / "slow sound.mkv", np.zeros(800), 1000)
    refused |= dict.fromkeys(("nan.mkv", "infinite.mkv"), "not finite numbers")
    refused |= {"loud.mkv": "1e+20 times full scale", "slow sound.mkv": "1000 samples a second, outside"}
    ffmpeg("-i", outside / "film.mp4", "-vf", "setpts='if(gte(N,19),36000/TB,PTS)'", "-fps_mode", "passthrough",
           folder / "late.mkv")  # fmt: skip
    used.append("late.mkv")  # its one wrong stamp, hours late, is set right
    ffmpeg("-f", "lavfi", "-i", "color=s=640x360:d=1", "-i", outside / "film.mp4", "-map", "0:v", "-map", "1:a",
           folder / "large.mp4")  # fmt: skip
    refused["large.mp4"] = "640x360 is over the limit of 100000 pixels"

    told = converted(folder, tmp_path, keep_standardised=True, **{"limits.max_pixels": 100_000})
    for name in used:
        assert told[name]["status"] == "used", (name, told[name]["reason"])
    for name, reason in refused.items():
        assert reason in told[name]["reason"], (name, told[name]["reason"])
    assert set(told) == {*used, *refused}
    made = os.listdir(tmp_path / "out" / "clips")
    assert len(made) == len(used) and all(len(os.fsencode(name)) < 255 for name in made)


def test_links_and_paths_out_of_the_folder(good, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "film.mp4").write_bytes(good)
    lines = [{"path": "../film.mp4", "clip_id": "up"}, {"path": str(tmp_path / "film.mp4"), "clip_id": "in full"}]
    (tmp_path / "in" / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    outcomes = {}
    for allowed in (False, True):
        settings = Settings.from_config(config(**{"limits.links_outside": allowed}))
        _, *results = Workers(settings, str(tmp_path / "cache"), 1).run(find_clips(tmp_path / "in"))
        outcomes[allowed] = [outcome["status"] for _, outcome in sorted(results)]
    assert outcomes == {False: ["refused", "used"], True: ["used", "used"]}


class Watch:
    """Tells whether a file has been opened, by the kernel's own account (inotify)."""

    def __init__(self, path):
        libc = ctypes.CDLL(None, use_errno=True)
        self._handle = libc.inotify_init1(os.O_NONBLOCK)
        if self._handle < 0 or libc.inotify_add_watch(self._handle, os.fsencode(path), 0x20) < 0:
            pytest.skip("no inotify here")

    def opened(self):
        try:
            return bool(os.read(self._handle, 4096))
        except BlockingIOError:
            return False


def test_files_that_name_others_open_nothing(good, tmp_path):
    """Playlists, scripts, patterns and references: neither the file nor the address that they name is touched."""
    folder, secret = tmp_path / "in", tmp_path / "secret.mp4"
    folder.mkdir()
    secret.write_bytes(good)
    watch = Watch(secret)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        for target, kind in ((str(secret), "file"), (f"http://127.0.0.1:{server.getsockname()[1]}/a.mp4", "url")):
            for name, text in {
                "m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n",
                "concat": f"ffconcat version 1.0\nfile '{target}'\n",
                "mpd": f'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><Adapta'
                f'tionSet mimeType="video/mp4"><Representation id="1"><BaseURL>{target}</BaseURL></Representation>'
                f"</AdaptationSet></Period></MPD>",
                "sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nt=0 0\na=control:{target}\n"
                "m=video 9 RTP/AVP 96\n",
                "asx": f'<asx version="3.0"><entry><ref href="{target}"/></entry></asx>',
                "plain": target,
            }.items():  # fmt: skip
                (folder / f"{kind}-{name}.mp4").write_text(text)
        (folder / "reference.mov").write_bytes(referring(good, str(secret)))
        (folder / "relative.mov").write_bytes(referring(good, "../secret.mp4"))
        (folder / "good.mp4").write_bytes(good)
        assert not watch.opened()
        told = converted(folder, tmp_path)
        assert not watch.opened(), "a file that is not among the input was opened"
        with pytest.raises(BlockingIOError):
            server.accept()
    assert {name for name, line in told.items() if line["status"] == "used"} == {"good.mp4"}
    secret.read_bytes()
    assert watch.opened(), "the watch does not see what it should"


def cut_points(data):
    if CUTS:
        return range(0, len(data), CUTS)
    edges = {edge + step for edge in box_edges(data) for step in (-1, 0, 3)}
    return sorted({point for point in {*edges, *range(0, len(data), 400)} if 0 <= point < len(data)})


@pytest.mark.parametrize("faststart", [False, True], ids=["index at the end", "index first"])
def test_cut_at_every_point(good, tmp_path, faststart):
    path = tmp_path / "good.mp4"
    path.write_bytes(good)
    if faststart:
        ffmpeg("-i", path, "-c", "copy", "-movflags", "faststart", tmp_path / "first.mp4")
        path = tmp_path / "first.mp4"
    data = path.read_bytes()
    points = cut_points(data)
    assert len(points) > 60
    whole, readable = len(read_picture(path, (16, 16))), []
    for point in points:
        (tmp_path / "cut.mp4").write_bytes(data[:point])
        try:
            probe(tmp_path / "cut.mp4"), span(tmp_path / "cut.mp4")
            assert len(read_picture(tmp_path / "cut.mp4", (16, 16))) <= whole
            assert np.isfinite(read_sound(tmp_path / "cut.mp4", 32_000)).all()
            readable.append(point)
        except Exception as error:
            assert type(error).__name__ == "UserError" and "cut.mp4" in str(error), (point, error)
    print(f"{len(points)} cuts, {len(readable)} of them readable")
    # Without its index nothing can be found in an MP4; with it, what lies before the cut.
    assert (min(readable, default=len(data)) > data.index(b"moov")) and (bool(readable) or not faststart)


def test_mutated_files_are_all_accounted_for(good, tmp_path):
    """No crash, no hang: processed as in a run, by workers that may fall, every one ends as used or refused."""
    chance = random.Random(0)
    (tmp_path / "good.mp4").write_bytes(good)
    films = sorted(CLIPS.glob("*.mp4")) if FUZZ else []
    sources = {}
    for path in films or [tmp_path / "good.mp4"]:
        for ending in (".mp4", ".mkv", ".ts"):  # the first seconds, as they were encoded
            name = f"{path.stem}{ending}"
            ffmpeg("-t", 3, "-i", path, "-c", "copy", tmp_path / f"whole-{name}")
            sources[name] = (tmp_path / f"whole-{name}").read_bytes()
    (tmp_path / "in").mkdir()
    clips = []
    for number in range(FUZZ or 24):
        name = chance.choice(sorted(sources))
        path = tmp_path / "in" / f"{number:04d}-{name}"
        path.write_bytes(mutate(sources[name], chance))
        clips.append(Clip(path.stem, path, path.stem))
    limits = {"limits.max_processing_seconds": 120.0, "keep_standardised": bool(FUZZ)}
    began, told = time.monotonic(), {}
    _, *results = Workers(Settings.from_config(config(**limits)), str(tmp_path / "cache"), 2).run(clips)
    for number, outcome in results:
        assert number not in told
        told[number] = outcome
    assert set(told) == set(range(len(clips)))
    reasons = [outcome["reason"] for outcome in told.values()]
    fallen = [r for r in reasons if "brings down" in r or "takes longer" in r]
    unforeseen = [r for r in reasons if "cannot be processed" in r]
    print(f"{len(clips)} mutated, {reasons.count('')} used, {len(fallen)} brought a process down, {len(unforeseen)} "
          f"met what no check foresaw, in {time.monotonic() - began:.0f} s: {set(fallen + unforeseen)}")  # fmt: skip
    assert {outcome["status"] for outcome in told.values()} == {"used", "refused"}
    assert not fallen


class Hang:
    """A path at which its reader stays for ever, outside Python's reach."""

    def __fspath__(self):
        ctypes.PyDLL(None).pause()  # holds the interpreter's lock, as the worst of decoders


def test_a_clip_that_hangs_is_ended_and_refused(good, tmp_path):
    (tmp_path / "good.mp4").write_bytes(good)
    limits = {"limits.max_processing_seconds": 2.0, "keep_standardised": False}
    fine = [Clip(f"{number}", tmp_path / "good.mp4", f"{number}") for number in range(4)]
    clips = [fine[0], Clip("hangs", Hang(), "h"), *fine[1:]]
    _, *results = Workers(Settings.from_config(config(**limits)), str(tmp_path / "cache"), 1).run(clips)
    reasons = {number: outcome["reason"] for number, outcome in results}
    assert reasons == {0: "", 1: "takes longer than the limit of 2 s to process", 2: "", 3: "", 4: ""}


def test_a_file_without_times(good, tmp_path):
    """A bare stream of pictures states no times: they follow each other at its rate."""
    (tmp_path / "a.mp4").write_bytes(good)
    ffmpeg("-i", tmp_path / "a.mp4", "-an", "-c", "copy", "-bsf:v", "h264_mp4toannexb", tmp_path / "a.h264")
    with av.open(str(tmp_path / "a.mp4")) as container:
        count = len(list(container.decode(video=0)))
    assert len(read_picture(tmp_path / "a.h264", (16, 16))) == count == 20
