"""The report is one page that is whole, well formed, free of the network, and shows the numbers it was given."""

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from mvgen.errors import UserError
from mvgen.evaluation.metrics.clips import Clip
from mvgen.evaluation.metrics.table import ScoreTable
from mvgen.evaluation.report import Direction, Example, Fact, Film, choose_examples, write_evaluation, write_report
from mvgen.evaluation.report.curves import curves
from mvgen.evaluation.report.examples import piano_roll
from mvgen.evaluation.report.strips import strip
from mvgen.media import write_video
from tests.mvgen.evaluation.metrics.sounds import MELODY, RATE, SECONDS, play

VOID = {"meta", "br", "img", "link", "input", "hr"}


class Balance(HTMLParser):
    """Fails on a tag that is closed out of turn; collects what is linked."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"


def scores(values: list[float]) -> dict:
    table = ScoreTable(["a", "b", "c", "d"], ["keyboard", "keyboard", "drums", "drums"])
    table.add(lambda i, j: {"onset_f": values[i] if i == j else 0.125}, original=lambda i: {"onset_f": 0.975})
    return {
        "summary": table.summary(),
        "clips": 4,
        "seconds": {"shortest": 6.0, "longest": 6.0},
        "picture_sizes": [(64, 64)],
        "frame_rate": 25,
        "shuffled_pairs": "within the same instrument",
        "seed": 7,
    }


def history() -> list[dict]:
    lines = [{"step": step, "music": 6.0 / step, "loss": 7.0 / step, "learning_rate": 1.0} for step in range(1, 60)]
    return [*lines, {"step": 30, "eval/music": 1.0}, {"step": 59, "eval/music": 0.5}, {"step": 59, "video": None}]


def test_page_holds_what_it_was_given(tmp_path):
    folder = tmp_path / "a folder"
    folder.mkdir()
    film = tmp_path / "clips" / "odd & name#1.mp4"
    direction = Direction(
        "Music from video", "Sound & sight.", scores([0.75, 0.75, 0.5, 0.5]), ["onset_f", "psnr"],
        {"codec": scores([0.9] * 4)}, [("keyboard", "onset_f"), ("violin", "onset_f")],
    )  # fmt: skip
    example = Example("clip <1>", "keyboard", [Film("Original", film)], np.array(MELODY, float), seconds=SECONDS)
    retrieval = {"clips": 48.0, "offset_right": 0.5, "chance_offset": 1 / 51, "chance_r1": 1 / 48, "chance_r5": 5 / 48,
                 "chance_r10": 10 / 48}  # fmt: skip
    for way in ("video_to_music", "music_to_video"):
        retrieval |= {f"{way}_r1": 0.8125, f"{way}_r5": 1.0, f"{way}_r10": 1.0, f"{way}_median_rank": 1.0}
    write_report(
        folder / "report.html", title="A <run>", lead="One line.", facts=[Fact("seed", "7")], directions=[direction],
        examples=[example], retrieval=retrieval, history=history(),
    )  # fmt: skip
    assert [path.name for path in folder.iterdir()] == ["report.html"]
    page = (folder / "report.html").read_text()
    parser = Balance()
    parser.feed(page)
    assert not parser.open
    assert parser.sources == ["../clips/odd%20%26%20name%231.mp4"]
    assert "A &lt;run&gt;" in page and "clip &lt;1&gt;" in page and "Sound &amp; sight." in page
    assert "0.75" in page and "0.50" in page  # keyboard and drums
    assert "chance&nbsp;0.12" in page and "codec&nbsp;0.90" in page and "original&nbsp;0.97" in page
    assert "6.0 s" in page and "64 x 64" in page and "25 frames" in page and "seed 7" in page
    assert "0.81" in page and "pool" in page
    assert page.count('class="tile"') == 2  # one headline that exists, and retrieval


def test_page_needs_no_network(tmp_path):
    write_report(tmp_path / "report.html", title="t", lead="l", history=history())
    page = (tmp_path / "report.html").read_text()
    # Names of XML vocabularies are not fetched; everything else that names an address would be.
    addresses = set(re.findall(r"https?://[^\s\"'<>]+", page))
    assert all("w3.org" in address or "purl.org" in address or "creativecommons" in address or "matplotlib" in address
               for address in addresses)  # fmt: skip
    assert not re.search(r"<(link|img|iframe)|@import|url\((?!#)", page)


def test_empty_run_still_makes_a_page(tmp_path):
    write_report(tmp_path / "report.html", title="Nothing yet", lead="No scores.")
    assert "Nothing yet" in (tmp_path / "report.html").read_text()
    with pytest.raises(UserError, match="cannot write"):
        write_report(tmp_path / "missing" / "report.html", title="t", lead="l")


def test_curves_show_training_and_held_out():
    drawn = dict(curves(history()))
    assert set(drawn) == {"Music: cross-entropy of the tokens", "All together"}  # one value of video is no curve
    svg = drawn["Music: cross-entropy of the tokens"]
    ElementTree.fromstring(svg)
    assert "var(--accent)" in svg and "var(--second)" in svg and "#0102" not in svg
    assert "var(--second)" not in drawn["All together"]
    assert curves([]) == []
    assert dict(curves(history())) == drawn  # same history, same bytes


def test_roll_draws_each_note_and_each_onset():
    known = np.array(MELODY, float)
    heard = known[:5] + (0.01, 0, 0)
    drawn = piano_roll(Example("a", "keyboard", [], known, heard, SECONDS))
    assert drawn.count("<rect") == len(known) and drawn.count("<circle") == 5
    heard = heard.copy()
    heard[:, 2] = np.nan
    drums = piano_roll(Example("a", "drums", [], known, heard, SECONDS))
    assert "<circle" not in drums and drums.count('<path d="M') == 5


def test_examples_are_the_first_of_each_instrument(tmp_path):
    originals, music = tmp_path / "originals", tmp_path / "music"
    originals.mkdir()
    music.mkdir()
    sound = play(MELODY, SECONDS)
    frames = np.zeros((95, 16, 16, 3), np.uint8)
    notes = np.array(MELODY, float)
    clips = {}
    for name, instrument in (("k2", "keyboard"), ("k1", "keyboard"), ("k3", "keyboard"), ("d1", "drums")):
        clips[name] = Clip(name, instrument, notes, voices=1)
        write_video(originals / f"{name}.mp4", frames, sound, RATE)
    write_video(music / "k1.mp4", frames, sound, RATE)
    write_video(music / "d1.mp4", frames, sound, RATE)
    clips["gone"] = Clip("gone", "strings", notes, voices=1)
    chosen = choose_examples(clips, {"Original": originals, "Music": music}, music="Music")
    assert [(example.name, len(example.films)) for example in chosen] == [("d1", 2), ("k1", 2), ("k2", 1)]
    drums, first, second = chosen
    assert np.isnan(drums.heard[:, 2]).all() and len(drums.heard) >= len(MELODY)
    assert set(first.heard[:, 2]) >= {60, 64, 67} and len(second.heard) == 0
    assert Path(first.films[1].path).parent == music


def evaluated() -> dict:
    """What ``evaluate_folders`` returns, of four clips, one with a name that is no HTML."""
    table = ScoreTable(["a<b>&", "b", "c", "d"], ["keyboard", "keyboard", "drums", "drums"])
    fit = {"onset_f": [0.75, 0.25, 0.5, 1.0], "psnr": [20.0, 22.0, 18.0, 30.0], "note_f": [0.5, 0.5, np.nan, np.nan]}
    table.add(
        lambda i, j: {name: values[i] if i == j else 0.125 for name, values in fit.items()},
        original=lambda i: {"onset_f": 0.975, "psnr": 100.0, "note_f": np.nan},
    )
    return scores([0.0] * 4) | {
        "reference": "the/originals",
        "generated": "some/tool",
        "native_frame_rates": [25.0],
        "refused": [{"name": "e", "reason": "it is <broken>"}],
        "only_in_reference": ["f"],
        "only_in_generated": [],
        "summary": table.summary(),
        "per_clip": table.per_clip(),
        "loris": {"overall": {"bcs": 0.5, "csd": float("nan"), "bhs": 0.5, "hsd": 0.1, "f1": 0.5}},
        "weighted": {"lines": ["Frechet audio distance: not run"]},
    }


def test_evaluation_shows_every_score_and_every_clip(tmp_path):
    write_evaluation(tmp_path / "page.html", evaluated())
    page = (tmp_path / "page.html").read_text()
    parser = Balance()
    parser.feed(page)
    assert not parser.open and not parser.sources
    assert not re.search(r"https?://|<(link|img|iframe)|@import|url\((?!#)", page)
    for word in ("tool against originals", "a&lt;b&gt;&amp;", "it is &lt;broken&gt;", "f: no generated video",
                 "bootstrap", "seed 7", "chance&nbsp;0.12", "BCS", "not run", "0.75", "22.0"):  # fmt: skip
        assert word in page, word
    assert "<b>&" not in page
    for svg in re.findall(r'<svg class="strip".*?</svg>', page, re.S):
        ElementTree.fromstring(svg.replace("&nbsp;", " "))
    onset, note, psnr = re.findall(r'<svg class="strip".*?</svg>', page, re.S)
    assert onset.count("<circle") == 4 and note.count("<circle") == 2  # no dot where a score does not apply
    assert onset.count('class="chance"') == 2 and onset.count('class="original"') == 2
    assert 'class="original"' not in psnr  # against itself it says nothing
    with pytest.raises(UserError, match="cannot write"):
        write_evaluation(tmp_path / "missing" / "page.html", evaluated())


def test_strip_puts_marks_where_they_belong():
    drawn = strip("onset_f", evaluated()["summary"], evaluated()["per_clip"], bounded=True)
    left, right = 92.0, 520.0 - 14.0
    places = [float(x) for x in re.findall(r'<circle cx="([0-9.]+)"', drawn)]
    assert places == pytest.approx([left + (right - left) * v for v in (0.75, 0.25, 0.5, 1.0)], abs=0.06)
    means = [float(x) for x in re.findall(r'class="mean" d="M([0-9.]+)', drawn)]
    assert means == pytest.approx([left + (right - left) * v for v in (0.5, 0.75)], abs=0.06)
    assert strip("ssim", evaluated()["summary"], evaluated()["per_clip"], bounded=True) == ""
