"""Stretches of any length in the coordinated space, retrieval and sync on signals whose answer is known."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mvgen import retrieve, sync
from mvgen.data.loader import window_frames
from mvgen.data.records import RecordSpec
from mvgen.errors import UserError
from mvgen.evaluation.synchronisation import moved
from mvgen.inference import loaded as loaded_checkpoint
from mvgen.inference import retrieval, synchronisation
from mvgen.inference.batch import coordinates
from mvgen.inference.embedding import Space, fits, owners, window_starts
from mvgen.inference.inputs import load_codec
from mvgen.media import write_video, write_wav
from mvgen.training import checkpoint
from tests.mvgen.synthetic import preset, write_checkpoint, write_records

SPEC = RecordSpec(codebooks=4, codebook_size=512, frame_size=(16, 16), flow_size=(4, 4), codec="encodec_tiny")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a fresh model of the debug preset."""
    return write_checkpoint(tmp_path_factory.mktemp("run"), preset("debug", ""), SPEC)


@pytest.fixture(scope="module")
def loaded(workdir: Path) -> tuple:
    """Model, configuration and spec of the checkpoint, and the codec: read and compiled once."""
    found = checkpoint.load_model(workdir)
    return found, load_codec(found[2])


@pytest.fixture(autouse=True)
def read_once(loaded: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaded_checkpoint, "load_model", lambda path: loaded[0])
    monkeypatch.setattr(loaded_checkpoint, "load_codec", lambda spec: loaded[1])


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A filmed performance of 1 s."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("media") / "film.mp4"
    frames = rng.integers(0, 255, (25, 16, 16, 3), dtype=np.uint8).repeat(3, axis=1).repeat(3, axis=2)
    write_video(path, frames, (0.2 * rng.standard_normal(44100)).astype(np.float32), 44100)
    return path


def unit(rng: np.random.Generator, frames: int, dim: int = 16) -> np.ndarray:
    z = rng.standard_normal((frames, dim))
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def test_every_frame_is_taken_from_the_window_in_whose_middle_it_lies_most() -> None:
    starts = window_starts(27, 10)
    assert starts.tolist() == [0, 5, 10, 15, 17]
    number, place = owners(starts, 10, 27)
    assert (starts[number] + place).tolist() == list(range(27))
    off = np.abs(place - 4.5)
    for frame in range(27):
        possible = [abs(frame - start - 4.5) for start in starts if start <= frame < start + 10]
        assert off[frame] == min(possible)
    with pytest.raises(ValueError, match="shorter than a window"):
        window_starts(9, 10)


@pytest.mark.parametrize(("frames", "others"), [(12, 12), (30, 12), (12, 31)])
def test_fits_are_means_of_dot_products_at_each_distance(frames: int, others: int) -> None:
    rng = np.random.default_rng(1)
    video, audio = unit(rng, frames), unit(rng, others)
    distances, scores = fits(video, audio, least=5)
    expected = {}
    for d in range(-frames + 1, others):
        pairs = [(t, t + d) for t in range(frames) if 0 <= t + d < others]
        if len(pairs) >= 5:
            expected[d] = np.mean([video[t] @ audio[u] for t, u in pairs])
    assert distances.tolist() == list(expected)
    np.testing.assert_allclose(scores, list(expected.values()), atol=1e-9)
    assert len(fits(video[:4], audio, least=5)[0]) == 0


def test_a_stretch_is_found_where_it_was_cut() -> None:
    rng = np.random.default_rng(2)
    whole = unit(rng, 200).astype(np.float16)
    clips = [{"clip_id": name, "split": "test", "labels": "keyboard", "first": first, "last": first + 50}
             for name, first in (("a", 0), ("b", 50), ("c", 100), ("d", 150))]  # fmt: skip
    index = retrieval.Index(np.zeros_like(whole), whole, clips)
    space = SimpleNamespace(window=10, belongs=lambda score: score / 2)
    found = retrieval.search(index, space, unit(rng, 60), "video", 3)  # type: ignore[arg-type]
    assert len(found) == 3 and found[0].score >= found[1].score >= found[2].score
    noisy = whole[110:130] + 0.1 * rng.standard_normal((20, 16))
    best = retrieval.search(index, space, noisy, "video", 2)[0]  # type: ignore[arg-type]
    assert (best.clip_id, best.start_seconds, best.end_seconds, best.query_start_seconds) == ("c", 0.4, 1.2, 0.0)
    assert best.belongs == best.score / 2
    # A query that begins before the record: its 15th frame is the record's first.
    before = np.concatenate([unit(rng, 15), np.asarray(whole[50:80], float)])
    best = retrieval.search(index, space, before, "video", 1)[0]  # type: ignore[arg-type]
    assert (best.clip_id, best.start_seconds, best.query_start_seconds) == ("b", 0.0, 0.6)


def test_windows_of_the_trained_length_are_seen_as_in_training(loaded: tuple) -> None:
    model, config, _ = loaded[0]
    window = window_frames(config.data.window_seconds)
    rng = np.random.default_rng(3)
    tokens = rng.integers(0, 512, (2 * window, 4))
    frames = rng.integers(0, 255, (window, 16, 16, 3), dtype=np.uint8)
    flow = rng.standard_normal((window, 4, 4, 2)).astype(np.float16)
    z_video, z_audio = coordinates(model, {"frames": frames[None], "flow": flow[None]}, tokens[None], window)
    space = Space(model, window)
    np.testing.assert_allclose(space.of_video({"frames": frames, "flow": flow}), z_video[0], atol=1e-5)
    np.testing.assert_allclose(space.of_tokens(tokens), z_audio[0], atol=1e-5)
    longer = space.of_tokens(np.concatenate([tokens, tokens]))
    assert longer.shape == (2 * window, 8)
    np.testing.assert_allclose(np.linalg.norm(longer, axis=1), 1, atol=1e-3)


def test_retrieval_from_files_and_its_index(workdir: Path, loaded: tuple, film: Path, tmp_path: Path, capsys) -> None:
    records = write_records(tmp_path / "records", {"train": [20, 12], "test": [30, 4]}, SPEC)
    common = ["--checkpoint", str(workdir), "--records", str(records)]
    retrieve.main([*common, "--video", str(film), "--json", str(tmp_path / "a.json"), "--top", "2"])
    answer = json.loads((tmp_path / "a.json").read_text())
    assert answer["records"] == 3 and len(answer["found"]) == 2  # one is shorter than a window
    shown = capsys.readouterr().out.strip().splitlines()
    assert len(shown) == 3 and answer["found"][0]["clip_id"] in shown[1]
    (kept,) = (tmp_path / "records.index").iterdir()
    made = {path.name: path.stat().st_mtime_ns for path in kept.iterdir()}
    retrieve.main([*common, "--audio", str(film), "--json", str(tmp_path / "b.json")])
    assert {path.name: path.stat().st_mtime_ns for path in kept.iterdir()} == made  # not made again
    assert len(json.loads((tmp_path / "b.json").read_text())["found"]) == 3
    # The video of the sound and the sound of the video: in the index, a record finds itself.
    model, config, spec = loaded[0]
    index = retrieval.open_index(
        model, window_frames(config.data.window_seconds), spec, str(records), tmp_path / "records.index"
    )
    own = retrieval.search(index, Space(model, 10), np.asarray(index.audio[:20]), "video", 1)[0]
    assert own.clip_id == index.clips[0]["clip_id"] and own.start_seconds == 0 and own.score > 0.99
    write_records(tmp_path / "records", {"train": [20, 12], "test": [30, 14]}, SPEC)
    retrieve.main([*common, "--audio", str(film), "--json", str(tmp_path / "b.json")])
    assert len(json.loads((tmp_path / "b.json").read_text())["found"]) == 4  # other records, another index


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--records", "{nothing}", "--video", "{film}"], "not a folder of records"),
        (["--records", "{records}", "--video", "missing.mp4"], "missing.mp4"),
        (["--records", "{records}", "--audio", "{short}"], "windows of 0.4 s"),
        (["--records", "{records}", "--video", "{film}", "--top", "0"], "--top"),
        (["--records", "{records}", "--video", "{film}", "--json", "no/where.json"], "does not exist"),
        (["--records", "{other}", "--video", "{film}"], "was trained on"),
    ],
)
def test_bad_queries_are_named(workdir: Path, film: Path, tmp_path: Path, arguments: list[str], said: str) -> None:
    records = write_records(tmp_path / "records", {"train": [20]}, SPEC)
    other = write_records(
        tmp_path / "other", {"train": [20]}, RecordSpec(codebooks=4, codebook_size=64, frame_size=(16, 16))
    )
    write_wav(tmp_path / "short.wav", 0.1 * np.ones(8000, np.float32), 32000)
    places = {"records": records, "film": film, "short": tmp_path / "short.wav", "nothing": tmp_path, "other": other}
    with pytest.raises(UserError, match=said):
        retrieve.main(["--checkpoint", str(workdir), *[word.format(**places) for word in arguments]])
    assert not (tmp_path / "records.index").exists()


@pytest.mark.parametrize("late", [-13, -4, 0, 1, 7, 30])
def test_a_known_lag_is_found_to_a_quarter_of_a_frame(late: int) -> None:
    """The film at quarter frames is a smooth walk; the sound is the same walk, ``late`` quarters later."""
    rng = np.random.default_rng(4)
    steps = rng.standard_normal((4 * 80 + 200, 16)).cumsum(axis=0)
    smooth = np.stack([np.convolve(column, np.hanning(9), "same") for column in (steps - steps.mean(0)).T], axis=1)
    smooth = np.diff(smooth, axis=0)
    walk = smooth / np.linalg.norm(smooth, axis=1, keepdims=True)
    at = 100 + 4 * np.arange(80)
    video = walk[at]
    phases = np.stack([walk[at - late - phase] for phase in range(synchronisation.PHASES)])
    shifts = synchronisation.shifts_of(0.4)
    votes = synchronisation.vote(synchronisation.similarities(video, phases, shifts), 20)
    found = synchronisation.estimate(votes, shifts, scale=20.0)
    assert found.votes == 4 and abs(found.milliseconds - 10 * late) <= 5
    assert found.confidence > 0.9 and found.agreeing == 1


def test_nothing_in_common_is_not_believed() -> None:
    rng = np.random.default_rng(5)
    shifts = synchronisation.shifts_of(0.4)
    votes = synchronisation.vote(synchronisation.similarities(unit(rng, 80), np.stack([unit(rng, 80)] * 4), shifts), 20)
    assert synchronisation.estimate(votes, shifts, scale=5.0).confidence < 0.5
    flat = synchronisation.estimate(np.zeros((4, len(shifts))), shifts, scale=20.0)
    np.testing.assert_allclose(flat.confidence, 5 / 81)  # the first shift and its four neighbours to the right


def test_sounds_are_moved_to_the_sample() -> None:
    sound = np.arange(1, 6, dtype=np.float32)
    assert moved(sound, 2).tolist() == [0, 0, 1, 2, 3]
    assert moved(sound, -2).tolist() == [3, 4, 5, 0, 0]
    assert moved(sound, 0).tolist() == sound.tolist()


def test_sync_of_files(workdir: Path, film: Path, tmp_path: Path, capsys) -> None:
    sync.main(
        ["--checkpoint", str(workdir), "--video", str(film), "--reach", "0.2", "--json", str(tmp_path / "s.json")]
    )
    answer = json.loads((tmp_path / "s.json").read_text())
    assert -210 <= answer["milliseconds"] <= 210 and 0 <= answer["confidence"] <= 1
    assert "confidence" in capsys.readouterr().out
    sync.main(["--checkpoint", str(workdir), "--prove", str(film.parent), "--reach", "0.2", "--shifts", "3",
               "--json", str(tmp_path / "p.json")])  # fmt: skip
    proof = json.loads((tmp_path / "p.json").read_text())
    assert proof["cases"] == 3 and all(abs(case["true_ms"]) <= 160 for case in proof["each"])
    assert "chance" in capsys.readouterr().out
    write_video(tmp_path / "mute.mp4", np.zeros((25, 16, 16, 3), np.uint8), None, 44100)
    write_video(tmp_path / "still.mp4", np.zeros((25, 16, 16, 3), np.uint8), np.zeros(44100, np.float32), 44100)
    for name, said in (("mute.mp4", "no sound"), ("still.mp4", "silent"), ("gone.mp4", "gone.mp4")):
        with pytest.raises(UserError, match=said):
            sync.main(["--checkpoint", str(workdir), "--video", str(tmp_path / name)])
    with pytest.raises(UserError, match="windows of 0.4 s"):
        sync.main(["--checkpoint", str(workdir), "--video", str(film), "--seconds", "0.2"])
    with pytest.raises(UserError, match="no videos"):
        sync.main(["--checkpoint", str(workdir), "--prove", str(workdir)])
