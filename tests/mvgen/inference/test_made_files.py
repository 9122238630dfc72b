"""Files as people have them, as a model is given them: as many frames and tokens as there are, at any start."""

import numpy as np
import pytest

from mvgen.data.loader import window_frames
from mvgen.data.records import RecordSpec
from mvgen.errors import UserError
from mvgen.inference.inputs import FilmReader, load_codec, read_first_image, read_tokens
from mvgen.media.notes import collected
from mvgen.training.checkpoint import load_model
from tests.mvgen.media.flashes import flashes_in
from tests.mvgen.media.made import DAMAGED, MADE, MOMENTS, MOMENTS_OF, SECONDS
from tests.mvgen.media.tiled_heic import tiled
from tests.mvgen.synthetic import preset, write_checkpoint

SPEC = RecordSpec(codebooks=4, codebook_size=512, frame_size=(16, 16), flow_size=(4, 4), codec="encodec_tiny")


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    checkpoint = str(write_checkpoint(tmp_path_factory.mktemp("run"), preset("debug", ""), SPEC))
    return FilmReader(checkpoint, load_model(checkpoint)[0].config)


@pytest.fixture(scope="module")
def codec():
    return load_codec(SPEC)


@pytest.mark.parametrize("name", MADE)
def test_film_and_tokens_of_every_kind(reader, codec, tmp_path, name):
    MADE[name](tmp_path / name)
    with collected() as notes:
        film = reader.read(str(tmp_path / name))
        tokens = read_tokens(str(tmp_path / name), codec)
    assert len(film["frames"]) == 25 * SECONDS and tokens.shape == (1, 50 * SECONDS, 4)
    np.testing.assert_allclose(flashes_in(film["frames"]), MOMENTS_OF.get(name, MOMENTS), atol=0.02)
    assert bool(notes) == (name in DAMAGED) and len(notes) < 2


def test_the_first_image_of_a_phones_picture(tmp_path):
    picture = np.zeros((128, 128, 3), np.uint8)
    picture[64:] = 200
    (tmp_path / "a.heic").write_bytes(tiled(picture, 64))
    found = read_first_image(str(tmp_path / "a.heic"), (16, 16))
    assert found[:6].max() < 30 and found[10:].min() > 170


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), 0, -1, 0.41])
def test_windows_are_whole_frames(seconds):
    with pytest.raises(UserError, match="config.data.window_seconds is"):
        window_frames(seconds)
