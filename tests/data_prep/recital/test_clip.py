"""Clips as files: they decode to what was performed, at the stated rates, and are the same every time."""

from fractions import Fraction

import av
import numpy as np
import pretty_midi
import pytest

from data_prep.recital.clip import (
    FRAME_RATES,
    SAMPLE_RATES,
    SIZES,
    Medium,
    medium_of,
    score_as_midi,
    write_clip,
    write_mp4,
)
from data_prep.recital.compose import compose
from data_prep.recital.film import film
from data_prep.recital.play import play
from data_prep.recital.score import INSTRUMENTS
from mvgen.clock import frame_centres
from mvgen.media import probe, read_picture, read_sound
from tests.mvgen.media.litter import litter_memory


def test_media_vary_over_everything_promised():
    media = [medium_of(compose(0, index, "drums", 1.0)) for index in range(150)]
    assert {medium.frame_rate for medium in media} == set(FRAME_RATES)
    assert {medium.sample_rate for medium in media} == set(SAMPLE_RATES)
    assert {medium.size for medium in media} == set(SIZES)
    assert {medium.channels for medium in media} == {1, 2}


@pytest.mark.parametrize(("index", "instrument"), list(enumerate(INSTRUMENTS)))
def test_a_clip_decodes_to_the_performance(tmp_path, index, instrument):
    score = compose(21, index, instrument, 3.0)
    line = write_clip(score, tmp_path)
    path = tmp_path / line["path"]
    info = probe(path)
    assert (info.height, info.width) == tuple(line["size"])
    assert abs(float(info.frame_rate) - line["frame_rate"]) < 1e-3
    assert info.sample_rate == line["sample_rate"]
    assert 0 <= info.duration - 3.0 < 0.05
    sound = read_sound(path, 32_000)
    played = play(score, 32_000)
    spectrum = np.fft.irfft(np.fft.rfft(sound, 2**18) * np.conj(np.fft.rfft(played, 2**18)))
    lag = int(np.argmax(spectrum))
    assert min(lag, 2**18 - lag) <= 4, "the sound in the file lies where it was played"
    frames = read_picture(path, (64, 64))[:75]
    filmed = film(score, frame_centres(75).astype(float), (128, 128)).reshape(75, 64, 2, 64, 2, 3).mean((2, 4))
    assert len(frames) == 75
    assert np.abs(frames - filmed).mean() < 6


def test_frame_rates_are_exact_fractions(tmp_path):
    score = compose(0, 0, "drums", 1.0)
    for rate in FRAME_RATES:
        medium = Medium(rate, 22_050, 1, (32, 32))
        count = 12
        sound = np.zeros((round(count / rate * 22_050), 1), np.float32)
        path = tmp_path / "clip.mp4"
        write_mp4(path, film(score, np.arange(count) / float(rate), (32, 32)), medium, sound)
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert stream.average_rate == rate
            times = [frame.pts * stream.time_base for frame in container.decode(stream)]
        assert times == [Fraction(number) / rate for number in range(count)]


def test_same_performance_same_bytes_and_nothing_else_is_left(tmp_path):
    score = compose(5, 4, "strings", 2.0)
    made = set()
    for number in range(8):
        litter_memory(seed=number)
        folder = tmp_path / str(number)
        folder.mkdir()
        write_clip(score, folder)
        names = sorted(path.name for path in folder.iterdir())
        assert names == ["strings-00004.mid", "strings-00004.mp4"]
        made.add(tuple((folder / name).read_bytes() for name in names))
    assert len(made) == 1


def test_midi_holds_the_notes(tmp_path):
    for index, instrument in enumerate(INSTRUMENTS):
        score = compose(5, index, instrument, 6.0)
        score_as_midi(score).write(str(tmp_path / "score.mid"))
        midi = pretty_midi.PrettyMIDI(str(tmp_path / "score.mid"))
        read = sorted((n.start, n.pitch, n.velocity, n.end) for track in midi.instruments for n in track.notes)
        wrote = sorted((on, pitch, velocity, off) for on, off, pitch, velocity, _ in score.notes)
        assert [row[1:3] for row in read] == [row[1:3] for row in wrote]
        assert np.abs(np.array(read)[:, [0, 3]] - np.array(wrote)[:, [0, 3]]).max() < 1e-3
        assert all(track.is_drum == (instrument == "drums") for track in midi.instruments)
        assert len(midi.instruments) == len({note.voice for note in score.notes})
