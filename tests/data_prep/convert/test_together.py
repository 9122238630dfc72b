"""Several clips through the networks together: what each alone would give, and a bad one refuses only itself."""

from __future__ import annotations

import dataclasses
import errno

import numpy as np
import pytest
import torch
from transformers import Dinov2Config, Dinov2Model

from data_prep.convert import together
from data_prep.convert.clip import ClipProcessor
from data_prep.convert.command import convert
from data_prep.extract.cache import Cache
from data_prep.extract.tokens import TokenExtractor
from data_prep.sources.manifest import Clip
from mvgen.interop import vision
from tests.data_prep.convert.test_clip import settings_of
from tests.data_prep.convert.test_convert import files_of, small_config, write_inputs
from tests.mvgen.media.flashes import constant_times, write_flashes

SIZES = (12_800, 6_400, 12_800, 6_401, 12_800, 6_400, 12_800)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    config = Dinov2Config(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, image_size=14, mlp_ratio=1)
    Dinov2Model(config).save_pretrained(folder)
    return str(folder)


def test_tokens_are_those_of_each_sound_alone(monkeypatch):
    extractor = TokenExtractor("encodec_tiny", "cpu")
    rng = np.random.default_rng(0)
    sounds = [rng.normal(0, 0.1, size).astype(np.float32) for size in SIZES]
    alone = [extractor.extract(sound) for sound in sounds]
    shapes = []
    encode = extractor._encode
    monkeypatch.setattr(extractor, "_encode", lambda batch: shapes.append(batch.shape) or encode(batch))
    found = dict(extractor.extract_many(enumerate(sounds), batch=3))
    assert sorted(found) == list(range(len(SIZES)))
    assert sorted(shapes) == [(1, 6_401), (1, 12_800), (2, 6_400), (3, 12_800)]
    for number, codes in found.items():
        assert codes.dtype == np.int16
        np.testing.assert_array_equal(codes, alone[number])
    assert len({codes.tobytes() for codes in alone}) == len(SIZES)
    assert len(np.unique(np.concatenate(alone))) > 20


def test_what_waits_is_bounded(monkeypatch):
    """Sounds of many lengths do not pile up until there are a batch of each."""
    extractor = TokenExtractor("encodec_tiny", "cpu")
    monkeypatch.setattr("data_prep.extract.tokens.WAITING", 4)
    monkeypatch.setattr(extractor, "_encode", lambda batch: np.zeros((len(batch), 1, 4), np.int16))
    given = 0

    def sounds():
        nonlocal given
        for given in range(1, 31):
            yield given, np.zeros(640 + given // 2, np.float32)

    results = extractor.extract_many(sounds())
    ahead = [given - done for done, _ in enumerate(results)]
    assert len(ahead) == 30 and max(ahead) <= 4


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Good clips, one of them twice, one with several segments, among bad ones of several kinds."""
    folder = tmp_path_factory.mktemp("together")
    for number, seconds in enumerate((1.2, 1.2, 2.5)):
        write_flashes(folder / f"good{number}.mp4", constant_times(25 + 5 * number, seconds))
    (folder / "text.mp4").write_text("hello")
    (folder / "cut.mp4").write_bytes((folder / "good2.mp4").read_bytes()[:3000])
    names = ("good0", "text", "good1", "cut", "missing", "good2", "good1")
    return [Clip(f"{number}", folder / f"{name}.mp4", name) for number, name in enumerate(names)]


def same_results(one, other, clips):
    """Outcomes and records of two processors are the same; returns how many clips were used."""
    assert one[1] == other[1]
    used = 0
    for clip, outcome in zip(clips, one[1], strict=True):
        if outcome["status"] == "used":
            used += 1
            for a, b in zip(one[0].records(clip, outcome), other[0].records(clip, outcome), strict=True):
                assert set(a) == set(b)
                for name, value in a.items():
                    np.testing.assert_array_equal(value, b[name], err_msg=name)
    return used


def test_a_group_gives_what_each_clip_alone_gives(clips, encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(vision, "BATCH", 16)
    settings = settings_of(semantic=encoder)
    alone = ClipProcessor(settings, tmp_path / "alone")
    grouped = ClipProcessor(settings, tmp_path / "grouped")
    expected = [alone.process(clip) for clip in clips]
    sounds, pictures = [], []
    encode, embed = grouped.tokens._encode, grouped.semantic.embed
    monkeypatch.setattr(grouped.tokens, "_encode", lambda batch: sounds.append(len(batch)) or encode(batch))
    monkeypatch.setattr(grouped.semantic, "embed", lambda batch: pictures.append(len(batch)) or embed(batch))
    begun = []
    outcomes = together.process_together(grouped, clips, lambda: begun.append(1))
    assert same_results((alone, expected), (grouped, outcomes), clips) == 4
    assert [outcome["status"] for outcome in outcomes].count("refused") == 3
    assert max(sounds) > 1 and sum(sounds) == 7  # two of two segments each, one of three; the second copy is kept
    assert set(pictures[:-1]) == {16}  # full batches, over the ends of clips, but for the last
    assert len(begun) == 3 * len(clips)


def test_a_picture_that_breaks_half_way_refuses_only_itself(clips, encoder, tmp_path, monkeypatch):
    """The decoder meets damage while frames of other clips wait in the same batch."""
    stream = vision.stream_picture

    def breaking(path, size):
        for number, picture in enumerate(stream(path, size)):
            if path.name == "good1.mp4" and number == 5:
                raise RuntimeError("a decoder gives up")
            yield picture

    monkeypatch.setattr(vision, "stream_picture", breaking)
    monkeypatch.setattr(vision, "BATCH", 7)
    settings = settings_of(semantic=encoder)
    alone = ClipProcessor(settings, tmp_path / "alone")
    grouped = ClipProcessor(settings, tmp_path / "grouped")
    outcomes = together.process_together(grouped, clips)
    assert same_results((alone, [alone.process(clip) for clip in clips]), (grouped, outcomes), clips) == 2
    refused = [outcome["reason"] for outcome in outcomes if outcome["status"] == "refused"]
    assert sum("a decoder gives up" in reason for reason in refused) == 2 and len(refused) == 5


def test_a_network_without_memory_for_many_takes_them_one_by_one(clips, tmp_path, monkeypatch):
    processor = ClipProcessor(settings_of(), tmp_path / "cache")
    encode = processor.tokens._encode

    def small(batch):
        if len(batch) > 1:
            raise torch.OutOfMemoryError("out of memory")
        return encode(batch)

    monkeypatch.setattr(processor.tokens, "_encode", small)
    outcomes = together.process_together(processor, clips)
    assert [outcome["status"] for outcome in outcomes].count("used") == 4


def test_a_full_disk_is_no_clips_fault(clips, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Cache, "keep", full)
    with pytest.raises(OSError, match="No space"):
        together.process_together(ClipProcessor(settings_of(), tmp_path), clips)


def test_records_are_the_same_files(tmp_path):
    """A whole conversion, with the pool, by groups of four and one by one: only the time of making differs."""
    write_inputs(tmp_path / "in")
    made = []
    for number, count in enumerate((1, 4)):
        config = small_config(clips_together=count, keep_standardised=False)
        convert(
            str(tmp_path / "in"), str(tmp_path / f"out{number}"), config, str(tmp_path / f"cache{number}"), workers=1
        )
        made.append(files_of(tmp_path / f"out{number}"))
    assert set(made[0]) == set(made[1])
    assert {name for name in made[0] if made[0][name] != made[1][name]} <= {"dataset_info.json"}
    assert "clips_together" not in {field.name for field in dataclasses.fields(settings_of())}
