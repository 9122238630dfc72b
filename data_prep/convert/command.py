"""``python -m data_prep convert``: videos in, records out."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import importlib.util
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict
from tqdm import tqdm

from data_prep.convert.clip import ClipProcessor, Settings
from data_prep.convert.pool import Workers
from data_prep.convert.replacing import replacing_folder
from data_prep.convert.write import describe_folder, made_by, split_of
from data_prep.extract.cache import Cache, disk_error
from data_prep.sources import find_clips
from data_prep.sources.manifest import SPLITS, Clip, result_line
from mvgen.data.records import RecordSpec
from mvgen.errors import UserError, finite_fields
from mvgen.files import preset

BASE_CONFIG = "base"
"""The preset that is taken where none is named: configs/data/base.py."""
Outcome = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command; what is left over goes to Beam."""
    parser.add_argument(
        "--input", required=True, metavar="DIR_OR_MANIFEST", help="folder of videos, or a manifest (.jsonl, .csv, .tsv)"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of records to make, or to replace")
    parser.add_argument("--config", default=BASE_CONFIG, metavar="NAME", help="data preset or file (%(default)s)")
    parser.add_argument("--codec", help="shorthand for --config.codec: encodec_tiny, encodec_32khz, folder or hub name")
    parser.add_argument("--workers", type=int, default=0, help="processes on this machine (default: one a core)")
    parser.add_argument(
        "--strict", action="store_true", help="a clip that cannot be used is an error: nothing is written then"
    )
    parser.add_argument(
        "--cache", metavar="DIR", help="where results are kept for the next run (default: OUT.cache; may be deleted)"
    )
    parser.epilog = (
        "--config.FIELD=VALUE changes one field of the config. Any other option is Beam's, for example "
        "--runner=FlinkRunner; with another runner than the default, all workers must reach --out and --cache."
    )
    parser.set_defaults(passes_options=True)


def load_config(path: str, changes: Sequence[tuple[str, str]] = ()) -> ConfigDict:
    """A data config from a preset or a file, with fields changed.

    Args:
        path: a name in configs/data, or a file.
        changes: (field, value as written on the command line) pairs.

    Raises:
        UserError: no such file, not a config, no such field, or a value of the wrong kind.
    """
    path = os.fspath(preset(path, "data"))
    spec = importlib.util.spec_from_file_location("data_config", path)
    if spec is None or spec.loader is None:
        raise UserError(f"--config {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        config = module.get_config()
    except Exception as error:  # whatever the user's file raises is the user's to mend
        raise UserError(f"--config {path} gives no config: {type(error).__name__}: {error}") from None
    for field, text in changes:
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            value = text  # a bare word
        try:
            config.update_from_flattened_dict({field: value})
        except (KeyError, AttributeError):
            raise UserError(f"the config has no field {field!r}; see {path}") from None
        except (TypeError, ValueError) as error:
            raise UserError(f"--config.{field}={text}: {error}") from None
    finite_fields(config.to_dict())
    return config


def split_options(options: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Leftover options into changes of the config and options of Beam."""
    changes, beam_options = [], []
    for option in options:
        if option.startswith("--config."):
            field, equals, value = option.removeprefix("--config.").partition("=")
            if not equals:
                raise UserError(f"{option}: write --config.{field}=VALUE")
            changes.append((field, value))
        else:
            beam_options.append(option)
    return changes, beam_options


def run(args: argparse.Namespace) -> int:
    """Runs the command; ``args.options`` are those that the parser did not know."""
    changes, beam_options = split_options(args.options)
    if args.codec:
        changes.append(("codec", args.codec))
    config = load_config(args.config, changes)
    cache = args.cache or f"{os.path.abspath(args.out)}.cache"
    try:
        convert(args.input, args.out, config, cache, args.workers, beam_options, args.strict)
    except Exception as error:
        if (reason := disk_error(error)) is None:
            raise
        raise UserError(f"stopped: {reason}; run the same command again once there is room for {args.out} and "
                        f"{cache}, it goes on where it stopped") from None  # fmt: skip
    return 0


def convert(
    source: str,
    out: str,
    config: ConfigDict,
    cache: str,
    workers: int = 0,
    beam_options: Sequence[str] = (),
    strict: bool = False,
) -> dict[str, int]:
    """Makes a folder of records out of videos.

    Args:
        source: folder or manifest.
        out: the folder of records; replaced when it is one already.
        config: see ``configs/data/base.py``.
        cache: folder of results kept per clip.
        workers: processes on this machine; 0 for one a core.
        beam_options: command-line options for Beam.
        strict: whether a clip that cannot be used is an error.

    Returns:
        Records in each split.

    Raises:
        UserError: there is no video, none of them can be used (with ``strict``: one of them cannot), the config or the
            codec is wrong, ``out`` holds something else or another run is writing it, or the cache cannot be written.
        OSError: the disk is full or read-only (:func:`data_prep.extract.cache.disk_error` knows it in other errors,
        too).
    """
    started = time.monotonic()
    clips = find_clips(source, config.single_parts)
    settings = Settings.from_config(config)
    if config.clips_together < 0:
        raise UserError(f"config.clips_together is {config.clips_together}; it must be 0 (as fits) or more")
    with replacing_folder(out) as folder:
        known = _repeated(clips)
        cache = os.path.abspath(cache)
        Cache(cache).check()
        Cache(cache).clear_leftovers()
        local = not beam_options
        if not local:
            # Beam is slow to import: on one machine it loads while the workers are at work.
            from data_prep.convert.pipeline import is_local, pipeline_options

            local = is_local(pipeline_options(beam_options))
        spec = (
            _process_here(clips, known, settings, cache, workers, config.clips_together, strict)
            if local
            else ClipProcessor(settings, cache).spec
        )
        from data_prep.convert.pipeline import pipeline_options, run_pipeline

        items = [(number, clip, known.get(number)) for number, clip in enumerate(clips)]
        outcomes = run_pipeline(
            items,
            folder,
            settings,
            cache,
            spec,
            config.test_percent,
            config.shards,
            pipeline_options(beam_options),
            config.clips_together,
        )
        _require(clips, outcomes, strict)
        lines = []
        processor = ClipProcessor(settings, cache)
        for number, clip in enumerate(clips):
            split = clip.split or split_of(clip.source_id, config.test_percent)
            used = outcomes[number]["status"] == "used"
            lines.append(result_line(clip, outcomes[number], split if used else None))
            standard = processor.standardised(outcomes[number]) if used else None
            if standard is not None:
                _link(standard, folder / "clips" / f"{clip.clip_id}.mp4")
        told = {**dataclasses.asdict(settings), "test_percent": config.test_percent}
        counts = describe_folder(folder, spec, made_by(told.pop("codec"), told.pop("codec_sha256"), told), lines)
    _summary(out, clips, outcomes, counts, time.monotonic() - started)
    return counts


def _repeated(clips: list[Clip]) -> dict[int, Outcome]:
    """Clips that bear an id for the second time are refused from the start."""
    seen: Counter[str] = Counter()
    refused = {}
    for number, clip in enumerate(clips):
        if seen[clip.clip_id]:
            refused[number] = {"status": "refused", "reason": f"the clip_id {clip.clip_id!r} is taken by another clip"}
        seen[clip.clip_id] += 1
    return refused


def _process_here(
    clips: list[Clip],
    known: dict[int, Outcome],
    settings: Settings,
    cache: str,
    workers: int,
    together: int,
    strict: bool,
) -> RecordSpec:
    """Processes all clips whose outcome is not known with a pool of processes; adds to ``known``."""
    numbers = [number for number in range(len(clips)) if number not in known]
    results = Workers(settings, cache, workers, together).run([clips[number] for number in numbers])
    spec = next(results)
    assert isinstance(spec, RecordSpec)
    with tqdm(total=len(clips), initial=len(known), desc="convert", unit="clip") as bar:
        for result in results:
            assert isinstance(result, tuple)
            known[numbers[result[0]]] = result[1]
            bar.set_postfix(refused=sum(outcome["status"] == "refused" for outcome in known.values()), refresh=False)
            bar.update()
    _require(clips, known, strict)
    return spec


def _require(clips: list[Clip], outcomes: dict[int, Outcome], strict: bool) -> None:
    """At least one clip must be of use; with ``strict`` all must."""
    refused = [number for number in sorted(outcomes) if outcomes[number]["status"] == "refused"]
    if len(refused) < len(clips) and not (strict and refused):
        return
    told = [f"{_one_line(clips[number].path.name)}: {outcomes[number]['reason']}" for number in refused[:3]]
    more = f"; and {len(refused) - 3} more" if len(refused) > 3 else ""
    counted = "none" if len(refused) == len(clips) else f"--strict: {len(refused)}"
    which = "can" if len(refused) == len(clips) else "cannot"
    raise UserError(f"{counted} of the {len(clips)} videos {which} be used: {'; '.join(told)}{more}")


def _one_line(text: object) -> str:
    """Text that may hold anything, such as a file's name, with what cannot be printed as escapes."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in str(text))


def _link(kept: Path, target: Path) -> None:
    """Puts a file of the cache into the output, without a second copy where the file system allows."""
    target.parent.mkdir(exist_ok=True)
    try:
        os.link(kept, target)
    except OSError:
        shutil.copyfile(kept, target)


def _summary(out: str, clips: list[Clip], outcomes: dict[int, Outcome], counts: dict[str, int], took: float) -> None:
    for number, clip in enumerate(clips):
        if outcomes[number]["status"] == "refused":
            print(f"refused: {_one_line(clip.path)}: {_one_line(outcomes[number]['reason'])}", file=sys.stderr)
        for line in outcomes[number].get("damage", ()):
            print(f"note: {_one_line(clip.path)}: {_one_line(line)}", file=sys.stderr)
    used = [outcome for outcome in outcomes.values() if outcome["status"] == "used"]
    seconds = sum(outcome["seconds"] for outcome in used)
    records = ", ".join(f"{counts[split]} {split}" for split in SPLITS)
    print(
        f"{_one_line(out)}: {len(used)} clips used, {len(clips) - len(used)} refused; {records} records; "
        f"{seconds:.0f} s of video in {took:.0f} s"
    )
