"""Tests of mvgen.data: windows are aligned, and the order of examples depends on the seed alone."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from mvgen.data import loader
from mvgen.data.records import RecordSource, RecordSpec
from mvgen.errors import UserError
from tests.mvgen.synthetic import SPEC, write_records


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> loader.Windows:
    """Seven records, two of which are shorter than the window of ten frames."""
    folder = write_records(tmp_path_factory.mktemp("records"), {"train": [12, 9, 20, 10, 3, 30, 25], "test": [12]})
    return loader.Windows(RecordSource(folder, "train", ("tokens", "frames", "flow")), 10)


def examples(batches: list[loader.Batch]) -> list[tuple[int, int]]:
    """(record, first frame) of every example, in order."""
    return [
        (int(flow[0, 0, 0, 0]), int(frames[0, 0, 0, 0]))
        for batch in batches
        for flow, frames in zip(batch["flow"], batch["frames"], strict=True)
    ]


def take(windows: loader.Windows, count: int, **options: int) -> list[tuple[int, int]]:
    """The first examples of some batches of 4 (over all hosts)."""
    return examples(list(islice(loader.batches(windows, 4, 7, **options), count)))


def test_short_records_are_skipped_and_counted(windows: loader.Windows) -> None:
    assert windows.usable.tolist() == [0, 2, 3, 5, 6] and windows.skipped == 2


def test_windows_are_aligned_and_inside(windows: loader.Windows) -> None:
    for batch in islice(loader.batches(windows, 4, 0), 10):
        assert batch["frames"].shape == (4, 10, 16, 16, 3) and batch["frames"].dtype == np.uint8
        assert batch["flow"].shape == (4, 10, 4, 4, 2)
        assert batch["tokens"].shape == (4, 20, 4) and batch["tokens"].dtype == np.int32
        first = batch["frames"][:, 0, 0, 0, 0].astype(int)
        assert (batch["frames"][:, :, 0, 0, 0] == first[:, None] + np.arange(10)).all()
        assert (batch["tokens"][:, :, 0] == (2 * first[:, None] + np.arange(20)) % 64).all()


def test_examples_are_cut_out_of_their_records_to_the_byte(windows: loader.Windows) -> None:
    """Whole batches against slices of what the record source gives, and one example against its batch."""
    places = ([5, 2, 5, 6], [3, 0, 20, 15])
    batch = windows.read(places)
    for row, (record, start) in enumerate(zip(*places, strict=True)):
        whole = windows.source[record]
        for name, array in batch.items():
            first, last = (2 * start, 2 * start + 20) if name == "tokens" else (start, start + 10)
            np.testing.assert_array_equal(array[row], whole[name][first:last])
    assert batch["flow"].dtype == np.float16 and batch["tokens"].dtype == np.int32
    for name, array in windows.first(2).items():
        np.testing.assert_array_equal(array, batch[name][1])
    # Nothing of it lies in memory that the next reading overwrites.
    kept = {name: array.copy() for name, array in batch.items()}
    windows.read(([0, 3], [0, 0]))
    assert all(np.array_equal(array, kept[name]) for name, array in batch.items())


def test_each_round_uses_every_record_once_with_new_windows(windows: loader.Windows) -> None:
    seen = take(windows, 25)  # 100 examples: 20 rounds of 5 records
    rounds = [seen[i : i + 5] for i in range(0, 100, 5)]
    assert all(sorted(record for record, _ in one) == [0, 2, 3, 5, 6] for one in rounds)
    assert len({tuple(record for record, _ in one) for one in rounds}) > 5
    starts = {start for record, start in seen if record == 5}
    assert len(starts) > 8 and starts <= set(range(21))


def test_position_is_one_number_whatever_hosts_and_threads(windows: loader.Windows) -> None:
    straight = take(windows, 6)
    assert take(windows, 4, first_example=8) == straight[8:]
    assert take(windows, 6, threads=0) == straight
    hosts = [take(windows, 6, process_index=i, process_count=2) for i in range(2)]
    for step in range(6):
        together = hosts[0][2 * step : 2 * step + 2] + hosts[1][2 * step : 2 * step + 2]
        assert together == straight[4 * step : 4 * step + 4]  # in this order, so that each meets the same noise
    assert examples(list(islice(loader.batches(windows, 4, 8), 6))) != straight


def test_worker_processes_give_the_same(windows: loader.Windows) -> None:
    batches = loader.batches(windows, 4, 7, workers=1)
    try:
        assert examples(list(islice(batches, 3))) == take(windows, 3)
    finally:
        batches.close()


def test_bad_input_is_one_clear_line(windows: loader.Windows, tmp_path) -> None:
    with pytest.raises(UserError, match="longest lasts 1.2 s"):
        loader.Windows(windows.source, 31)
    with pytest.raises(UserError, match="multiple of 1/25 s, for example 0.52"):
        loader.window_frames(0.51)
    assert loader.window_frames(4.0) == 100 and loader.window_frames(0.28) == 7
    with pytest.raises(UserError, match="does not divide among 3 hosts"):
        loader.batches(windows, 4, 0, process_count=3)
    latents = RecordSpec(4, 64, frame_size=None, latent_shape=(8, 8, 4))
    with pytest.raises(UserError, match="hold latents and no frames"):
        loader.used_features(latents, None)
    empty = write_records(tmp_path / "empty", {"train": [], "test": [3]}, SPEC)
    with pytest.raises(UserError, match="there are none"):
        loader.Windows(RecordSource(empty, "train"), 2)
