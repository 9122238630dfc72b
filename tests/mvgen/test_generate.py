"""The command line of generation: files of the right length and seed, folders for a split, clear errors."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from mvgen import generate
from mvgen.data.records import RecordSpec
from mvgen.errors import UserError
from mvgen.inference import streaming
from mvgen.inference.options import Prompt
from mvgen.inference.video_to_music import windows_over
from mvgen.interop.encodec import load_encodec
from mvgen.interop.text import write_text
from mvgen.media import probe, read_sound, write_video, write_wav
from mvgen.media.midi import midi_notes, midi_sound, write_midi
from mvgen.models.token_decoder import Text
from tests.mvgen.synthetic import preset, write_checkpoint, write_records

SPEC = RecordSpec(codebooks=4, codebook_size=512, frame_size=(16, 16), flow_size=(4, 4), codec="encodec_tiny")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a fresh model of the debug preset."""
    return write_checkpoint(tmp_path_factory.mktemp("run"), preset("debug", ""), SPEC)


@pytest.fixture(scope="module")
def performance(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A filmed performance of 0.84 s: a square that moves, a tone."""
    frames = np.zeros((21, 48, 64, 3), np.uint8)
    for number in range(21):
        frames[number, 10:20, 2 * number : 2 * number + 10] = 200
    sound = 0.3 * np.sin(2 * np.pi * 440 * np.arange(round(0.84 * 44100)) / 44100)
    path = tmp_path_factory.mktemp("media") / "performance.mp4"
    write_video(path, frames, sound.astype(np.float32), 44100)
    return path


def test_music_lasts_as_long_as_the_video_and_hangs_on_the_seed(
    workdir: Path, performance: Path, tmp_path: Path
) -> None:
    def play(name: str, seed: int) -> bytes:
        out = tmp_path / name
        words = ["music", "--checkpoint", str(workdir), "--video", str(performance), "--out", str(out)]
        generate.main([*words, "--temperature", "1", "--seed", str(seed)])
        return out.read_bytes()

    assert play("a.wav", 1) == play("b.wav", 1) != play("c.wav", 2)
    assert len(read_sound(tmp_path / "a.wav", 32000)) == 21 * 1280
    play("a.mp4", 1)
    info = probe(tmp_path / "a.mp4")
    assert info.has_picture and info.has_sound and info.frame_rate == 25


def test_music_goes_on_from_given_sound(workdir: Path, performance: Path, tmp_path: Path) -> None:
    write_wav(tmp_path / "begin.wav", 0.3 * np.sin(np.arange(16000) / 9).astype(np.float32), 32000)

    def play(name: str, *more: str) -> np.ndarray:
        words = ["music", "--checkpoint", str(workdir), "--video", str(performance), "--out", str(tmp_path / name)]
        generate.main([*words, *more])
        return read_sound(tmp_path / name, 32000)

    sound = play("on.wav", "--prompt-audio", str(tmp_path / "begin.wav"), "--loudness", "none", "--rate", "32000")
    assert len(sound) == 21 * 1280
    codec = load_encodec("encodec_tiny")
    begun = np.asarray(codec.decode(codec.encode(read_sound(tmp_path / "begin.wav", 32000)[None])))[0]
    np.testing.assert_allclose(sound[:8000], begun[:8000], atol=1e-3)  # what follows is heard a little before it
    with pytest.raises(UserError, match="leaves nothing to play of a video of 0.84 s"):
        play("x.wav", "--prompt-audio", str(performance))


def test_music_is_written_while_it_is_played(
    workdir: Path, performance: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["music", "--checkpoint", str(workdir), "--video", str(performance), "--seed", "1"]
    as_it_is = ["--loudness", "none", "--rate", "32000"]
    generate.main([*words, "--out", str(tmp_path / "whole.wav"), *as_it_is])
    lengths = []
    put = streaming.WavStream.write
    out = tmp_path / "stream.wav"

    def watched(self: streaming.WavStream, sound: np.ndarray) -> None:
        put(self, sound)
        lengths.append(out.stat().st_size)

    monkeypatch.setattr(streaming.WavStream, "write", watched)
    generate.main([*words, "--out", str(out), "--stream"])
    assert len(set(lengths)) > 1 and lengths[0] < out.stat().st_size == lengths[-1]
    whole, streamed = (read_sound(tmp_path / name, 32000) for name in ("whole.wav", "stream.wav"))
    assert len(streamed) == 21 * 1280  # the video's 0.84 s to the sample
    np.testing.assert_allclose(streamed, whole, atol=1e-4)
    # Windows of ten frames meet where none is heard: no jump is larger than those within 50 ms.
    jumps = np.abs(np.diff(streamed))
    for start, known in windows_over(21, 10)[1:]:
        seam = (start + known) * 1280
        around = np.concatenate([jumps[seam - 1600 : seam - 4], jumps[seam + 4 : seam + 1600]])
        assert jumps[seam - 2 : seam + 2].max() <= around.max()
    said, before = capfd.readouterr().err, out.read_bytes()
    assert "first sound (" in said and "0.84 s of sound in" in said
    monkeypatch.undo()

    def broken(self: object, tokens: np.ndarray, last: bool = False) -> np.ndarray:
        return np.full((1, 4), np.nan)

    monkeypatch.setattr(streaming.DecodeStream, "push", broken)
    with pytest.raises(UserError, match="not finite"):
        generate.main([*words, "--out", str(out), "--stream"])
    assert out.read_bytes() == before  # what an error leaves is the earlier result
    with pytest.raises(UserError, match="not finite"):
        generate.main([*words, "--out", str(tmp_path / "new.wav"), "--stream"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stream.wav", "whole.wav"]


def test_a_prompt_is_read_by_a_model_of_its_width_alone(tmp_path: Path) -> None:
    path = tmp_path / "prompt.safetensors"
    write_text(path, Text(jnp.ones((1, 3, 12)), jnp.ones((1, 3), bool)))

    def read(width: int, **given: str) -> Text | None:
        config = argparse.Namespace(text_width=width)
        model = argparse.Namespace(decoder=argparse.Namespace(config=config))
        prompt = Prompt(given.get("text"), given.get("text_encoder"), given.get("text_file"))
        return prompt.embedded(model)  # type: ignore[arg-type]

    assert read(0) is None
    text = read(12, text_file=str(path))
    assert text is not None and text.embeddings.shape == (1, 3, 12)
    with pytest.raises(UserError, match="made without text"):
        read(0, text_file=str(path))
    with pytest.raises(UserError, match="one prompt of width 16 is read, not 1 of width 12"):
        read(16, text_file=str(path))
    with pytest.raises(UserError, match="--text needs --text-encoder"):
        read(12, text="slow")


def test_sound_that_is_not_finite_is_one_line(workdir: Path, performance: Path, tmp_path: Path) -> None:
    samples = np.zeros(16000, "<f4")
    samples[5000] = np.nan
    header = b"fmt " + np.array([16], "<u4").tobytes() + np.array([3, 1], "<u2").tobytes()
    header += np.array([32000, 128000], "<u4").tobytes() + np.array([4, 32], "<u2").tobytes()
    body = b"WAVE" + header + b"data" + np.array([samples.nbytes], "<u4").tobytes() + samples.tobytes()
    (tmp_path / "nan.wav").write_bytes(b"RIFF" + np.array([len(body)], "<u4").tobytes() + body)
    words = ["music", "--checkpoint", str(workdir), "--video", str(performance), "--out", str(tmp_path / "x.wav")]
    with pytest.raises(UserError, match="nan.wav: its sound holds samples that are not finite numbers"):
        generate.main([*words, "--prompt-audio", str(tmp_path / "nan.wav")])


def test_video_lasts_as_long_as_the_music(workdir: Path, performance: Path, tmp_path: Path) -> None:
    write_wav(tmp_path / "music.wav", np.zeros(32000, np.float32), 32000)
    out = tmp_path / "film.mp4"
    generate.main(
        ["video", "--checkpoint", str(workdir), "--image", str(performance), "--audio", str(tmp_path / "music.wav"),
         "--out", str(out), "--steps", "2"]
    )  # fmt: skip
    info = probe(out)
    assert info.has_picture and info.has_sound and abs(info.duration - 1.0) < 0.03


def test_a_score_is_played_and_filmed(workdir: Path, performance: Path, tmp_path: Path) -> None:
    pretty_midi = pytest.importorskip("pretty_midi")
    midi, part = pretty_midi.PrettyMIDI(), pretty_midi.Instrument(0)
    part.notes.append(pretty_midi.Note(100, 60, 0.2, 0.4))
    midi.instruments.append(part)
    midi.write(str(tmp_path / "song.mid"))
    words = ["video", "--checkpoint", str(workdir), "--image", str(performance), "--audio", str(tmp_path / "song.mid")]
    generate.main([*words, "--out", str(tmp_path / "film.mp4"), "--steps", "2"])
    assert abs(probe(tmp_path / "film.mp4").duration - 1.4) < 0.06  # the note, and a second in which it rings out
    sound = read_sound(tmp_path / "film.mp4", 32000)
    assert np.abs(sound[: round(0.19 * 32000)]).max() < 0.02 < 0.1 < np.abs(sound).max()
    with pytest.raises(UserError, match="cannot be read as MIDI"):
        (tmp_path / "bad.mid").write_bytes(b"no score")
        generate.main([*words[:-1], str(tmp_path / "bad.mid"), "--out", str(tmp_path / "x.mp4")])


def test_notes_are_read_from_a_video_and_followed(performance: Path, tmp_path: Path) -> None:
    pytest.importorskip("pretty_midi")
    config = preset("debug", "")
    config.model.notes_width = 8
    workdir = write_checkpoint(tmp_path / "run", config, SPEC)
    words = ["music", "--checkpoint", str(workdir), "--video", str(performance), "--out"]
    generate.main([*words, str(tmp_path / "notes.mid")])
    read = midi_notes(tmp_path / "notes.mid")  # of a head that has learned nothing: all or none of them
    assert read.ndim == 2 and (read[:, 0] < 0.84).all()
    write_midi(tmp_path / "asked.mid", [(0.1, 0.6, 60, False), (0.3, 0.4, 38, True)])
    asked = ["--notes", str(tmp_path / "asked.mid"), "--loudness", "none", "--rate", "32000"]
    generate.main([*words, str(tmp_path / "followed.wav"), *asked, "--follow-notes", "100"])
    played = midi_sound(tmp_path / "asked.mid", 32000)[: 20 * 1280]
    codec = load_encodec("encodec_tiny")
    coded = np.asarray(codec.decode(codec.encode(played[None])))[0]
    followed = read_sound(tmp_path / "followed.wav", 32000)
    assert np.corrcoef(followed[:20000], coded[:20000])[0, 1] > 0.9  # all but entries that sound alike
    for more, said in (
        (["--stream"], "--stream goes with sound, not with"),
        (["--notes", str(tmp_path / "asked.mid")], "--notes goes with sound"),
        (["--prompt-audio", str(performance)], "--prompt-audio goes with sound"),
    ):
        with pytest.raises(UserError, match=said):
            generate.main([*words, str(tmp_path / "x.mid"), *more])
    with pytest.raises(UserError, match="notes to follow are a MIDI file"):
        generate.main([*words, str(tmp_path / "x.wav"), "--notes", str(performance)])
    with pytest.raises(UserError, match="--follow-notes -1"):
        generate.main([*words, str(tmp_path / "x.wav"), *asked, "--follow-notes", "-1"])
    records = write_records(tmp_path / "records", {"test": [12, 12]}, SPEC)
    run = ["records", "--checkpoint", str(workdir), "--records", str(records), "--out", str(tmp_path / "out")]
    generate.main([*run, "--no-film"])
    assert {path.name for path in (tmp_path / "out" / "music").glob("*.mid")} == {"test-0.mid", "test-1.mid"}
    assert not (tmp_path / "out" / "video").exists()


def test_a_split_is_performed_into_folders(workdir: Path, tmp_path: Path) -> None:
    records = write_records(tmp_path / "records", {"test": [12, 12, 25, 4]}, SPEC)
    generate.main(["records", "--checkpoint", str(workdir), "--records", str(records), "--out", str(tmp_path / "out")])
    names = {"test-0.mp4", "test-1.mp4", "test-2.mp4"}  # the last is shorter than a window
    for part in ("codec", "music", "video"):
        assert {path.name for path in (tmp_path / "out" / part).iterdir()} == names
    summary = json.loads((tmp_path / "out" / "held_out.json").read_text())
    assert summary["clips"] == 3 and 0 <= summary["retrieval"]["video_to_music_r1"] <= 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["music", "--video", "{performance}", "--out", "x.avi"], "end its name with"),
        (["music", "--video", "{performance}", "--out", "nowhere/x.mp4"], "does not exist"),
        (["music", "--video", "{text}", "--out", "{out}"], "not"),
        (["music", "--video", "{performance}", "--out", "{out}", "--stream"], "end its name with .wav"),
        (["music", "--video", "{performance}", "--out", "-"], "end its name with"),
        (["music", "--video", "missing.mp4", "--out", "{out}"], "missing.mp4"),
        (["music", "--video", "{performance}", "--out", "{out}", "--temperature", "-1"], "--temperature"),
        (["music", "--video", "{performance}", "--out", "{out}", "--compare", "{out}"], "is also --out"),
        (["music", "--video", "{performance}", "--out", "{out}", "--compare", "x.wav"], "end its name with .mp4"),
        (["music", "--video", "{performance}", "--out", "{out}", "--mix", "1.5"], "mix 1.5"),
        (["music", "--video", "{performance}", "--out", "{out}", "--loudness", "0"], "loudness 0"),
        (["music", "--video", "{performance}", "--out", "{out}", "--rate", "1000"], "rate 1000"),
        (
            ["records", "--records", "{out}", "--out", "{out}", "--limit", "-1"],
            "--limit -1: it must be a number",
        ),
        (["records", "--records", "{out}", "--out", "{out}", "--batch", "0"], "--batch 0: it must be a number"),
        (["music", "--video", "{performance}", "--out", "{out}", "--seconds", "0"], "seconds 0"),
        (
            ["music", "--video", "{performance}", "--out", "x.wav", "--stream", "--mix", "1"],
            "--stream goes with neither",
        ),
        (["music", "--video", "{performance}", "--out", "{out}", "--temperature", "nan"], "number from 0 to 100"),
        (["music", "--video", "{performance}", "--out", "{out}", "--guidance", "inf"], "--guidance inf: "),
        (["music", "--video", "{performance}", "--out", "{out}", "--top-p", "nan"], "--top-p nan: "),
        (["music", "--video", "{performance}", "--out", "{out}", "--seed", "9223372036854775808"], "--seed 9223"),
        (["music", "--video", "{performance}", "--out", "{performance}"], "is also an input"),
        (["music", "--video", "{performance}", "--out", "{folder}"], "is a folder"),
        (["music", "--video", "{performance}", "--out", "{long}"], "longer than 255 bytes"),
        (["music", "--video", "{wavpack}", "--out", "{out}"], "a sound .WavPack., which is not read"),
        (["video", "--image", "{wavpack}", "--audio", "{performance}", "--out", "{out}"], "not read as a picture"),
        (
            [
                "video",
                "--image",
                "{performance}",
                "--audio",
                "{performance}",
                "--out",
                "{out}",
                "--sound-guidance",
                "nan",
            ],
            "--sound-guidance nan: ",
        ),
        (["music", "--video", "{performance}", "--out", "{out}", "--text", "slow"], "made without text"),
        (["music", "--video", "{performance}", "--out", "x.mid"], "has no note head, so it reads no notes"),
        (["music", "--video", "{performance}", "--out", "{out}", "--notes", "none.mid"], "there is no file none.mid"),
        (["video", "--image", "{text}", "--audio", "{performance}", "--out", "{out}"], "not"),
        (["video", "--image", "{performance}", "--audio", "{text}", "--out", "{out}"], "not"),
        (
            ["video", "--image", "{performance}", "--audio", "{performance}", "--out", "{out}", "--steps", "0"],
            "--steps",
        ),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(
    workdir: Path, performance: Path, tmp_path: Path, arguments: list[str], said: str
) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video at all\n" * 100)
    (tmp_path / "a.wv").write_bytes(b"wvpk" + bytes(99))
    (tmp_path / "folder.mp4").mkdir()
    places = {"performance": performance, "text": text, "out": tmp_path / "out.mp4", "wavpack": tmp_path / "a.wv",
              "folder": tmp_path / "folder.mp4", "long": tmp_path / ("x" * 255 + ".mp4")}  # fmt: skip
    before = performance.read_bytes()
    words = [word.format(**places) for word in arguments]
    with pytest.raises(UserError, match=said):
        generate.main([words[0], "--checkpoint", str(workdir), *words[1:]])
    assert not (tmp_path / "out.mp4").exists() and performance.read_bytes() == before


def test_what_is_no_checkpoint_is_one_clear_line(performance: Path, tmp_path: Path) -> None:
    command = ["music", "--checkpoint", str(tmp_path), "--video", str(performance), "--out", str(tmp_path / "x.mp4")]
    ended = subprocess.run([sys.executable, "-m", "mvgen.generate", *command], capture_output=True, text=True)
    assert ended.returncode == 2 and ended.stdout == ""
    assert len(ended.stderr.strip().splitlines()) == 1 and "checkpoint" in ended.stderr
