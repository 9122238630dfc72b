"""Kills, full disks, refusals that are errors, clips that are added: nothing is lost, nothing is done twice.

With MVGEN_KILLS=10, ten runs are killed one after another, at random moments.
"""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from data_prep.__main__ import main
from data_prep.convert.command import BASE_CONFIG, convert, load_config
from data_prep.convert.standardise import standardise
from data_prep.extract.cache import Cache, disk_error
from mvgen.errors import UserError
from tests.data_prep.convert.test_convert import files_of
from tests.mvgen.media.flashes import constant_times, write_flashes

KILLS = int(os.environ.get("MVGEN_KILLS", "1"))
CLIPS = 6 if KILLS == 1 else 24
SETTINGS = {"frame_size": (16, 16), "flow_size": (8, 8), "segment_seconds": 1.0, "keep_standardised": True}


def config(**changes):
    return load_config(str(BASE_CONFIG), [(name, repr(value)) for name, value in {**SETTINGS, **changes}.items()])


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Short clips, all different."""
    folder = tmp_path_factory.mktemp("faults") / "in"
    folder.mkdir()
    for number in range(CLIPS):
        write_flashes(folder / f"{number:02d}.mp4", constant_times(20 + number, 1.3))
    return folder


@pytest.fixture(scope="module")
def undisturbed(clips):
    convert(str(clips), str(clips.parent / "out"), config(), str(clips.parent / "cache"), workers=2)
    return files_of(clips.parent / "out")


def same(made, expected):
    """The time of making stands in dataset_info.json alone."""
    assert set(made) == set(expected)
    assert {name for name in made if made[name] != expected[name]} <= {"dataset_info.json"}


def kept(cache):
    return {path.name: path.stat().st_mtime_ns for path in cache.glob("*/[!.]*")}


def of_session(session):
    """Processes of a session that still run."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, its_session = (place / "stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if its_session == str(session) and state not in "ZX":
            found.append(place.name)
    return found


def test_killed_runs_go_on(clips, undisturbed, tmp_path):
    out, cache = tmp_path / "out", tmp_path / "cache"
    command = [sys.executable, "-m", "data_prep", "convert", "--input", str(clips), "--out", str(out), "--workers", "2"]
    command += ["--cache", str(cache), *(f"--config.{name}={value!r}" for name, value in SETTINGS.items())]
    quiet: dict = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    chance = random.Random(0)
    total, done = 5 * CLIPS, {}  # span, standardised copy, tokens, flow, frames
    for kill in range(KILLS):
        began = time.monotonic()
        # After some results more than before, and a moment: at any step of any clip, or while the records are written.
        target = min(total, len(done) + (total // 2 if KILLS == 1 else chance.randint(0, 2 * total // KILLS)))
        with subprocess.Popen(command, **quiet) as run:
            while len(kept(cache)) < target and run.poll() is None and time.monotonic() < began + 300:
                time.sleep(0.005)
            until = time.monotonic() + chance.uniform(0, 0.5 if target < total else 8)
            while run.poll() is None and time.monotonic() < until:
                time.sleep(0.005)
            finished = run.poll() is not None
            run.send_signal(signal.SIGKILL)
        until = time.monotonic() + 20
        while of_session(run.pid) and time.monotonic() < until:
            time.sleep(0.05)
        assert of_session(run.pid) == [], "workers outlive the run"
        assert run.returncode in (0, -signal.SIGKILL)
        before, done = done, kept(cache)
        # What was kept before this run is untouched by it.
        assert before.items() <= done.items()
        print(f"kill {kill}: after {time.monotonic() - began:.1f} s, {len(done) - len(before)} results more, "
              f"{len(done)} in all{', it had finished' if finished else ''}")  # fmt: skip
    assert done
    convert(str(clips), str(out), config(), str(cache), workers=2)
    after = kept(cache)
    print(f"the last run kept {len(done)} results and made {len(after) - len(done)}")
    assert done.items() <= after.items() and len(after) == total
    same(files_of(out), undisturbed)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "out"]
    assert not list(cache.glob("*/.*")), "something half-made is left"


def test_strict_makes_a_refusal_an_error(clips, undisturbed, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "good.mp4").write_bytes((clips / "00.mp4").read_bytes())
    (tmp_path / "in" / "bad\nname.mp4").write_text("no video")
    options = [f"--config.{name}={value!r}" for name, value in SETTINGS.items()]
    command = ["convert", "--input", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--workers=1", *options]
    command += ["--cache", str(clips.parent / "cache")]
    with pytest.raises(UserError, match=r"--strict: 1 of the 2 videos cannot be used: bad\\nname.mp4: "):
        main([*command, "--strict"])
    assert not (tmp_path / "out").exists()
    assert main(command) == 0


def test_clips_keep_their_split_when_others_are_added(clips, undisturbed, tmp_path):
    def splits(folder):
        lines = map(json.loads, (folder / "manifest.jsonl").read_text().splitlines())
        return {line["source_id"]: line["split"] for line in lines}

    (tmp_path / "in").mkdir()
    for number in range(0, CLIPS, 3):
        (tmp_path / "in" / f"{number:02d}.mp4").write_bytes((clips / f"{number:02d}.mp4").read_bytes())
    convert(str(tmp_path / "in"), str(tmp_path / "out"), config(test_percent=40), str(clips.parent / "cache"), 1)
    fewer = splits(tmp_path / "out")
    convert(str(clips), str(tmp_path / "out"), config(test_percent=40), str(clips.parent / "cache"), 1)
    more = splits(tmp_path / "out")
    assert len(fewer) < len(more) and set(more.values()) == {"train", "test"} == set(fewer.values())
    assert fewer.items() <= more.items()


def test_writers_tell_a_full_disk_from_a_bad_clip(clips, tmp_path):
    (tmp_path / "full.npy").symlink_to("/dev/full")
    with pytest.raises(OSError) as error:
        Cache(tmp_path / "cache").keep(tmp_path / "x.npy", lambda _: _to_full_disk(tmp_path / "full.npy"))
    assert disk_error(error.value) == os.strerror(errno.ENOSPC)
    (tmp_path / "full.mp4").symlink_to("/dev/full")
    with pytest.raises(OSError) as error:
        standardise(clips / "00.mp4", tmp_path / "full.mp4", 20)
    assert disk_error(error.value) == os.strerror(errno.ENOSPC)
    assert disk_error(RuntimeError("worker: OSError: [Errno 28] No space left on device [while running 'X']"))
    assert disk_error(OSError(errno.EIO, "Input/output error")) is None


def _to_full_disk(path):
    from data_prep.extract.cache import _save

    _save(path, np.zeros(100_000, np.float16))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of a given size, where this user may mount one."""
    place = tmp_path / "disk"
    place.mkdir()

    def resize(size, *options):
        command = ["mount", "-t", "tmpfs", "-o", ",".join((*options, f"size={size}")), "tmpfs", str(place)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("no right to mount a small disk here")

    yield place, resize
    subprocess.run(["umount", str(place)], check=False, capture_output=True)


@pytest.mark.parametrize("where", ["cache", "out"])
def test_a_full_disk_stops_the_run_which_goes_on_later(clips, undisturbed, tmp_path, small_disk, where):
    place, resize = small_disk
    resize("56k")
    out, cache = (place / "out", tmp_path / "cache") if where == "out" else (tmp_path / "out", place / "cache")
    options = [f"--config.{name}={value!r}" for name, value in SETTINGS.items()]
    command = ["convert", "--input", str(clips), "--out", str(out), "--cache", str(cache), "--workers=1", *options]
    with pytest.raises(UserError, match=r"stopped: No space left on device; run the same command again"):
        main(command)
    assert not out.exists()
    done = kept(cache)
    resize("64m", "remount")
    assert main(command) == 0
    assert done and done.items() <= kept(cache).items()
    same(files_of(out), undisturbed)
