"""Real scores: in the range of the instruments, playable, with the intervals as written, each piece in one split."""

import sys
from itertools import pairwise

import numpy as np
import pytest

from data_prep.recital import repertoire
from data_prep.recital.clip import manifest_line
from data_prep.recital.compose import SHORTEST, compose
from data_prep.recital.make import Programme
from data_prep.recital.repertoire import excerpt, lines_of, name_of, pieces
from data_prep.recital.score import HIGHEST, LOWEST
from mvgen.errors import UserError

pytest.importorskip("music21", reason="the extra `repertoire` is not installed")


@pytest.fixture
def tunes(monkeypatch):
    """A repertoire of a chorale and three tunes, which are quick to parse."""
    few = {"bach": pieces()["bach"][:1], "ryansMammoth": pieces()["ryansMammoth"][:3]}
    monkeypatch.setattr(repertoire, "pieces", lambda: few)
    return few


def test_the_corpus_is_there_and_what_is_not_free_is_left_out():
    found = pieces()
    assert {"bach", "haydn", "mozart", "ryansMammoth"} <= set(found) and len(found["ryansMammoth"]) > 100
    assert not any(path.suffix == ".krn" or "essenFolksong" in path.parts for paths in found.values() for path in paths)


@pytest.mark.parametrize("instrument", ["keyboard", "strings", "guitar", "marimba"])
def test_an_excerpt_can_be_played(tunes, instrument):
    scores = [compose(7, index, instrument, repertoire="music21") for index in range(8)]
    assert scores[0] == compose(7, 0, instrument, repertoire="music21")
    names = {name_of(path) for paths in tunes.values() for path in paths}
    for score in scores:
        assert score.piece in names and manifest_line(score, None)["source_id"] == score.piece
        assert score.notes and all(LOWEST <= note.pitch <= HIGHEST for note in score.notes)
        for voice in range(score.voices):
            line = [note for note in score.notes if note.voice == voice]
            assert line
            # Human timing moves an onset by 12 ms at most, either way.
            assert all(after.onset - before.onset > SHORTEST[instrument] - 0.025 for before, after in pairwise(line))
            assert all(after.onset > before.offset for before, after in pairwise(line))
    assert len({score.notes for score in scores}) == 8


def test_a_melody_keeps_its_intervals_but_for_octaves(tunes):
    rng = np.random.default_rng(0)
    for _ in range(6):
        name, _, notes = excerpt(rng, 5.0, 100.0, 1, 0.1)
        path = next(path for paths in tunes.values() for path in paths if name_of(path) == name)
        played = [note.pitch % 12 for note in notes]
        written = [[pitch % 12 for _, _, pitch in line] for line in lines_of(path)]
        # What is too quick is left out, so that the played line is a subsequence of a written one.
        assert any(all(pitch in rest for pitch in played) for line in written for rest in [iter(line)])


def test_pieces_do_not_cross_splits(tunes):
    programme = Programme(30, 5, ("strings", "guitar"), test_percent=40.0, repertoire="music21")
    split = {}
    for index in range(30):
        score = programme.score(index)
        assert split.setdefault(score.piece, programme.split_for(score.source_id)) == programme.split_for(
            manifest_line(score, None)["source_id"]
        )
    assert len(split) > 1


def test_without_music21_the_extra_is_named(monkeypatch):
    repertoire.pieces.cache_clear()
    monkeypatch.setitem(sys.modules, "music21", None)
    with pytest.raises(UserError, match=r"mvgen\[repertoire\]"):
        pieces()
