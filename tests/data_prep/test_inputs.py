"""Files as people have them, through the whole conversion: whole, on the clock, and told where something was wrong."""

import json

import numpy as np
import pytest

from data_prep.convert.command import BASE_CONFIG, convert, load_config
from data_prep.convert.join import join
from mvgen.data.records import RecordSource
from mvgen.errors import UserError
from mvgen.media import read_picture, read_sound
from tests.mvgen.media.ffmpeg import ffmpeg
from tests.mvgen.media.flashes import beeps_in, constant_times, flashes_in, write_flashes
from tests.mvgen.media.made import DAMAGED, MADE, MOMENTS, MOMENTS_OF, SECONDS

SETTINGS = {"frame_size": (16, 16), "flow_size": (8, 8), "keep_standardised": True, "test_percent": 0.0}


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """The folder of records, and the lines of its manifest by the files' names."""
    place = tmp_path_factory.mktemp("inputs")
    (place / "in").mkdir()
    for name, make in MADE.items():
        make(place / "in" / name)
    config = load_config(str(BASE_CONFIG), [(name, repr(value)) for name, value in SETTINGS.items()])
    convert(str(place / "in"), str(place / "out"), config, str(place / "cache"), workers=2)
    lines = [json.loads(line) for line in (place / "out" / "manifest.jsonl").read_text().splitlines()]
    return place / "out", {line["path"].rpartition("/")[2]: line for line in lines}


def test_every_file_is_used_whole(converted):
    out, lines = converted
    assert {name: (line["status"], line["reason"], line["seconds"]) for name, line in lines.items()} == dict.fromkeys(
        MADE, ("used", "", float(SECONDS))
    )
    frames = {record["clip_id"]: record["frames"] for record in RecordSource(out, "train")}
    for name in MADE:
        true = MOMENTS_OF.get(name, MOMENTS)
        np.testing.assert_allclose(flashes_in(frames[name.partition(".")[0]]), true, atol=0.02, err_msg=name)


def test_the_copy_that_is_kept_is_on_the_clock(converted):
    for name in MADE:
        path = converted[0] / "clips" / f"{name.partition('.')[0]}.mp4"
        true = MOMENTS_OF.get(name, MOMENTS)
        picture, sound = read_picture(path, (16, 16)), read_sound(path, 32_000)
        assert len(picture) == 25 * SECONDS and len(sound) == pytest.approx(32_000 * SECONDS, abs=2), name
        np.testing.assert_allclose(flashes_in(picture), true, atol=0.02, err_msg=name)
        np.testing.assert_allclose(beeps_in(sound, 32_000, np.abs(sound).max() / 2), true, atol=0.02, err_msg=name)


def test_what_was_wrong_stands_in_the_manifest(converted):
    told = {name: line["damage"] for name, line in converted[1].items() if "damage" in line}
    assert set(told) == DAMAGED
    assert "start anew" in told["joined.ts"][0] and "cancel each other" in told["phase.mkv"][0]
    assert "1 of 189 packets of its sound (aac)" in told["aac.mp4"][0] and "2.47 to 2.50 s" in told["aac.mp4"][0]
    assert "1 of 100 packets of its picture (h264)" in told["h264.mp4"][0] and "2.48 to 2.52 s" in told["h264.mp4"][0]


@pytest.mark.parametrize("field", ["segment_seconds", "limits.max_seconds", "test_percent"])
@pytest.mark.parametrize("value", ["nan", "1e999", "-1e999"])
def test_numbers_of_the_config_are_finite(field, value):
    with pytest.raises(UserError, match=field):
        load_config(str(BASE_CONFIG), [(field, value)])


def test_a_sound_of_its_own_is_read_like_any_other(tmp_path):
    """Two recordings in one Ogg file, as the sound of a video: both are heard, where they are."""
    write_flashes(tmp_path / "a.mkv", constant_times(25, 4), codec="pcm_s16le")
    ffmpeg("-i", tmp_path / "a.mkv", "-t", 2, "-vn", "-c:a", "libvorbis", tmp_path / "part.ogg")
    (tmp_path / "a.ogg").write_bytes((tmp_path / "part.ogg").read_bytes() * 2)
    join(tmp_path / "a.mkv", tmp_path / "a.ogg", tmp_path / "joined.mov")
    sound = read_sound(tmp_path / "joined.mov", 32_000)
    np.testing.assert_allclose(beeps_in(sound, 32_000), [1, 3], atol=0.02)
    assert len(read_picture(tmp_path / "joined.mov", (16, 16))) == 100
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mkv", "a.ogg", "joined.mov", "part.ogg"]
