"""The measures, on sounds whose answers are known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors.numpy import load_file

from data_prep.__main__ import main
from data_prep.codec.measure import (
    codebook_use,
    detect_onsets,
    load_model,
    log_mel,
    moments,
    note_pitches,
    onset_f,
    pitch_told,
    read_pitch,
    round_trip,
    si_sdr,
    tokens_in_notes,
)
from data_prep.codec.sound import TRAINING_SHARE, music_sound, recital_sound
from data_prep.recital.score import INSTRUMENTS
from mvgen.errors import UserError


def test_codebook_use_by_hand():
    codes = np.array([[0, 0, 0, 0], [0, 1, 2, 3]])
    first, second = codebook_use(codes, entries=8)
    assert first == {"used": 1 / 8, "perplexity": pytest.approx(1.0)}
    assert second == {"used": 1 / 2, "perplexity": pytest.approx(4.0)}


def test_si_sdr_by_hand():
    true = np.array([1.0, -1.0, 1.0, -1.0])
    noise = np.array([1.0, 1.0, -1.0, -1.0])  # orthogonal to it and as large
    assert si_sdr(true + 0.1 * noise, true) == pytest.approx(20.0)
    assert si_sdr(3 * (true + 0.1 * noise), true) == pytest.approx(20.0)
    assert np.isnan(si_sdr(noise, np.zeros(4)))


def test_log_mel_of_a_louder_sound_is_higher_by_its_gain():
    sound = 0.1 * np.random.default_rng(0).standard_normal(32_000).astype(np.float32)
    np.testing.assert_allclose(log_mel(2 * sound) - log_mel(sound), 20 * np.log10(2), atol=1e-3)


def test_moments_join_chords():
    notes = np.array([[1.0, 2, 60], [0.5, 1, 62], [1.01, 2, 64], [1.2, 2, 65]])
    np.testing.assert_allclose(moments(notes), [0.5, 1.0, 1.2])
    assert len(moments(np.zeros((0, 3)))) == 0


def test_onset_f_by_hand():
    assert onset_f(np.array([1.0, 2.0]), np.array([1.02, 3.0])) == pytest.approx(0.5)
    assert np.isnan(onset_f(np.zeros(0), np.zeros(0)))


@pytest.mark.parametrize("instrument", ["keyboard", "strings"])
def test_pitch_and_onsets_are_read_from_untouched_recital(instrument):
    """The measure itself: on sound that no codec has touched it must be nearly perfect."""
    right = total = 0
    scores = []
    for sound in recital_sound(5, 4, (instrument,), voices=1):
        pitches = note_pitches(sound.samples, sound.notes)
        right, total = right + (pitches[:, 0] == pitches[:, 1]).sum(), total + len(pitches)
        scores.append(onset_f(moments(sound.notes), detect_onsets(sound.samples)))
    assert total > 20 and right / total >= 0.98
    assert np.mean(scores) >= 0.9


def test_silence_has_no_pitch():
    assert read_pitch(np.zeros(32_000, np.float32), 0.1, 0.5) == 0


def test_pitch_told_by_one_code():
    rng = np.random.default_rng(0)
    pitches = [rng.integers(50, 60, 200) for _ in range(4)]
    told = [np.stack([2 * p, p], axis=1) for p in pitches]
    untold = [np.stack([rng.integers(0, 128, 200), p], axis=1) for p in pitches]
    assert pitch_told(told, 128)[0] == 1
    right, chance = pitch_told(untold, 128)
    assert right < 0.25 and 0.05 < chance < 0.2
    assert np.isnan(pitch_told(told[:1], 128)).all() and np.isnan(pitch_told([], 128)).all()


def test_tokens_in_notes_leave_out_what_is_cut():
    notes = np.array([[0.05, 0.5, 60], [0.11, 0.15, 62]])
    inside = tokens_in_notes(np.zeros((4, 100), int), notes)
    np.testing.assert_array_equal(inside, [[3, 60], [4, 60], [6, 62]])


def test_packaged_codec_keeps_notes_and_its_first_code_has_no_phase():
    """Not the figures of docs/codec.md, only that the weights in the package are the trained ones."""
    model = load_model("encodec_tiny")
    right = total = 0
    # Of the tokens of one pitch in a clip, how many have its commonest code; a list for each codebook.
    alike: list[list[float]] = [[], [], [], []]
    for sound in recital_sound(6, 2, ("keyboard", "strings"), voices=1):
        codes, made = round_trip(model, sound.samples)
        assert codes.shape == (4, 300) and made.shape == sound.samples.shape
        pitches = note_pitches(made, sound.notes)
        right, total = right + (pitches[:, 0] == pitches[:, 1]).sum(), total + len(pitches)
        inside = tokens_in_notes(codes, sound.notes)
        for level, shares in zip(codes, alike, strict=True):
            for pitch in np.unique(inside[:, 1]):
                of_pitch = level[inside[inside[:, 1] == pitch, 0]]
                shares.append(np.bincount(of_pitch).max() / len(of_pitch))
    assert right / total >= 0.9
    first, *others = [np.mean(shares) for shares in alike]
    assert first > 0.5 and max(others) < 0.4


def test_packaged_codec_keeps_soft_attacks_over_what_still_sounds():
    model = load_model("encodec_tiny")
    scores = [onset_f(moments(sound.notes), detect_onsets(round_trip(model, sound.samples)[1]))
              for sound in recital_sound(7, 8, ("keyboard",))]  # fmt: skip
    assert np.mean(scores) >= 0.92


def test_music_is_split_in_time(tmp_path):
    tone = 0.1 * np.sin(np.arange(44_100 * 8) / 20)
    soundfile.write(tmp_path / "a.wav", np.stack([tone, tone], 1), 44_100)
    soundfile.write(tmp_path / "vibe_ace.ogg", tone, 44_100)
    train, held_out = music_sound(str(tmp_path), "train"), music_sound(str(tmp_path), "held-out")
    assert [sound.name for sound in train] == ["a"]
    assert [sound.name for sound in held_out] == ["a", "vibe_ace"]
    assert len(train[0].samples) == round(TRAINING_SHARE * 8 * 32_000)
    assert len(train[0].samples) + len(held_out[0].samples) == 8 * 32_000


def test_bad_music_folder_is_one_clear_line(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        music_sound(str(tmp_path / "none"), "train")
    with pytest.raises(UserError, match="no sound file"):
        music_sound(str(tmp_path), "train")
    (tmp_path / "bad.wav").write_text("not a sound")
    with pytest.raises(UserError, match="bad.wav"):
        music_sound(str(tmp_path), "train")


def test_commands_train_and_measure(tmp_path, capsys):
    codec = str(tmp_path / "codec")
    small = ["--filters", "4", "--hidden", "16", "--batch", "4", "--crop-seconds", "0.2", "--clips", "1"]
    small += ["--content", "4"]
    assert main(["codec-train", "--out", codec, "--steps", "30", "--free-steps", "20", *small]) == 0
    finished = str(tmp_path / "finished")
    assert main(["codec-train", "--out", finished, "--finish", f"{codec}/work", "--steps", "5", *small]) == 0
    first, last = (load_file(Path(folder) / "model.safetensors") for folder in (codec, finished))
    changed = {name.split(".")[0] for name in first if not np.array_equal(first[name], last[name])}
    assert changed == {"decoder"}
    assert main(["codec-measure", "--codec", codec, "--clips", "2", "--json", str(tmp_path / "figures.json")]) == 0
    assert "| codebook |" in capsys.readouterr().out
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert set(figures["kinds"]) == set(INSTRUMENTS)
    assert len(figures["codebooks"]["recital"]) == 4
    assert 0 <= figures["kinds"]["keyboard"]["onset_f"] <= 1


def test_bad_options_are_refused(tmp_path):
    for wrong in (["--clips", "0"], ["--crop-seconds", "0.33"], ["--steps", "10"], ["--free-steps", "2"]):
        with pytest.raises(UserError):
            main(["codec-train", "--out", str(tmp_path), *wrong])
    with pytest.raises(UserError, match="not allowed with"):
        main(["codec-train", "--out", str(tmp_path), "--start", "one", "--finish", "other"])
    with pytest.raises(UserError, match="nowhere"):
        main(["codec-measure", "--codec", str(tmp_path / "nowhere"), "--clips", "1"])
