"""The ablation: what is tried, how gains are judged, that it goes on where it stopped, and what its page says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from configs.ablation import get_config
from mvgen import ablate
from mvgen.data.records import RecordSource, RecordSpec, TFRecordFile, decode_record, encode_record, write_tfrecord
from mvgen.errors import UserError
from mvgen.evaluation.ablation import measures, run
from mvgen.evaluation.ablation.page import BEGIN, END, Column, gain_of, verdict, write_page
from mvgen.evaluation.ablation.variants import PARTS, variants
from mvgen.evaluation.held_out import HeldOut, held_out_windows
from mvgen.evaluation.metrics.clips import Clip
from mvgen.models.config import MVGenConfig
from mvgen.training import loop
from mvgen.training.loop import check_config
from tests.mvgen.models.small import small_batch, small_model
from tests.mvgen.synthetic import CONFIGS, SPEC, write_records

FULL = RecordSpec(codebooks=4, codebook_size=64, frame_size=(64, 64), flow_size=(16, 16), semantic_dim=8)


def test_every_variant_is_a_model_and_differs_from_the_base() -> None:
    base = get_config()
    tried = variants(FULL)
    assert tried[0].name == "base" and not tried[0].changes
    assert len({variant.name for variant in tried}) == len(tried)
    assert {variant.part for variant in tried} == {"", *PARTS}
    seen = set()
    for variant in tried:
        changed = variant.apply(base)
        check = changed.copy_and_resolve_references()
        check.data.path = "records"
        check_config(check)
        MVGenConfig.from_config(changed, FULL)
        seen.add(json.dumps(changed.to_dict(), sort_keys=True))
    assert len(seen) == len(tried)  # no two are the same, and none is the base
    assert json.dumps(get_config().to_dict()) == json.dumps(base.to_dict())  # the base itself stays as it is


def test_what_records_do_not_hold_is_not_switched_off() -> None:
    def names(spec: RecordSpec) -> set[str]:
        return {variant.name for variant in variants(spec)}

    assert names(FULL) - names(SPEC) == {"no-semantic"}
    assert names(SPEC) - names(RecordSpec(codebooks=4, codebook_size=64, flow_size=None)) == {"no-flow", "no-frames"}


def records_with_notes(folder: Path) -> Path:
    """Records whose notes start at 0.1 and 0.5 s."""
    write_records(folder, {"train": [30, 30], "test": [25, 12, 4]}, SPEC)
    shard = folder / "recital-test.tfrecord-00000-of-00001"
    notes = np.array([[0.1, 0.3, 60], [0.11, 0.3, 64], [0.5, 0.6, 62]], np.float32)
    lines = [encode_record({**decode_record(data, SPEC), "notes": notes}, SPEC) for data in TFRecordFile(shard)]
    write_tfrecord(shard, lines)
    return folder


def test_windows_are_fixed_and_do_not_overlap(tmp_path: Path) -> None:
    source = RecordSource(records_with_notes(tmp_path / "r"), "test")
    config = get_config()
    held_out = held_out_windows(source, config.model, 10, 96)
    # The first windows of both records that are long enough, then the second of the longer one.
    assert held_out.video["frames"][:, 0, 0, 0, 0].tolist() == [0, 0, 10]
    assert held_out.tokens[:, 0, 0].tolist() == [0, 0, 20]
    np.testing.assert_allclose(held_out.onsets[0], [0.1], atol=1e-6)  # two notes of a chord are one moment
    np.testing.assert_allclose(held_out.onsets[2], [0.1], atol=1e-6)  # 0.5 s, in a window from 0.4 s
    later = held_out.clips[2]
    assert later.notes is not None and later.notes.shape[1] == 3 and (later.notes[:, 0] < later.notes[:, 1]).all()
    assert held_out.clips[0].voices == 2 and later.name.endswith("at 0.4 s")
    assert len(held_out_windows(source, config.model, 10, 2)) == 2
    silent = RecordSource(write_records(tmp_path / "s", {"test": [25, 12]}, SPEC), "test")
    with pytest.raises(UserError, match="no note"):
        held_out_windows(silent, config.model, 10, 2)


def test_cross_entropy_is_that_of_the_picture_and_another_clips() -> None:
    model, batch = small_model(), small_batch()
    video = {name: values for name, values in batch.items() if name != "tokens"}
    alone = [Clip("a", "drums"), Clip("b", "strings"), Clip("c", "keyboard")]
    found = measures.cross_entropies(model, HeldOut(video, batch["tokens"], alone))
    assert 0 < found["mean"] < 20 and found["chance"] is None  # no other clip of any instrument
    together = [Clip(name, "drums") for name in "abc"]
    beside = measures.cross_entropies(model, HeldOut(video, batch["tokens"], together))
    assert beside["mean"] == pytest.approx(found["mean"]) and beside["chance"] != beside["mean"]


def result(variant: str, seed: int, note_f: float, onset_f: float = 0.9) -> dict[str, Any]:
    measured = {"note_f": {"mean": note_f, "chance": 0.125}, "onset_f": {"mean": onset_f, "chance": 0.25}}
    return {"variant": variant, "seed": seed, "seconds": {"train": 60.0}, "scores": {"plain": measured}}


def test_a_part_is_ahead_only_by_more_than_the_spread_over_seeds() -> None:
    base = [result("base", seed, value) for seed, value in enumerate((0.60, 0.62, 0.61))]
    clear = [result("off", seed, value) for seed, value in enumerate((0.50, 0.51, 0.52))]
    gain = gain_of(base, clear, Column("plain", "note_f", ""))
    assert gain is not None and gain.gain == pytest.approx(0.10) and gain.spread == pytest.approx(0.02)
    assert gain.verdict == "ahead" and verdict(base, clear) == "ahead" and verdict(clear, base) == "behind"
    within = [result("off", seed, value) for seed, value in enumerate((0.59, 0.60, 0.62))]
    assert verdict(base, within) == "level"
    assert verdict(base, clear[:1]) == "one seed"  # only seeds that both have are compared
    # Notes gained and onsets lost is no gain.
    lost = [result("off", seed, 0.5, onset_f=0.95) for seed in range(3)]
    assert verdict(base, lost) == "behind"
    lower = gain_of([result("base", 0, 3.0)], [result("off", 0, 3.1)], Column("plain", "note_f", "", -1))
    assert lower is not None and lower.gain == pytest.approx(0.1) and lower.spread is None


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Trainings that write what trainings write, and measures that are fixed: the loop is tested, not the model."""
    trained: list[str] = []

    def stand_in(config: Any, workdir: Path) -> int:
        trained.append(workdir.name)
        workdir.mkdir(parents=True)
        (workdir / "metrics.jsonl").write_text('{"step": 1, "seconds": 60.0}\n')
        return 143 if len(trained) == 3 else 0

    monkeypatch.setattr(run, "train", stand_in)
    monkeypatch.setattr(run, "load_model", lambda workdir: (None,))
    monkeypatch.setattr(run.nnx, "state", lambda model, kind: {"a": np.zeros(1_500_000)})
    monkeypatch.setattr(run, "measure", lambda *_: result("", 0, 0.75, 0.5)["scores"])
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
    words += ["--steps", "10", "--only", "base", "no-flow", "no-shifts", "rotary"]
    assert ablate.main(words) == loop.STOPPED_BY_SIGNAL
    assert quick == ["base-0", "rotary-0", "no-shifts-0"]  # the third was stopped
    (tmp_path / "out" / "runs" / "no-shifts-0" / "metrics.jsonl").unlink()
    (tmp_path / "out" / "runs" / "no-shifts-0").rmdir()
    written = page.read_text()
    assert "| **base** | - | - | - | 0.50 | 0.75 |  |  | 1 | 1.0 |" in written
    assert "| *chance* | - | - | - | 0.25 | 0.12 | | | | |" in written
    waiting = written.split("**Not tried so far**: ")[1]
    assert "no-shifts (" in waiting and "rotary (" not in waiting and BEGIN in written and END in written
    page.write_text(written.replace("alike.\n", "alike.\n\nWhat I think of it.\n") + "The end.\n")
    assert ablate.main([*words, "--seeds", "0", "1"]) == 0
    assert quick[3:] == ["no-shifts-0", "no-flow-0", "base-1", "rotary-1", "no-shifts-1", "no-flow-1"]
    written = page.read_text()
    assert "What I think of it." in written and written.endswith("The end.\n")
    assert "0.75 (0.75 .. 0.75)" in written and "8 trainings" in written
    assert "| without optical flow |" in written and "| +0.000 (0.000) | level | 2 | 1.0 |" in written
    ElementTree.fromstring(page.with_suffix(".svg").read_text())
    assert ablate.main([*words, "--seeds", "0", "1"]) == 0 and len(quick) == 9  # nothing left to do
    with pytest.raises(UserError, match="train.steps = 10, now it is 20; use another --out"):
        ablate.main([*words, "--steps", "20"])


def test_a_page_without_results_says_so(tmp_path: Path) -> None:
    write_page(tmp_path / "p.md", variants(SPEC), [], "made so")
    assert "has not been measured yet" in (tmp_path / "p.md").read_text() and not (tmp_path / "p.svg").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--data", "nowhere"], "not a folder of records"),
        (["--data", "{records}", "--only", "magic"], "no such variant"),
        (["--data", "{records}", "--page", "no/where.md"], "does not exist"),
        (["--data", "{records}", "--config", "no.py"], "neither a file nor a preset"),
        (["--data", "{records}", "--steps", "1"], "--steps"),
        (["--data", "{records}", "--windows", "1"], "--windows"),
        (["--data", "{records}", "--changed", "camera"], "write NAME=RECORDS"),
    ],
)
def test_bad_input_is_named(tmp_path: Path, words: list[str], said: str) -> None:
    records = write_records(tmp_path / "r", {"train": [60], "test": [60]}, RecordSpec(codebooks=4, codebook_size=512))
    with pytest.raises(UserError, match=said):
        ablate.main(["--out", str(tmp_path / "out"), *[word.format(records=records) for word in words]])
    assert not (tmp_path / "out").exists()
