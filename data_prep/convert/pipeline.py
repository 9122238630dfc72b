"""The Beam pipeline: clips in, shards of records out.

What goes from stage to stage is small (clips, outcomes, references); pixels and tokens pass through the cache, which
all workers must reach. On one machine the clips have been processed before the pipeline starts
(:mod:`data_prep.convert.pool`) and it only writes; on a cluster its first stage processes them.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

logging.getLogger("apache_beam").setLevel(logging.ERROR)
logging.disable(logging.WARNING)  # Beam speaks of Google's client libraries when it is imported
import apache_beam as beam  # noqa: E402
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions  # noqa: E402
from apache_beam.runners.portability.fn_api_runner import FnApiRunner  # noqa: E402

logging.disable(logging.NOTSET)

from data_prep.convert.clip import ClipProcessor, Settings  # noqa: E402
from data_prep.convert.together import process_together  # noqa: E402
from data_prep.convert.write import shard_name, split_of  # noqa: E402
from data_prep.sources.manifest import SPLITS, Clip  # noqa: E402
from mvgen.data.records import RecordSpec, encode_record  # noqa: E402
from mvgen.errors import UserError  # noqa: E402

Outcome = dict[str, Any]
Item = tuple[int, Clip, Outcome | None]
"""Number in the collection, clip, and what became of it, where that is known already."""


class _OnWorker(beam.DoFn):
    """A stage that holds a :class:`ClipProcessor`, made anew on each worker."""

    def __init__(self, settings: Settings, cache_folder: str):
        self._arguments = (settings, cache_folder)

    def setup(self) -> None:
        self._processor = ClipProcessor(*self._arguments)


class Process(_OnWorker):
    """Lists of items to (number, clip, outcome) each, with the outcome found out where it is not known."""

    def process(self, items: list[Item]) -> Iterator[tuple[int, Clip, Outcome]]:
        unknown = [clip for _, clip, outcome in items if outcome is None]
        if len(unknown) > 1:
            found = iter(process_together(self._processor, unknown))
        else:
            found = iter([self._processor.process(clip) for clip in unknown])
        for number, clip, outcome in items:
            yield number, clip, next(found) if outcome is None else outcome


class MakeRecord(_OnWorker):
    """References to serialised records."""

    def __init__(self, settings: Settings, cache_folder: str, spec: RecordSpec):
        super().__init__(settings, cache_folder)
        self._spec = spec

    def process(self, reference: tuple[int, int, Clip, Outcome]) -> Iterator[bytes]:
        _, number, clip, outcome = reference
        yield encode_record(self._processor.record(clip, outcome, number), self._spec)


def _references(item: tuple[int, Clip, Outcome], shards: int, test_percent: float) -> Iterator[tuple[int, Any]]:
    """(shard over all splits, (clip's number, record's number in it, clip, outcome)) for every record of a clip."""
    clip_number, clip, outcome = item
    split = SPLITS.index(clip.split or split_of(clip.source_id, test_percent))
    for number in range(outcome.get("records", 0)):
        digest = hashlib.sha256(f"{clip.clip_id}/{number}".encode()).digest()
        yield split * shards + digest[0] % shards, (clip_number, number, clip, outcome)


class _Shard(beam.PartitionFn):
    """Sends a reference to its shard."""

    def partition_for(self, element: Any, num_partitions: int, *args: Any, **kwargs: Any) -> int:
        return element[0]


def _in_order(group: tuple[int, Iterable[Any]]) -> list[Any]:
    """The references of a shard in the order of the collection: the same shards whatever the workers' order."""
    return sorted(group[1], key=lambda reference: reference[:2])


def _line(item: tuple[int, Clip, Outcome]) -> str:
    return json.dumps([item[0], item[2]])


def pipeline_options(flags: Sequence[str]) -> PipelineOptions:
    """Beam's options from command-line flags.

    Raises:
        UserError: a flag that Beam does not know. (Other runners than the direct one bring flags of their own, which
            only they can check.)
    """
    options = PipelineOptions(list(flags))
    if is_local(options):
        known = options.get_all_options()
        for flag in flags:
            name = flag.lstrip("-").split("=")[0]
            if flag.startswith("-") and name not in known and name.removeprefix("no_") not in known:
                raise UserError(f"unknown option {flag}; see `python -m data_prep convert --help`")
    return options


def is_local(options: PipelineOptions) -> bool:
    """Whether the pipeline runs in this process: the direct runner, which is the default."""
    return options.view_as(StandardOptions).runner in (None, "DirectRunner", "FnApiRunner")


def run_pipeline(
    items: list[Item],
    folder: Path,
    settings: Settings,
    cache_folder: str,
    spec: RecordSpec,
    test_percent: float,
    shards: int,
    options: PipelineOptions,
    together: int = 1,
) -> dict[int, Outcome]:
    """Writes the shards of all splits into ``folder``; workers take so many clips ``together`` at most (0 as 1).

    Returns:
        The outcome of each item, by its number.
    """
    stage = folder / "stage"
    stage.mkdir()
    # The direct runner is named here, because by default Beam first looks for a newer one on the network.
    runner = FnApiRunner() if is_local(options) else None
    with beam.Pipeline(runner=runner, options=options) as pipeline:
        done = (
            pipeline
            | "Clips" >> beam.Create(items)
            | "Spread" >> beam.Reshuffle()
            | "Together" >> beam.BatchElements(max_batch_size=max(1, together))
            | "Process" >> beam.ParDo(Process(settings, cache_folder))
        )
        _ = done | "Lines" >> beam.Map(_line) | "WriteLines" >> beam.io.WriteToText(str(stage / "outcomes"))
        parts = (
            done
            | "References" >> beam.FlatMap(_references, shards, test_percent)
            | "Shards" >> beam.Partition(_Shard(), len(SPLITS) * shards)
        )
        for number, part in enumerate(parts):
            name = f"{SPLITS[number // shards]}{number % shards:05d}"
            _ = (
                part
                | f"Group-{name}" >> beam.GroupByKey()
                | f"Order-{name}" >> beam.FlatMap(_in_order)
                | f"Record-{name}" >> beam.ParDo(MakeRecord(settings, cache_folder, spec))
                | f"Write-{name}" >> beam.io.WriteToTFRecord(str(stage / name))
            )
    for split in SPLITS:
        # The runner decides in how many pieces it writes a shard; empty ones go.
        pieces = [path for path in sorted(stage.glob(f"{split}*")) if path.stat().st_size]
        for number, path in enumerate(pieces):
            path.rename(folder / shard_name(split, number, len(pieces)))
    outcomes: dict[int, Outcome] = {}
    for path in stage.glob("outcomes*"):
        outcomes.update(json.loads(line) for line in path.read_text().splitlines())
        path.unlink()
    for path in stage.iterdir():
        path.unlink()
    stage.rmdir()
    return outcomes
