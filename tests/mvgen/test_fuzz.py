"""Generation from mutated files: no crash, no hang, no wrong length without a word.

`make fuzz` tries three hundred of each (MVGEN_FUZZ=300), in about an hour; else this is passed over. The files
are generated from in another process, which may fall without taking the test with it, and that is told.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mvgen.data.records import RecordSpec
from tests.data_prep.mutations import mutate
from tests.mvgen.media.ffmpeg import ffmpeg
from tests.mvgen.media.flashes import constant_times, write_flashes
from tests.mvgen.media.test_picture import quarters
from tests.mvgen.media.tiled_heic import tiled
from tests.mvgen.synthetic import preset, write_checkpoint

FUZZ = int(os.environ.get("MVGEN_FUZZ", "0"))
SECONDS_ALLOWED = 60.0
"""For one file; the first of a process, which compiles, may take three times as long."""
SPEC = RecordSpec(codebooks=4, codebook_size=512, frame_size=(16, 16), flow_size=(4, 4), codec="encodec_tiny")
pytestmark = pytest.mark.skipif(not FUZZ, reason="make fuzz")
FRAMES = 50
"""Of every source that has a length."""


def _generate(pipe: Connection, seed: int) -> None:
    """Generates for every list of words that comes; answers (what became of it, notes, length read, length made)."""
    from mvgen import generate
    from mvgen.errors import UserError
    from mvgen.media import covered_frames, read_picture, read_sound
    from mvgen.media.notes import collected

    while (words := pipe.recv()) is not None:
        out = words[words.index("--out") + 1]
        try:
            with collected() as notes:
                generate.main([*words, "--seed", str(seed)])
                if words[0] == "music":
                    read = len(read_picture(words[words.index("--video") + 1], (16, 16)))
                    made = covered_frames(len(read_sound(out, 32_000)), 32_000)
                else:
                    read = covered_frames(len(read_sound(words[words.index("--audio") + 1], 32_000)), 32_000)
                    made = len(read_picture(out, (16, 16)))
            pipe.send(("made", "; ".join(notes), read, made))
        except UserError as error:
            pipe.send(("refused", str(error), 0, 0))
        except BaseException as error:
            pipe.send(("crash", f"{type(error).__name__}: {error}", 0, 0))


class Generator:
    """A process that generates; it is replaced where it falls or hangs."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_generate, args=(other, 0), daemon=True)
        self._process.start()
        other.close()
        self._patience = 3 * SECONDS_ALLOWED

    def __call__(self, words: list[str]) -> tuple[str, str, int, int]:
        self._pipe.send(words)
        try:
            if self._pipe.poll(self._patience):
                self._patience = SECONDS_ALLOWED
                return self._pipe.recv()
            told = "hang"
        except EOFError:
            told = "fall"
        self.close()
        self._start()
        return told, "", 0, 0

    def close(self) -> None:
        self._process.kill()
        self._process.join()


@pytest.fixture(scope="module")
def generator():
    found = Generator()
    yield found
    found.close()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> str:
    return str(write_checkpoint(tmp_path_factory.mktemp("run"), preset("debug", ""), SPEC))


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> dict[str, bytes]:
    """Films, sounds and images by name."""
    folder = tmp_path_factory.mktemp("sources")
    write_flashes(folder / "a.mp4", constant_times(25, FRAMES / 25), options={"preset": "ultrafast", "g": "10"})
    for name, options in {
        "b.mkv": ("-c", "copy"), "c.ts": ("-c", "copy"), "d.webm": ("-c:v", "libvpx", "-c:a", "libopus"),
        "e.ogv": ("-c:v", "libtheora", "-c:a", "libvorbis"), "f.avi": ("-c:v", "mpeg4", "-c:a", "libmp3lame"),
        "g.wav": (), "h.mp3": (), "i.flac": (), "j.ogg": ("-c:a", "libvorbis"), "k.m4a": ("-c:a", "aac"),
        "l.opus": ("-c:a", "libopus"),
    }.items():  # fmt: skip
        ffmpeg("-i", folder / "a.mp4", *options, *(("-vn",) if name[0] in "ghijkl" else ()), folder / name)
    image = Image.fromarray(quarters(64, 64))
    for name in ("m.png", "n.jpg", "o.webp", "p.tif", "q.gif", "r.bmp", "s.avif"):
        image.save(folder / name)
    (folder / "t.heic").write_bytes(tiled(np.ascontiguousarray(quarters(128, 128)), 64))
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def outcomes(generator, commands) -> None:
    """Runs all; fails where one crashed, hung, or gave another length than was read without a word."""
    told: Counter[str] = Counter()
    faults = []
    began = time.monotonic()
    for name, words in commands:
        what, said, read, made = generator(words)
        told[what] += 1
        print(f"number {sum(told.values())}, {name}: {what}; so far {dict(told)}, {len(faults)} at fault", flush=True)
        if what not in ("made", "refused"):
            faults.append((name, what, said))
        elif what == "refused" and (not said or "\n" in said or Path(words[words.index("--out") + 1]).exists()):
            faults.append((name, "unclear", said))
        elif what == "made" and made != read:
            faults.append((name, "length", f"{read} frames are read, {made} made"))
        elif what == "made" and read < FRAMES - 13 and not said and name.endswith((".mp4", ".avi", ".flac")):
            faults.append((name, "short", f"{read} frames are read, and no word"))
        Path(words[words.index("--out") + 1]).unlink(missing_ok=True)
    print(f"{sum(told.values())} mutated: {dict(told)} in {time.monotonic() - began:.0f} s")
    assert not faults, faults
    assert told["made"] and told["refused"]


def mutated(sources, names, folder, chance) -> tuple[str, Path]:
    name = chance.choice(sorted(each for each in sources if each[0] in names))
    path = folder / f"mutated-{name}"
    path.write_bytes(mutate(sources[name], chance))
    return name, path


def test_music_for_mutated_films(generator, checkpoint, sources, tmp_path):
    chance = random.Random(1)

    def commands():
        for _ in range(FUZZ):
            name, path = mutated(sources, "abcdef", tmp_path, chance)
            out = tmp_path / "out.wav"
            yield name, ["music", "--checkpoint", checkpoint, "--video", str(path), "--out", str(out)]

    outcomes(generator, commands())


def test_films_of_mutated_images_and_sounds(generator, checkpoint, sources, tmp_path):
    chance = random.Random(2)
    plain_image, plain_sound = tmp_path / "plain.png", tmp_path / "plain.wav"
    plain_image.write_bytes(sources["m.png"]), plain_sound.write_bytes(sources["g.wav"])

    def commands():
        for number in range(2 * FUZZ):  # images and sounds in turn
            image, sound = plain_image, plain_sound
            if number % 2:
                name, image = mutated(sources, "mnopqrst" + "ab", tmp_path, chance)
            else:
                name, sound = mutated(sources, "ghijklac", tmp_path, chance)
            words = ["video", "--checkpoint", checkpoint, "--image", str(image), "--audio", str(sound), "--steps", "1"]
            yield name if not number % 2 else "image", [*words, "--out", str(tmp_path / "out.mp4")]

    outcomes(generator, commands())
