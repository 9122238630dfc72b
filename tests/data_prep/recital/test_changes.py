"""Test sets with one thing changed: plain performances stay as they are, and each change is what it says alone."""

import argparse
import hashlib
import json
from dataclasses import replace
from itertools import pairwise

import av
import numpy as np
import pytest

from data_prep.recital import command
from data_prep.recital.changes import (
    CHANGES,
    FAST,
    PLAIN_TEMPO,
    SLOW,
    UNSEEN_PROGRAMS,
    likeness,
    shown_instead,
    unseen_tempo,
)
from data_prep.recital.clip import manifest_line, recorded, write_clip
from data_prep.recital.compose import compose
from data_prep.recital.film import camera_knots, film, places
from data_prep.recital.film.camera import SHIFT, TURN, ZOOM, camera_at
from data_prep.recital.make import record_of
from data_prep.recital.play import play
from data_prep.recital.score import INSTRUMENTS, PROGRAMS, Note
from mvgen.data.records import DESCRIPTION_FILE, RecordSource
from mvgen.errors import UserError
from mvgen.evaluation.metrics.onsets import moments, onset_agreement
from mvgen.media.onsets import onset_strength, pick_onsets

MANY = range(12)


def scores(change, seconds=6.0, indices=MANY):
    return [compose(100, i, INSTRUMENTS[i % 3], seconds, change=change) for i in indices]


def test_plain_performances_are_what_they_were_without_changes():
    told = [json.dumps([score.notes, score.program, score.tempo, score.voices]) for score in scores("")]
    seen = [np.round(camera_knots(score)[:, :7], 9).tolist() for score in scores("")]
    digest = hashlib.sha256(json.dumps([told, seen]).encode()).hexdigest()
    assert digest[:16] == "6b0e38df90633b53"
    assert all("change" not in manifest_line(score, None) for score in scores(""))


@pytest.mark.parametrize("change", CHANGES)
def test_the_same_numbers_give_the_same_performance_and_another_than_plain(change):
    assert scores(change) == scores(change)
    for plain, changed in zip(scores(""), scores(change), strict=True):
        assert changed.clip_id == plain.clip_id and manifest_line(changed, None)["change"] == change
        # All that is drawn whatever the notes are.
        assert (changed.beats_per_bar, changed.key, changed.voices) == (plain.beats_per_bar, plain.key, plain.voices)
        if change != "tempo":
            assert (changed.notes, changed.tempo) == (plain.notes, plain.tempo)
        if change != "timbre":
            assert changed.program == plain.program
        if change != "camera":
            np.testing.assert_array_equal(camera_knots(changed), camera_knots(plain))


def test_the_camera_stands_where_it_never_does_else_and_all_that_plays_stays_in_sight():
    for score in scores("camera", indices=range(60)):
        knots = camera_knots(score)
        a, b, tx, c, d, ty = knots[:, 1:7].T
        zoom, turn = np.hypot(a, b), np.rad2deg(np.arctan2(c, a))
        x, y = tx - 0.5 + (a + b) / 2, ty - 0.5 + (c + d) / 2
        drift = 1e-9 + np.array([0.008, 0.4, 0.006])  # around each place, in plain performances as in these
        assert zoom.max() < ZOOM[0] - drift[0]
        assert np.abs(turn).min() > TURN + drift[1]
        assert min(np.abs(x).min(), np.abs(y).min()) > SHIFT + drift[2] / 2
        corners = np.array([[(x0, y0), (x1, y0), (x0, y1), (x1, y1)] for _, x0, y0, x1, y1 in places(score)])
        ones = np.ones((*corners.shape[:2], 1))
        at = np.concatenate([corners, ones], 2).reshape(-1, 3) @ np.swapaxes(camera_at(knots, knots[:, 0]), 1, 2)
        assert np.all(knots[:, 7:] == 0), "on its stand it looks straight at the scene"
        at = at[..., :2]
        assert 0 <= at.min() and at.max() <= 1


def test_from_afar_the_picture_has_no_seam():
    score = replace(compose(5, 4, "strings", change="camera"), notes=())
    picture = film(score, np.array([1.0]), (180, 320))[0].astype(int)
    # Beyond the margin the edge would be drawn out: rows or columns that do not differ but for the film's grain.
    assert np.abs(np.diff(picture[:, :8], axis=1)).mean() < 30 and picture.min(axis=(0, 1)).max() > 0


@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_an_unseen_timbre_is_heard_and_not_seen(instrument):
    assert set(UNSEEN_PROGRAMS[instrument]) == set(PROGRAMS[instrument])
    assert not set(UNSEEN_PROGRAMS[instrument].values()) & set(PROGRAMS[instrument])
    heard, times = [], np.array([0.5, 2.0])
    for seed in range(5):
        plain, changed = (compose(seed, 0, instrument, change=change) for change in ("", "timbre"))
        assert changed.program == UNSEEN_PROGRAMS[instrument][plain.program]
        assert likeness(instrument, changed.program) == changed.likeness == plain.likeness == plain.program
        here, there = play(plain, 22_050), play(changed, 22_050)
        assert 0.4 < np.sqrt(np.mean(there**2) / np.mean(here**2)) < 2.5 and not np.array_equal(here, there)
        onsets = moments(np.array([note.onset for note in changed.notes]))
        heard.append(onset_agreement(onsets, pick_onsets(onset_strength(there)))["recall"])
    np.testing.assert_array_equal(film(plain, times, (64, 64)), film(changed, times, (64, 64)))
    assert np.mean(heard) > 0.95, heard


@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_an_unseen_timbre_begins_with_its_note(instrument):
    for program in UNSEEN_PROGRAMS[instrument].values():
        for pitch in (36, 38, 42, 45, 49) if instrument == "drums" else (48, 60, 72):
            score = replace(compose(0, 0, instrument, 2.0), program=program, notes=(Note(0.7, 1.4, pitch, 90),))
            sound = play(score, 44_100)
            onset = round(0.7 * 44_100)
            assert np.abs(sound[: onset - 1]).max() < 1e-4
            blocks = np.sqrt(np.mean(sound[onset : onset + 22_050].reshape(-1, 245) ** 2, axis=1))  # 5.6 ms
            assert np.argmax(blocks > 0.3 * blocks.max()) * 245 / 44_100 <= 0.03, (program, pitch)


def test_an_unseen_tempo_is_slower_or_faster_than_any():
    tempi = [score.tempo for score in scores("tempo", indices=range(60))]
    for tempo in tempi:
        assert SLOW[0] <= tempo <= SLOW[1] or FAST[0] <= tempo <= FAST[1]
    assert 0.3 < np.mean(np.array(tempi) < PLAIN_TEMPO[0]) < 0.7
    assert [unseen_tempo(t) for t in (72.0, 98.9, 99.0, 126.0)] == [50.0, 67.9, 132.0, 160.0]
    for plain, changed in zip(scores(""), scores("tempo"), strict=True):
        faster, more = changed.tempo / plain.tempo, len(changed.notes) / len(plain.notes)
        assert (faster > 1) == (plain.tempo >= 99) and (more > 1) == (faster > 1) or abs(more - 1) < 0.2


def test_a_tenth_of_the_frames_show_the_one_before():
    times = np.arange(301) / 25
    shown = shown_instead(times, np.random.default_rng(0))
    late = np.round((times - shown) * 25).astype(int)
    assert np.sum(late > 0) == 30 and late[0] == 0 and set(shown) <= set(times)
    # Each dropped frame shows the same as the one before it, however many are dropped in a row.
    assert all(late[i] in (0, late[i - 1] + 1) for i in range(1, len(late))) and late.max() < 5
    np.testing.assert_array_equal(shown_instead(times[:1], np.random.default_rng(0)), times[:1])


def test_dropped_frames_are_repeated_in_films_and_in_records(tmp_path):
    plain, changed = (compose(3, 2, "drums", 2.0, change=change) for change in ("", "dropped"))
    for score, folder in ((plain, "plain"), (changed, "changed")):
        (tmp_path / folder).mkdir()
        line = write_clip(score, tmp_path / folder)
    assert line["change"] == "dropped"
    steps = []
    for folder in ("plain", "changed"):
        with av.open(tmp_path / folder / line["path"]) as container:
            frames = [frame.to_ndarray(format="gray").astype(int) for frame in container.decode(video=0)]
        steps.append(np.array([np.abs(after - before).mean() for before, after in pairwise(frames)]))
    times = (np.arange(len(frames)) + 0.5) / line["frame_rate"]
    lost = recorded(changed, times)[1:] != times[1:]
    assert lost.sum() == round(0.1 * (len(frames) - 1))
    # A repeated frame leaves the encoder next to nothing to change.
    assert np.median(steps[1][lost]) < 0.1 * np.median(steps[0][lost])
    assert np.median(steps[1][~lost]) > 0.8 * np.median(steps[0][~lost])
    (_, record), (_, before) = record_of(changed, "encodec_tiny"), record_of(plain, "encodec_tiny")
    repeats = np.all(record["frames"][1:] == record["frames"][:-1], axis=(1, 2, 3))
    assert repeats.sum() == round(0.1 * 49)
    assert not np.all(before["frames"][1:] == before["frames"][:-1], axis=(1, 2, 3)).any()
    assert np.abs(record["flow"][1:][repeats]).max() < 0.05
    np.testing.assert_array_equal(record["tokens"], before["tokens"])


def test_the_command_makes_a_changed_set(tmp_path):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    options = ["--clips", "2", "--seconds", "1", "--workers", "1", "--records", "--split", "test", "--change", "tempo"]
    assert command.run(parser.parse_args(["--out", str(tmp_path / "out"), *options])) == 0
    source = RecordSource(tmp_path / "out", "test")
    lines = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    assert len(source) == 2 and [line["change"] for line in lines] == ["tempo"] * 2
    assert '"change": "tempo"' in (tmp_path / "out" / DESCRIPTION_FILE).read_text()
    with pytest.raises(SystemExit):
        parser.parse_args(["--out", str(tmp_path / "out"), "--change", "smell"])
    with pytest.raises(UserError, match="no change 'smell'; there are camera, timbre, tempo, dropped, lamps"):
        compose(0, 0, "drums", change="smell")
