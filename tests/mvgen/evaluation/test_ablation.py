"""The ablation: what is tried, how it is measured, that it goes on where it stopped, and what its page says."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from configs.ablation import get_config
from mvgen.data.records import RecordSource, RecordSpec
from mvgen.errors import UserError
from mvgen.evaluation.ablation import measures, run
from mvgen.evaluation.ablation.page import BEGIN, END, write_page
from mvgen.evaluation.ablation.variants import INPUTS, QUESTIONS, variants
from mvgen.evaluation.metrics.clips import Clip
from mvgen.models.config import MVGenConfig
from mvgen.training import loop
from mvgen.training.loop import check_config
from tests.mvgen.synthetic import CONFIGS, SPEC, write_records

FULL = RecordSpec(codebooks=4, codebook_size=64, frame_size=(64, 64), flow_size=(16, 16), semantic_dim=8)


def test_every_variant_is_a_model_and_differs_from_the_base() -> None:
    base = get_config()
    tried = variants(base, FULL)
    assert tried[0].name == "base" and not tried[0].changes
    assert len({variant.name for variant in tried}) == len(tried)
    assert {variant.question for variant in tried} == set(QUESTIONS)
    seen = set()
    for variant in tried:
        changed = variant.apply(base)
        check = changed.copy_and_resolve_references()
        check.data.path = "records"
        check_config(check)
        MVGenConfig.from_config(changed, FULL)
        seen.add(json.dumps(changed.to_dict(), sort_keys=True))
        flat = json.dumps(base.to_dict())
        assert variant.name == "base" or json.dumps(changed.to_dict()) != flat
    assert len(seen) == len(tried)  # no two are the same
    assert json.dumps(get_config().to_dict()) == json.dumps(base.to_dict())  # the base itself stays as it is


def test_semantics_are_tried_only_where_records_hold_them() -> None:
    def inputs(spec: RecordSpec) -> list[str]:
        return [variant.name for variant in variants(get_config(), spec) if variant.question == INPUTS]

    assert inputs(FULL) == ["patches", "flow", "semantics", "patches-flow", "patches-semantics", "flow-semantics"]
    assert inputs(SPEC) == ["patches", "flow"]
    assert inputs(RecordSpec(codebooks=4, codebook_size=64, flow_size=None)) == []


def records_with_notes(folder: Path) -> Path:
    """Records whose notes start at 0.1 and 0.5 s."""
    from mvgen.data.records import decode_record, encode_record, write_tfrecord

    write_records(folder, {"train": [30, 30], "test": [25, 12, 4]}, SPEC)
    shard = folder / "recital-test.tfrecord-00000-of-00001"
    source = RecordSource(folder, "test")
    notes = np.array([[0.1, 0.3, 60], [0.11, 0.3, 64], [0.5, 0.6, 62]], np.float32)
    lines = []
    for file in source.files:
        for data in file:
            lines.append(encode_record({**decode_record(data, SPEC), "notes": notes}, SPEC))
    write_tfrecord(shard, lines)
    return folder


def test_windows_are_fixed_and_do_not_overlap(tmp_path: Path) -> None:
    source = RecordSource(records_with_notes(tmp_path / "r"), "test")
    config = get_config()
    held_out = measures.held_out_windows(source, config.model, 10, 96)
    # The first windows of both records that are long enough, then the second of the longer one.
    assert held_out.video["frames"][:, 0, 0, 0, 0].tolist() == [0, 0, 10]
    assert held_out.tokens[:, 0, 0].tolist() == [0, 0, 20]
    np.testing.assert_allclose(held_out.onsets[0], [0.1], atol=1e-6)  # two notes of a chord are one moment
    np.testing.assert_allclose(held_out.onsets[2], [0.1], atol=1e-6)  # 0.5 s, in a window from 0.4 s
    later = held_out.clips[2]
    assert later.notes is not None and later.notes.shape[1] == 3 and (later.notes[:, 0] < later.notes[:, 1]).all()
    assert held_out.clips[0].voices == 2 and later.name.endswith("at 0.4 s")
    assert len(measures.held_out_windows(source, config.model, 10, 2)) == 2
    silent = RecordSource(write_records(tmp_path / "s", {"test": [25, 12]}, SPEC), "test")
    with pytest.raises(UserError, match="no note"):
        measures.held_out_windows(silent, config.model, 10, 2)


class Clicks:
    """Stands in for a codec: a token of 0 is silence, any other a click at its beginning."""

    sampling_rate = 32_000

    def decode(self, tokens: np.ndarray) -> np.ndarray:
        sounds = np.zeros((len(tokens), tokens.shape[1] * 640), np.float32)
        for one, sound in zip(np.asarray(tokens), sounds, strict=True):
            for at in np.flatnonzero(one[:, 0]):
                sound[at * 640 : at * 640 + 200] += np.random.default_rng(0).standard_normal(200) * 0.5
        return sounds


def test_onset_scores_are_of_the_right_window_and_chance_of_another() -> None:
    times = [[0.5, 1.2], [0.8, 1.9], [0.3, 1.5], [1.0, 2.1]]
    tokens = np.zeros((4, 120, 4), int)
    for row, onsets in zip(tokens, times, strict=True):
        row[[round(50 * onset) for onset in onsets]] = 1
    held_out = measures.HeldOut(
        {}, tokens, [Clip("", "drums", np.array([(onset, onset, 36) for onset in onsets])) for onsets in times]
    )
    found = measures.onset_scores(Clicks(), tokens, held_out)
    assert found["f"] == 1.0 and found["each"].tolist() == [1.0] * 4 and found["chance"] == 0.0
    rolled = measures.onset_scores(Clicks(), np.roll(tokens, 1, axis=0), held_out)
    assert rolled["f"] == 0.0


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Trainings that write what trainings write, and measures that are the seed: the loop is tested, not the model."""
    trained: list[str] = []

    def stand_in(config, workdir) -> int:
        trained.append(Path(workdir).name)
        Path(workdir).mkdir(parents=True)
        (Path(workdir) / "metrics.jsonl").write_text('{"step": 1, "seconds": 60.0}\n')
        return 143 if len(trained) == 3 else 0

    def scores(model, codec, held_out, generated) -> dict:
        fixed = {"windows": 3, "generated": 2, "r1_chance": 1 / 3, "offset_chance": 1 / 51, "per_label": {}}
        moving = {"music": 3.0, "music_other": 3.5, "r1": 0.75, "offset": 0.5, "onset_f": 0.25, "onset_f_chance": 0.125}
        return {**fixed, **moving}

    class Model:
        """Nothing."""

    monkeypatch.setattr(run, "train", stand_in)
    monkeypatch.setattr(run, "load_model", lambda workdir: (Model(),))
    monkeypatch.setattr(run.nnx, "state", lambda model, kind: {"a": np.zeros(1_500_000)})
    monkeypatch.setattr(run, "measure", scores)
    monkeypatch.setattr(run, "load_codec", lambda spec: Clicks())
    return trained


def test_a_stopped_ablation_goes_on_and_writes_its_page(quick: list[str], tmp_path: Path) -> None:
    records = records_with_notes(tmp_path / "records")
    config = tmp_path / "small.py"
    config.write_text(
        "import runpy\n"
        "def get_config():\n"
        f"    config = runpy.run_path({str(CONFIGS / 'ablation.py')!r})['get_config']()\n"
        "    config.model.patch = config.model.denoiser_patch = 4\n"
        "    config.data.window_seconds = 0.4\n"
        "    return config\n"
    )
    page = tmp_path / "page.md"
    words = ["--data", str(records), "--out", str(tmp_path / "out"), "--page", str(page), "--config", str(config)]
    words += ["--steps", "10", "--only", "base", "locked", "cross-bias", "flow"]
    assert run.main(words) == loop.STOPPED_BY_SIGNAL
    assert quick == ["base-0", "locked-0", "cross-bias-0"]  # the third was stopped
    (tmp_path / "out" / "runs" / "cross-bias-0" / "metrics.jsonl").unlink()
    (tmp_path / "out" / "runs" / "cross-bias-0").rmdir()
    written = page.read_text()
    assert (
        "| cross-attention, frame-locked addition and frame prior | 3.00 | 3.50 | 0.75 | 0.50 | 0.25 | 0.12 | 1.0 |"
        in written
    )
    waiting = written.split("**Not tried so far**: ")[1]
    assert "cross-bias (bias by distance" in waiting and "locked (" not in waiting.replace("cross-locked (", "")
    assert "by distance in seconds" not in written.replace(waiting, "") and BEGIN in written and END in written
    page.write_text(written.replace("alike.\n", "alike.\n\nWhat I think of it.\n") + "The end.\n")
    assert run.main([*words, "--seeds", "0", "1"]) == 0
    assert quick[3:] == ["cross-bias-0", "flow-0", "base-1", "locked-1", "cross-bias-1", "flow-1"]
    written = page.read_text()
    assert "What I think of it." in written and written.endswith("The end.\n")
    assert "3.00 (3.00 .. 3.00)" in written and "bias by distance in seconds" in written and "8 trainings" in written
    assert "all that the records hold (base)" in written  # beside flow alone
    ElementTree.fromstring(page.with_suffix(".svg").read_text())
    assert page.with_suffix(".svg").stat().st_size < 200_000
    assert run.main([*words, "--seeds", "0", "1"]) == 0 and len(quick) == 9  # nothing left to do
    with pytest.raises(UserError, match="train.steps = 10, now it is 20; use another --out"):
        run.main([*words, "--steps", "20"])


def test_a_page_without_results_says_so(tmp_path: Path) -> None:
    write_page(tmp_path / "p.md", variants(get_config(), SPEC), [], {"f": 1.0, "chance": 0.1}, get_config(),
               {"records": {}, "seconds": 2.4, "config": "c"})  # fmt: skip
    assert "No result yet." in (tmp_path / "p.md").read_text() and not (tmp_path / "p.svg").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--data", "nowhere"], "not a folder of records"),
        (["--data", "{records}", "--only", "magic"], "no such variant"),
        (["--data", "{records}", "--page", "no/where.md"], "does not exist"),
        (["--data", "{records}", "--config", "no.py"], "not a configuration"),
        (["--data", "{records}", "--steps", "1"], "--steps"),
        (["--data", "{records}", "--windows", "1"], "--windows"),
    ],
)
def test_bad_input_is_named(tmp_path: Path, words: list[str], said: str) -> None:
    records = write_records(tmp_path / "r", {"train": [60], "test": [60]}, RecordSpec(codebooks=4, codebook_size=512))
    with pytest.raises(UserError, match=said):
        run.main(["--out", str(tmp_path / "out"), *[word.format(records=records) for word in words]])
    assert not (tmp_path / "out").exists()
