"""MusicGen's decoder and EnCodec beside transformers', in one run: each engine in a process of its own."""

from __future__ import annotations

import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from mvgen.benchmarks import codec as codecs
from mvgen.benchmarks.codec import CodecCase, write_codec
from mvgen.benchmarks.music import Case, bandwidth, run_ours, run_transformers, write_random

ENGINES = {"transformers": run_transformers, "mvgen": run_ours}
CODEC_ENGINES = {"transformers": codecs.run_transformers, "mvgen": codecs.run_ours}


def apart(function: Any, *arguments: Any) -> Any:
    """Calls it in a process of its own, so that neither engine finds the other's memory or threads."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def measure_music(size: str, cases: list[Case], precisions: list[str], repeats: int) -> list[dict[str, Any]]:
    """One row for each engine, precision and case; see :func:`mvgen.benchmarks.music.run_ours`.

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
