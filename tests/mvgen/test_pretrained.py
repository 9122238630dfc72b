"""The model that comes with mvgen: small enough for the package, described, and it plays what it sees."""

import json
from pathlib import Path

import numpy as np
import pytest

import mvgen
import mvgen.api
from data_prep.recital.clip import write_clip
from data_prep.recital.compose import compose
from mvgen.evaluation.metrics.clips import Heard
from mvgen.evaluation.metrics.notes import note_agreement
from mvgen.evaluation.metrics.onsets import moments, onset_agreement
from mvgen.media import read_picture

FOLDER = Path(mvgen.PRETRAINED)
SECONDS = 3.0
MOST_BYTES = 24 * 2**20


def test_the_package_holds_weights_their_description_and_a_card():
    names = {path.name for path in FOLDER.iterdir()}
    assert {"model.safetensors", "config.json", "records.json", "README.md"} <= names
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= MOST_BYTES
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert "chance" in card.lower() and "license:" in card
    assert json.loads((FOLDER / "config.json").read_text())["data"]["path"] == ""


@pytest.fixture(scope="module")
def model() -> mvgen.api.Pipeline:
    return mvgen.load()


@pytest.fixture(scope="module")
def drums(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A performance that it has not seen, and its notes: onset, offset, General MIDI drum, velocity."""
    folder = tmp_path_factory.mktemp("drums")
    line = write_clip(compose(900, 0, "drums", seconds=SECONDS), folder)
    return folder / line["path"], np.array(line["notes"])


def test_it_plays_when_the_sticks_fall(model, drums):
    video, notes = drums
    asked = moments(notes[:, 0])
    music = model.video_to_music(video, progress=False)
    heard = Heard(np.asarray(music.sound, np.float32).reshape(-1), music.sample_rate).onsets
    # Between its own measured 0.97 and the chance of 0.3.
    assert onset_agreement(asked, heard)["f"] > 0.75


def test_it_reads_which_drums_are_struck(model, drums):
    video, notes = drums
    read = model.video_to_notes(video)
    assert all(note.drum for note in read.notes) and read.seconds == SECONDS
    found = np.array([note[:3] for note in read.notes])
    # Between its own measured 1.00 and the chance of 0.07.
    assert note_agreement(notes, found, offsets=True)["f"] > 0.9


def test_it_films_what_moves(model, drums, tmp_path):
    video, _ = drums
    film = model.music_to_video(video, video, progress=False)
    film.save(tmp_path / "film.mp4")
    frames = read_picture(tmp_path / "film.mp4", (64, 64)).astype(int)
    assert len(frames) == round(25 * SECONDS)
    assert np.abs(frames - frames[:1]).max() > 40  # something is elsewhere than in the first frame
