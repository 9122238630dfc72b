"""Measures speed beside the reference, both in one run.

    python -m mvgen.bench music [--size tiny|small|medium|large] [--seconds S] [--json FILE]
    python -m mvgen.bench data [--records DIR] [--json FILE]     see mvgen/bench_data.py

``music``: transformers on torch and ours generate from the same random weights, greedily, the same number of tokens;
then their EnCodecs encode and decode the same sound. One line a case; how each figure is taken is said in
docs/musicgen.md.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from mvgen.checkpoint import write_json
from mvgen.errors import UserError, run_command
from mvgen.interop import codec_bench
from mvgen.interop.codec_bench import CodecCase, write_codec
from mvgen.interop.musicgen_bench import CLOCKS, SIZES, Case, bandwidth, run_ours, run_transformers, write_random

SUBJECTS = ("music", "video", "train", "data")
ENGINES = {"transformers": run_transformers, "mvgen": run_ours}
CODEC_ENGINES = {"transformers": codec_bench.run_transformers, "mvgen": codec_bench.run_ours}


def apart(function: Any, *arguments: Any) -> Any:
    """Calls it in a process of its own, so that neither engine finds the other's memory or threads."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def measure_music(size: str, cases: list[Case], precisions: list[str], repeats: int) -> list[dict[str, Any]]:
    """One row for each engine, precision and case; see :func:`mvgen.interop.musicgen_bench.run_ours`.

    ``same_tokens`` in our rows is the share of greedy tokens that are transformers' own.
    """
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        write_random(Path(folder), size)
        copied = apart(bandwidth, cases[0].clock)
        for precision in precisions:
            played: dict[str, list[np.ndarray]] = {}
            for engine, run in ENGINES.items():
                results = apart(run, folder, cases, precision, repeats)
                played[engine] = [tokens for _, tokens in results]
                for case, (figures, _) in zip(cases, results, strict=True):
                    share = figures["bytes_per_step"] * figures["steps_per_s"] / copied
                    row = {"engine": engine, "size": size, "precision": precision, "batch": case.batch,
                           "guidance": case.guidance, "tokens": case.tokens, **figures,
                           "copy_bytes_per_s": copied, "bandwidth_share": share}  # fmt: skip
                    rows.append(row)
                    print(line(row), flush=True)
            for number, (theirs, ours) in enumerate(zip(*played.values(), strict=True)):
                rows[len(rows) - len(cases) + number]["same_tokens"] = float(np.mean(theirs == ours))
    return rows


def measure_codec(size: str, cases: list[CodecCase], repeats: int) -> list[dict[str, Any]]:
    """One row for each engine and case of encoding and decoding; ``same_codes`` in ours is the share that agrees."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        codec = apart(write_codec, Path(folder), size)
        made: dict[str, list[np.ndarray]] = {}
        for engine, run in CODEC_ENGINES.items():
            results = apart(run, codec, cases, repeats)
            made[engine] = [codes for _, codes in results]
            for case, (figures, _) in zip(cases, results, strict=True):
                rows.append({"engine": engine, "codec": size, "batch": case.batch, "seconds": case.seconds, **figures})
                row = rows[-1]
                print(
                    f"{engine:13}{'EnCodec':10}{case.batch:6}  encodes {row['encoded_per_s']:.1f}, "
                    f"decodes {row['decoded_per_s']:.1f} s of sound a second", flush=True,
                )  # fmt: skip
        for row, theirs, ours in zip(rows[len(cases) :], *made.values(), strict=True):
            row["same_codes"] = float(np.mean(theirs == ours))
    return rows


HEADING = (
    f"{'engine':13}{'precision':10}{'batch':>6}{'guided':>7}{'tokens/s':>10}{'s of sound/s':>13}{'first sound s':>14}"
    f"{'memory MB':>10}{'of bandwidth':>13}"
)


def line(row: dict[str, Any]) -> str:
    """A row as text, under ``HEADING``."""
    return (
        f"{row['engine']:13}{row['precision']:10}{row['batch']:6}{'yes' if row['guidance'] != 1 else 'no':>7}"
        f"{row['tokens_per_s']:10.1f}{row['sound_per_s']:13.2f}{row['first_sound_s']:14.2f}"
        f"{row['peak_bytes'] / 1e6:10.0f}{row['bandwidth_share']:13.0%}"
    )


def whole_numbers(text: str) -> list[int]:
    """``1,8`` as a list. Raises ``UserError`` for anything else."""
    try:
        found = [int(word) for word in text.split(",")]
    except ValueError:
        found = []
    if not found or min(found) < 1:
        raise UserError(f"--batches {text}: whole numbers from 1 on, with commas, for example 1,8")
    return found


def command(argv: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["data"]:
        from mvgen.bench_data import command as data_command

        return data_command(argv[1:])
    parser = argparse.ArgumentParser(prog="python -m mvgen.bench", description="Measures speed beside the reference.")
    parser.add_argument("subject", choices=SUBJECTS, help="music: generation of tokens beside transformers")
    parser.add_argument("--size", choices=SIZES, default="tiny", help="MusicGen's sizes, or a tiny one (%(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of sound, for each request (%(default)s)")
    parser.add_argument("--batches", default="1,8", help="requests at once (%(default)s)")
    parser.add_argument("--precision", choices=("float32", "bfloat16", "both"), default="both")
    parser.add_argument("--repeats", type=int, default=3, help="the best of so many is reported (%(default)s)")
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="cpu: seconds computed, on one core that others use too"
    )
    parser.add_argument("--json", metavar="FILE", help="write every figure here")
    given = parser.parse_args(argv)
    if given.subject != "music":
        raise UserError(f"bench {given.subject} is not there yet; use bench music")
    if not 1 <= given.seconds <= 40 or given.repeats < 1:
        raise UserError("--seconds lies between 1 and 40 (MusicGen's positions end there), --repeats is at least 1")
    if given.json and not Path(given.json).absolute().parent.is_dir():
        raise UserError(f"--json {given.json}: its folder does not exist")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if given.clock == "cpu" and cores != 1:
        raise UserError(f"--clock cpu adds up all threads; run on one core (taskset -c 1), not on {cores}")
    tokens = round(50 * given.seconds)
    cases = [Case(batch, tokens, scale, given.clock) for batch in whole_numbers(given.batches) for scale in (1.0, 3.0)]
    precisions = ["float32", "bfloat16"] if given.precision == "both" else [given.precision]
    print(f"{given.size}, {given.seconds:g} s a request, {cores} CPU core(s)", file=sys.stderr)
    print(HEADING, flush=True)
    rows = measure_music(given.size, cases, precisions, given.repeats)
    sounds = [CodecCase(batch, given.seconds, given.clock) for batch in whole_numbers(given.batches)]
    codec = measure_codec(given.size, sounds, given.repeats)
    same = ", ".join(
        f"{row['same_tokens']:.2%}" for row in rows if row.get("precision") == "float32" and "same_tokens" in row
    )
    if same:
        print(f"greedy tokens equal to transformers' in float32, case by case: {same}")
    if given.json:
        write_json(given.json, {"cores": cores, "clock": given.clock, "rows": rows, "codec": codec})
    return 0


if __name__ == "__main__":
    run_command(command)
