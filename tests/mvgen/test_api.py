"""The Python API on files: results of the right length on the right picture, batches, progress, what an end leaves."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import mvgen
from mvgen import __main__
from mvgen.api import Pipeline
from mvgen.data.records import RecordSpec
from mvgen.errors import UserError
from mvgen.inference.mastering import read_both_sides
from mvgen.media import probe, read_picture, read_sound, write_video, write_wav
from mvgen.media.loudness import loudness, true_peak
from tests.mvgen.media.test_remux import payloads
from tests.mvgen.synthetic import preset, write_checkpoint, write_records

SPEC = RecordSpec(codebooks=4, codebook_size=512, frame_size=(16, 16), flow_size=(4, 4), codec="encodec_tiny")
RATE = 44_100


def performance(path: Path, frames: int = 21, shift: int = 0) -> Path:
    """A square that moves, a tone on the left and another on the right."""
    pictures = np.full((frames, 48, 64, 3), 30, np.uint8)
    for number in range(frames):
        pictures[number, 10:20, 2 * number + shift : 2 * number + 10 + shift] = 200
    clock = np.arange(round(frames / 25 * RATE)) / RATE
    sound = 0.2 * np.sin(2 * np.pi * np.array([[440], [660]]) * clock)
    write_video(path, pictures, sound.astype(np.float32), RATE)
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint, records, and the files that docs/api.md names."""
    folder = tmp_path_factory.mktemp("api")
    config = preset("debug", "")
    config.model.notes_width = 8
    write_checkpoint(folder / "runs" / "demo" / "train", config, SPEC)
    write_records(folder / "records", {"test": [12, 25]}, SPEC)
    performance(folder / "performance.mp4")
    performance(folder / "another.mp4", shift=4)
    rng = np.random.default_rng(0)
    cv2.imwrite(str(folder / "first frame.png"), rng.integers(0, 255, (40, 56, 3), dtype=np.uint8))
    write_wav(folder / "song.wav", np.stack([0.1 * np.sin(np.arange(RATE) / 9), np.zeros(RATE)]), RATE)
    return folder


@pytest.fixture(scope="module")
def model(place: Path) -> Pipeline:
    """The checkpoint, read once."""
    return mvgen.load(place / "runs" / "demo" / "train")


def test_every_example_of_the_guide_runs(
    place: Path, model: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) > 6
    monkeypatch.chdir(place)
    monkeypatch.setattr(mvgen, "load", lambda path: model if Path(path).is_dir() else None)
    known: dict = {}
    for block in blocks:
        exec(compile(block, "docs/api.md", "exec"), known)
    told = capsys.readouterr().out
    assert "2 of 2" in told and "seconds more" in told and "no such file.mp4: no such file" in told
    assert json.loads((place / "offset.json").read_text())["milliseconds"] == known["offset"].milliseconds
    assert len(json.loads((place / "answer.json").read_text())["found"]) == 2
    # The picture of the music's video is that of the performance, packet by packet.
    assert payloads(place / "with music.mp4") == payloads(place / "performance.mp4")
    assert (probe(place / "with music.mp4").channels, probe(place / "half and half.mp4").channels) == (1, 2)
    made = read_sound(place / "music.wav", RATE)
    assert len(made) == round(0.84 * RATE) and true_peak(made, RATE) <= -1
    assert abs(loudness(made, RATE) + 16) < 0.2
    raw = read_sound(place / "as it was made.wav", 32_000)
    np.testing.assert_allclose(raw, known["music"].sound, atol=1e-4)
    assert (place / "performance.mid").read_bytes()[:4] == b"MThd" and "in 0.84 s" in told
    assert len(known["followed"].tokens) == 42
    assert known["take"].seconds == 0.6 and len(known["take"].tokens) == 30
    compared = probe(place / "compared.mp4")
    assert compared.width == 1008 and compared.channels == 2 and abs(compared.duration - 0.84) < 0.03
    # A film has the image's shape, and the music as it was given.
    film = probe(place / "film.mp4")
    assert (film.height, film.width, film.channels) == (256, 358, 2) and abs(film.duration - 1) < 0.03
    heard = read_sound(place / "film.mp4", RATE)
    assert np.abs(heard[:RATE] - read_sound(place / "song.wav", RATE)).max() < 0.02
    # One of a batch is what it is alone.
    np.testing.assert_array_equal(known["pieces"][0].tokens, known["music"].tokens)
    assert [len(each.tokens) for each in known["pieces"]] == [42, 42]
    first = next(known["films"][0].frames())
    np.testing.assert_array_equal(first, next(known["film"].frames()))
    assert known["offsets"][0].milliseconds == model.sync(place / "performance.mp4").milliseconds
    # Nothing half made is left beside.
    assert not [path for path in place.iterdir() if "partial" in path.name]


def test_results_show_themselves(place: Path, model: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    music = model.video_to_music(place / "performance.mp4", progress=False)
    shown = music._repr_html_()
    data = base64.b64decode(shown.split("base64,")[1].split('"')[0])
    assert "<video controls" in shown and data[4:8] == b"ftyp" and "0.84 s of music for performance.mp4" in shown
    monkeypatch.setattr("mvgen.inference.notebook.LARGEST", 10)
    assert "too large for a page" in music._repr_html_()
    assert "confidence" in model.sync(place / "performance.mp4", reach=0.2)._repr_html_()


@pytest.mark.parametrize("raised", [KeyboardInterrupt, RuntimeError])
def test_an_end_on_the_way_leaves_nothing(
    place: Path, model: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: type[BaseException]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    steps: list[tuple[int, int]] = []

    def stop(done: int, of: int) -> None:
        steps.append((done, of))
        if done == 1:
            raise raised

    with pytest.raises(raised):
        model.music_to_video(place / "first frame.png", place / "song.wav", progress=stop)
    assert steps == [(0, 8), (1, 8)] and list(tmp_path.iterdir()) == []
    with pytest.raises(raised):
        model.video_to_music(place / "performance.mp4", progress=stop)
    # And while a file is written.
    film = model.music_to_video(place / "first frame.png", place / "song.wav", seconds=0.2, progress=False)
    (held,) = tmp_path.iterdir()
    out = place / "interrupted.mp4"
    out.write_bytes(b"before")

    def broken(*_: object) -> None:
        raise raised

    with monkeypatch.context() as patch:
        patch.setattr("mvgen.media.remux.SoundTrack.end", broken)
        with pytest.raises(raised):
            film.save(out)
    assert out.read_bytes() == b"before" and not [each for each in place.iterdir() if each.name.startswith(".")]
    film.save(out)
    assert abs(probe(out).duration - 0.2) < 0.03
    out.unlink()
    del film
    assert not held.exists()


def test_a_film_beside_what_it_was_made_from(place: Path, model: Pipeline, tmp_path: Path) -> None:
    video = place / "performance.mp4"
    film = model.music_to_video(video, video, progress=False)
    film.compare(tmp_path / "beside.mp4")
    picture = read_picture(tmp_path / "beside.mp4", (probe(tmp_path / "beside.mp4").height, 1008))
    # The original's square is seen in its panel: 200 grey on 30, there and only there.
    assert picture[10, 40:400, 16:496].max() > 180 and len(picture) == 21
    with pytest.raises(UserError, match="no picture to compare"):
        model.music_to_video(video, place / "song.wav", seconds=0.2, progress=False).compare(tmp_path / "no.mp4")


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda model, at: model.video_to_music(at / "none.mp4"), "none.mp4: no such file"),
        (lambda model, at: model.video_to_music(at / "song.wav"), "no picture"),
        (lambda model, at: model.video_to_music(at / "performance.mp4", seed=-1), "seed -1"),
        (lambda model, at: model.video_to_music(at / "performance.mp4", seconds=0.01), "seconds 0.01"),
        (lambda model, at: model.video_to_music(at / "performance.mp4", "slowly"), "made without text"),
        (lambda model, at: model.video_to_music_batch([at / "performance.mp4"], seeds=[1, 2]), "2 seeds for 1"),
        (lambda model, at: model.music_to_video(at / "song.wav", at / "song.wav"), "song.wav"),
        (lambda model, at: model.sync(at / "performance.mp4", reach=99), "reach 99"),
        (lambda model, at: model.sync(at / "performance.mp4", seconds=0.1), "windows of 0.4 s"),
        (lambda model, at: model.retrieve(at / "records"), "give one of the two"),
        (lambda model, at: mvgen.load(at), "checkpoint"),
    ],
)
def test_what_cannot_be_is_one_line(place: Path, model: Pipeline, ask: object, said: str) -> None:
    with pytest.raises(UserError, match=said):
        ask(model, place)  # type: ignore[operator]


def test_settings_of_a_file(place: Path, model: Pipeline, tmp_path: Path) -> None:
    music = model.video_to_music(place / "performance.mp4", progress=False)
    for settings, said in (({"loudness": 3}, "loudness 3"), ({"rate": 12345}, "rate 12345"), ({"mix": 2}, "mix 2")):
        with pytest.raises(UserError, match=said):
            music.save(tmp_path / "a.mp4", **settings)
    with pytest.raises(UserError, match="also an input"):
        music.save(place / "performance.mp4")
    music.save(tmp_path / "own.wav", mix=1.0, rate=48_000)
    own = read_both_sides(str(tmp_path / "own.wav"), 48_000)
    tones = np.abs(np.fft.rfft(own[:, 4800:28_800]))
    assert (2 * tones.argmax(axis=1)).tolist() == [440, 660] and abs(loudness(own, 48_000) + 16) < 0.2
    write_video(tmp_path / "mute.mp4", read_picture(place / "performance.mp4", (48, 64)), None, RATE)
    mute = model.video_to_music(tmp_path / "mute.mp4", progress=False)
    with pytest.raises(UserError, match="no sound of its own to mix in"):
        mute.save(tmp_path / "a.mp4", mix=0.5)
    mute.compare(tmp_path / "compared.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["compared.mp4", "mute.mp4", "own.wav"]


def test_the_package_is_light_and_has_one_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = "import sys, mvgen; sys.exit(any(name in sys.modules for name in ('jax', 'flax', 'av', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

    def ran(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["mvgen", *words])
        with pytest.raises(SystemExit) as ended:
            __main__.main()
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out + told.err

    assert ran("--version") == (0, f"{mvgen.__version__}\n") and ran()[0] == 2
    assert ran("compose")[0] == 2 and ran("compose")[1].startswith("error: there is no command 'compose'")
    monkeypatch.delitem(sys.modules, "mvgen.generate", raising=False)  # which runpy would warn of
    status, told = ran("generate", "music", "--help")
    assert status == 0 and "--mix" in told
    helped = ran("--help")[1]
    package = Path(mvgen.__file__).parent
    for name in __main__.COMMANDS:
        place = package / __main__.MODULES.get(name, name)
        assert name in helped and (place.with_suffix(".py").is_file() or (place / "__main__.py").is_file())
