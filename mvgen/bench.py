"""Measures speed beside a peer or a limit, both in one run.

    python -m mvgen.bench music [--size tiny|small|medium|large] [--seconds S] [--json FILE]
    python -m mvgen.bench data [--records DIR] [--json FILE]
    python -m mvgen.bench train [--config NAME] [--records DIR] [--set FIELD=VALUE ...] [--json FILE]
    python -m mvgen.bench goodput --workdir DIR

``music``: transformers on torch and ours generate from the same random weights, greedily, the same number of tokens;
then their EnCodecs encode and decode the same sound. One line a case; how each figure is taken is said in
docs/musicgen.md. ``data``: how fast training examples come, beside what training takes and beside reading the bare
files. ``train``: time of a training step, model FLOPs over the measured matrix rate, input wait, compile time, memory.
``goodput``: where the time of a training run went.
"""

from __future__ import annotations

import argparse
import os
import runpy
import sys
import tempfile
from pathlib import Path

from ml_collections import ConfigDict

from mvgen.benchmarks import loader
from mvgen.benchmarks.beside_transformers import HEADING, measure_codec, measure_music
from mvgen.benchmarks.codec import CodecCase
from mvgen.benchmarks.music import CLOCKS, SIZES, Case
from mvgen.errors import CommandParser, UserError, run_command
from mvgen.files import check_output, preset, write_json
from mvgen.training import goodput


def parser() -> argparse.ArgumentParser:
    """The options."""
    words = CommandParser(
        prog="python -m mvgen.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    subjects = words.add_subparsers(dest="subject", required=True, metavar="music|data|train|goodput")
    music = subjects.add_parser("music", help="generation of tokens beside transformers")
    music.add_argument("--size", choices=SIZES, default="tiny", help="MusicGen's sizes, or a tiny one (%(default)s)")
    music.add_argument("--seconds", type=float, default=2.0, help="of sound, for each request (%(default)s)")
    music.add_argument("--batches", default="1,8", help="requests at once (%(default)s)")
    music.add_argument("--precision", choices=("float32", "bfloat16", "both"), default="both")
    music.add_argument("--repeats", type=int, default=3, help="the best of so many is reported (%(default)s)")
    music.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="cpu: seconds computed, on one core that others use too"
    )
    data = subjects.add_parser("data", help="the loader of training beside bare reading")
    data.add_argument("--records", metavar="DIR", help="folder of records to read (default: some made for it)")
    data.add_argument("--split", default="train", help="of it (%(default)s)")
    data.add_argument("--window", type=float, default=2.4, help="seconds of an example (%(default)s)")
    data.add_argument("--batch", type=int, default=4, help="examples together (%(default)s)")
    data.add_argument("--threads", type=int, default=4, help="that read ahead (%(default)s)")
    data.add_argument("--seconds", type=float, default=5.0, help="to take examples for (%(default)s)")
    data.add_argument(
        "--consumed", type=float, default=loader.CONSUMED, help="examples a second that training takes (%(default)s)"
    )
    train = subjects.add_parser("train", help="a training step beside the matrix rate of this machine")
    train.add_argument("--config", default="base", help="preset or file (%(default)s)")
    train.add_argument("--records", metavar="DIR", help="folder of records to train on (default: some made for it)")
    train.add_argument("--steps", type=int, default=10, help="that are timed (%(default)s)")
    train.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="of the configuration")
    spent = subjects.add_parser("goodput", help="where the time of a training run went")
    spent.add_argument("--workdir", required=True, help="of the run")
    for subject in (music, data, train, spent):
        subject.add_argument("--json", metavar="FILE", help="write every figure here")
    return words


def whole_numbers(text: str) -> list[int]:
    """``1,8`` as a list. Raises ``UserError`` for anything else."""
    try:
        found = [int(word) for word in text.split(",")]
    except ValueError:
        found = []
    if not found or min(found) < 1:
        raise UserError(f"--batches {text}: whole numbers from 1 on, with commas, for example 1,8")
    return found


def bench_music(given: argparse.Namespace, cores: int) -> dict[str, object]:
    """Prints every case and returns what ``--json`` is to hold."""
    if not 1 <= given.seconds <= 40 or given.repeats < 1:
        raise UserError("--seconds lies between 1 and 40 (MusicGen's positions end there), --repeats is at least 1")
    if given.clock == "cpu" and cores != 1:
        raise UserError(f"--clock cpu adds up all threads; run on one core (taskset -c 1), not on {cores}")
    batches, tokens = whole_numbers(given.batches), round(50 * given.seconds)
    cases = [Case(batch, tokens, scale, given.clock) for batch in batches for scale in (1.0, 3.0)]
    precisions = ["float32", "bfloat16"] if given.precision == "both" else [given.precision]
    print(f"{given.size}, {given.seconds:g} s a request, {cores} CPU core(s)", file=sys.stderr)
    print(HEADING, flush=True)
    rows = measure_music(given.size, cases, precisions, given.repeats)
    sounds = [CodecCase(batch, given.seconds, given.clock) for batch in batches]
    codec = measure_codec(given.size, sounds, given.repeats)
    same = ", ".join(
        f"{row['same_tokens']:.2%}" for row in rows if row.get("precision") == "float32" and "same_tokens" in row
    )
    if same:
        print(f"greedy tokens equal to transformers' in float32, case by case: {same}")
    return {"cores": cores, "clock": given.clock, "rows": rows, "codec": codec}


def bench_data(given: argparse.Namespace, cores: int) -> dict[str, object]:
    """Prints every figure and returns what ``--json`` is to hold."""
    if min(given.batch, given.threads, given.seconds, given.consumed) <= 0:
        raise UserError("--batch, --threads, --seconds and --consumed are more than 0")
    with tempfile.TemporaryDirectory() as made:
        if given.records is None:
            loader.write_folder(Path(made), records=96, seconds=6.0)
        folder = given.records or made
        found = loader.measure(folder, given.split, given.window, given.batch, given.threads, given.seconds)
    times = {"times": found["examples"] / given.consumed, "times_work": found["examples_work"] / given.consumed}
    found = {**found, "consumed": given.consumed, **times}
    print(f"records of {found['record_bytes'] / 1e6:.2f} MB, {cores} CPU core(s)", file=sys.stderr)
    print(loader.lines(found))
    return {"cores": cores, **found}


def bench_train(given: argparse.Namespace, cores: int) -> dict[str, object]:
    """Prints every figure and returns what ``--json`` is to hold."""
    from mvgen.benchmarks import train

    if given.steps < 1:
        raise UserError(f"--steps {given.steps}: it is at least 1")
    config = runpy.run_path(str(preset(given.config)))["get_config"]()
    for word in given.set:
        field, equals, value = word.partition("=")
        try:
            now = config
            for part in field.split(".")[:-1]:
                now = now[part]
            was = now[field.split(".")[-1]]
            if not equals or isinstance(was, ConfigDict):
                raise ValueError(word)
            made = value.lower() in ("true", "1") if isinstance(was, bool) else type(was)(value)
        except (KeyError, ValueError, TypeError):
            raise UserError(f"--set {word}: it is FIELD=VALUE with a field of the configuration") from None
        config.update_from_flattened_dict({field: made})
    with tempfile.TemporaryDirectory() as folder:
        if given.records is None:
            loader.write_folder(Path(folder), records=64, seconds=6.0)
        config.data.path = given.records or folder
        found = train.measure(config, given.steps)
    print(train.lines(found))
    return {"cores": cores, **found}


def bench_goodput(given: argparse.Namespace, cores: int) -> dict[str, object]:
    """Prints the summary and returns what ``--json`` is to hold."""
    found = goodput.summary(given.workdir)
    if not found:
        raise UserError(f"--workdir {given.workdir} has no {goodput.FILE}: it is no training run's, or an old one's")
    print(goodput.told(found))
    return {**found}


def command(argv: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    given = parser().parse_args(argv)
    if given.json:
        check_output("--json", given.json)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    subjects = {"music": bench_music, "data": bench_data, "train": bench_train, "goodput": bench_goodput}
    figures = subjects[given.subject](given, cores)
    if given.json:
        write_json(given.json, figures)
    return 0


if __name__ == "__main__":
    run_command(command)
