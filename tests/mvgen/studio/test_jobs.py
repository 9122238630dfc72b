"""What the studio asks for: results in a folder of their own, bounds, an end when asked, nothing from elsewhere."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

import mvgen
from mvgen.data.records import RecordSpec
from mvgen.errors import UserError
from mvgen.media import probe, read_picture, write_video, write_wav
from mvgen.media.midi import midi_notes, write_midi
from tests.mvgen.synthetic import preset, write_checkpoint

pytest.importorskip("matplotlib")
from mvgen.studio.alignment import draw_alignment, movement  # noqa: E402
from mvgen.studio.examples import SECONDS, make_examples  # noqa: E402
from mvgen.studio.jobs import KEPT, Jobs, Stopped  # noqa: E402

SPEC = RecordSpec(codebooks=4, codebook_size=512, frame_size=(16, 16), flow_size=(4, 4), codec="encodec_tiny")
RATE = 44_100


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Jobs:
    """A studio over a fresh model of the debug preset, with a performance of 0.84 s and an image dropped."""
    folder = tmp_path_factory.mktemp("studio")
    config = preset("debug", "")
    config.model.notes_width = 8
    checkpoint = write_checkpoint(tmp_path_factory.mktemp("run"), config, SPEC)
    dropped = folder / "dropped"
    dropped.mkdir()
    pictures = np.full((21, 48, 64, 3), 30, np.uint8)
    for number in range(21):
        pictures[number, 10:20, 2 * number : 2 * number + 10] = 200
    write_video(dropped / "play.mp4", pictures, (0.2 * np.sin(np.arange(37_044) / 9)).astype(np.float32), RATE)
    write_wav(dropped / "song.wav", 0.2 * np.sin(np.arange(RATE // 2) / 9), RATE)
    cv2.imwrite(str(dropped / "first.png"), pictures[0])
    return Jobs(mvgen.load(checkpoint), folder, most_seconds=2)


def test_music_and_film_and_sync(jobs: Jobs) -> None:
    dropped, steps = jobs.folder / "dropped", []
    made = jobs.music("me", str(dropped / "play.mp4"), lambda done, of: steps.append((done, of)), mix=0.5, compare=True)
    assert steps == [(0, 3), (1, 3), (2, 3), (3, 3)] and made.told.startswith("0.84 s of music")
    assert made.video.name == "play with music.mp4" and made.sound and made.comparison
    for each in (made.video, made.sound, made.comparison):
        assert abs(probe(each).duration - 0.84) < 0.03
    assert cv2.imread(str(made.plot)).shape[1] == 1280
    assert made.notes and made.notes.name == "play notes.mid" and made.notes in made.files
    read = midi_notes(made.notes)
    drums = int(read[:, 3].sum())
    assert f"The picture shows {len(read) - drums} notes and {drums} strokes on drums" in made.told
    film = jobs.film("me", str(dropped / "first.png"), str(dropped / "song.wav"), None, lambda done, of: None)
    assert abs(probe(film.video).duration - 0.48) < 0.03 and film.sound is None
    said, plot = jobs.sync("me", str(dropped / "play.mp4"))
    assert said.startswith("The sound is ") and plot.is_file()


def test_a_score_is_followed_or_filmed(jobs: Jobs) -> None:
    pytest.importorskip("tinysoundfont")
    dropped = jobs.folder / "dropped"
    write_midi(dropped / "score.mid", [(0.0, 0.2, 60, False), (0.2, 0.4, 64, False)])
    write_midi(dropped / "long.mid", [(0.0, 2.5, 60, False)])

    def quiet(done: int, of: int) -> None:
        pass

    alone = jobs.music("me", str(dropped / "play.mp4"), quiet)
    followed = jobs.music("me", str(dropped / "play.mp4"), quiet, notes=str(dropped / "score.mid"))
    assert alone.sound and followed.sound and alone.sound.read_bytes() != followed.sound.read_bytes()
    film = jobs.film("me", str(dropped / "first.png"), None, str(dropped / "score.mid"), quiet)
    assert film.video.name == "score filmed.mp4" and abs(probe(film.video).duration - 1.4) < 0.05
    for song, score, said in (
        (None, "long.mid", "lasts 2 s; at most 2 s|lasts 3 s; at most 2 s"),
        ("song.wav", "score.mid", "one of the two"),
        (None, "first.png", "cannot be read as MIDI"),
    ):
        with pytest.raises(UserError, match=said):
            jobs.film("me", str(dropped / "first.png"), song and str(dropped / song), str(dropped / score), quiet)


def test_a_job_ends_when_its_session_asks(jobs: Jobs) -> None:
    before = set(jobs.made.iterdir())

    def tell(done: int, of: int) -> None:
        jobs.stop("another")  # whose job is not this one
        if done == 1:
            jobs.stop("me")

    with pytest.raises(Stopped):
        jobs.music("me", str(jobs.folder / "dropped" / "play.mp4"), tell)
    assert set(jobs.made.iterdir()) == before
    # The line is free again, and the next job is not stopped by the last one's end.
    jobs.sync("me", str(jobs.folder / "dropped" / "play.mp4"))


def test_one_job_at_a_time(jobs: Jobs) -> None:
    inside, most = [], []

    def tell(done: int, of: int) -> None:
        me = threading.get_ident()
        inside.append(me) if done == 0 else None
        most.append(len(set(inside)))
        if done == of:
            inside.remove(me)

    video = str(jobs.folder / "dropped" / "play.mp4")
    threads = [threading.Thread(target=jobs.music, args=(str(number), video, tell)) for number in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert max(most) == 1 and not inside


def test_what_is_refused(jobs: Jobs, tmp_path: Path) -> None:
    dropped = jobs.folder / "dropped"
    shutil.copy(dropped / "play.mp4", tmp_path / "elsewhere.mp4")
    (dropped / "link.mp4").symlink_to(tmp_path / "elsewhere.mp4")
    write_video(dropped / "long.mp4", np.zeros((75, 16, 16, 3), np.uint8), None, RATE)
    (dropped / "text.mp4").write_text("no video at all\n" * 9)

    def tell(done: int, of: int) -> None:
        raise AssertionError("no work is done")

    for name, said in (
        (str(tmp_path / "elsewhere.mp4"), "only files that were dropped here"),
        (str(dropped / "link.mp4"), "only files that were dropped here"),
        (str(dropped / ".." / ".." / "elsewhere.mp4"), "only files that were dropped here"),
        (str(dropped / "long.mp4"), "lasts 3 s; at most 2 s"),
        (str(dropped / "text.mp4"), "is text"),
        (None, "Drop a video first"),
    ):
        with pytest.raises(UserError, match=said):
            jobs.music("me", name, tell)
        with pytest.raises(UserError):
            jobs.sync("me", name)
    with pytest.raises(UserError, match="only files that were dropped here"):
        jobs.music("me", str(dropped / "play.mp4"), tell, notes="/etc/hostname")
    with pytest.raises(UserError, match="one of the two"):
        jobs.retrieve("me", None, None)


@pytest.mark.slow
def test_examples_are_made_once(tmp_path: Path) -> None:
    examples = make_examples(tmp_path / "examples")
    assert [each.video.stem.split("-")[0] for each in examples] == ["drums", "keyboard", "strings"]
    for each in examples:
        assert (
            cv2.imread(str(each.image)).shape[0] == probe(each.video).height
            and abs(probe(each.sound).duration - SECONDS) < 0.05
        )
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "examples").iterdir()}
    assert make_examples(tmp_path / "examples") == examples
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "examples").iterdir()} == made


def test_old_results_go(jobs: Jobs) -> None:
    rooms = [jobs.room() for _ in range(KEPT + 3)]
    assert len(list(jobs.made.iterdir())) == KEPT and rooms[-1].is_dir() and not rooms[0].is_dir()


def test_movement_is_where_it_moves_and_onsets_are_drawn(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scene = cv2.resize(rng.integers(0, 255, (12, 60, 3), dtype=np.uint8), (480, 96))
    starts = np.concatenate([np.zeros(20, int), 4 * np.arange(15), np.full(15, 56)])
    write_video(tmp_path / "a.mp4", np.stack([scene[:, at : at + 96] for at in starts]), None, RATE)
    motion = movement(str(tmp_path / "a.mp4"))
    assert motion[21:34].min() > 5 * max(motion[:19].max(), motion[37:].max())
    assert len(read_picture(tmp_path / "a.mp4", (8, 8))) == len(motion) == 50
    sound = np.zeros(2 * RATE, np.float32)
    for moment in (0.5, 1.0, 1.5):
        first = round(moment * RATE)
        sound[first : first + 4410] = np.sin(np.arange(4410) / 5) * np.exp(-np.arange(4410) / 900)
    assert draw_alignment(tmp_path / "a.png", motion, sound, RATE) == 3
    picture = cv2.imread(str(tmp_path / "a.png")).astype(int)
    red = np.all(np.abs(picture - (0x2C, 0x40, 0xCE)) < 40, axis=-1)[120:300]
    assert 3 <= np.count_nonzero(np.diff(red.any(axis=0).astype(int)) == 1) <= 4
    assert draw_alignment(tmp_path / "b.png", motion * 0, sound * 0, RATE) == 0
