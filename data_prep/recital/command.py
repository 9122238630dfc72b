"""``python -m data_prep recital``: the built-in data set, as videos or straight as records."""

from __future__ import annotations

import argparse
import os

from data_prep.recital.changes import CHANGES
from data_prep.recital.make import Programme, make_records, make_videos
from data_prep.recital.repertoire import pieces
from data_prep.recital.score import INSTRUMENTS, check_instrument
from mvgen.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the sub-command's arguments."""
    parser.description = (
        "Makes performances composed, played and filmed by program, every note known: MP4 with sound and MIDI for each "
        "clip, and manifest.jsonl; or, with --records, a folder of records to train on. Same arguments, same clips."
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write; a Recital in it is replaced")
    parser.add_argument("--clips", type=int, default=48, metavar="N", help="how many clips (default 48)")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other performances (default 0)")
    parser.add_argument(
        "--instruments",
        default=",".join(INSTRUMENTS),
        metavar="A,B",
        help=f"which take turns (default {','.join(INSTRUMENTS)})",
    )
    parser.add_argument("--seconds", type=float, default=6.0, help="length of each clip (default 6)")
    parser.add_argument(
        "--change",
        choices=tuple(CHANGES),
        default="",
        help="the same clips with one thing changed that the plain ones never show: "
        + "; ".join(f"{name} ({told})" for name, told in CHANGES.items()),
    )
    parser.add_argument(
        "--lamps",
        type=int,
        choices=(0, 1),
        default=0,
        help="1: keys, places and drums light up while they sound, as no real ones do (default 0)",
    )
    parser.add_argument(
        "--repertoire",
        choices=("music21",),
        default="",
        help="what is played: excerpts of the corpus of an installed music21 (Bach, Haydn, Mozart, Beethoven, fiddle "
        "tunes), each piece in one split alone; without it, music composed here",
    )
    parser.add_argument(
        "--soundfont", default="", metavar="FILE", help="play it with this .sf2 or .sf3 instead of TimGM6mb"
    )
    parser.add_argument(
        "--footage",
        type=int,
        choices=(0, 1),
        default=0,
        help="1: filmed as people film: held by hand, at a slant, compressed, before any background, with rests in "
        "which hands move, and now and then a second player who is silent; 0: on a stand, before a bare floor "
        "(default 0)",
    )
    splits = parser.add_mutually_exclusive_group()
    splits.add_argument(
        "--test-percent",
        type=float,
        metavar="P",
        help="share of clips for the test split (default: 10 with --records, else left to convert)",
    )
    splits.add_argument("--split", choices=("train", "test"), help="put every clip into this split")
    parser.add_argument("--records", action="store_true", help="write records (TFRecord) instead of videos")
    parser.add_argument(
        "--codec", default="encodec_tiny", help="for --records: codec preset, folder or hub name (default encodec_tiny)"
    )
    parser.add_argument(
        "--size", type=int, default=64, metavar="N", help="for --records: side of the picture in pixels (default 64)"
    )
    parser.add_argument(
        "--flow-size", type=int, default=16, metavar="N", help="for --records: side of the flow grid (default 16)"
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=None,
        metavar="N",
        help="processes (default: one for each core); the result does not depend on it",
    )


def run(args: argparse.Namespace) -> int:
    """Runs the sub-command and returns the exit status. Raises :class:`UserError` for bad arguments."""
    instruments = tuple(name.strip() for name in args.instruments.split(",") if name.strip())
    if not instruments:
        raise UserError(f"--instruments names none; it can name {', '.join(INSTRUMENTS)}")
    for name in instruments:
        check_instrument(name)
    if args.clips < 1:
        raise UserError(f"--clips must be at least 1, not {args.clips}")
    if args.seed < 0:
        raise UserError(f"--seed must not be negative, not {args.seed}")
    if not 1 <= args.seconds <= 3600:
        raise UserError(f"--seconds must lie between 1 and 3600, not {args.seconds:g}")
    if args.test_percent is not None and not 0 <= args.test_percent <= 100:
        raise UserError(f"--test-percent must lie between 0 and 100, not {args.test_percent:g}")
    if args.soundfont and not os.path.isfile(args.soundfont):
        raise UserError(f"--soundfont {args.soundfont}: there is no such file")
    if args.repertoire:
        pieces()
    workers = len(os.sched_getaffinity(0)) if args.workers is None else args.workers
    if workers < 1:
        raise UserError(f"--workers must be at least 1, not {workers}")
    if not 16 <= args.size <= 512 or args.size % 8:
        raise UserError(f"--size must be a multiple of 8 between 16 and 512, not {args.size}")
    if not 1 <= args.flow_size <= args.size:
        raise UserError(f"--flow-size must lie between 1 and --size, not {args.flow_size}")
    test_percent = args.test_percent
    if args.records and test_percent is None and args.split is None:
        test_percent = 10.0
    programme = Programme(
        args.clips, args.seed, instruments, args.seconds, args.split, test_percent, args.change, bool(args.lamps),
        bool(args.footage), args.repertoire, args.soundfont,
    )  # fmt: skip
    if args.records:
        counts = make_records(programme, args.out, workers, args.codec, (args.size,) * 2, (args.flow_size,) * 2)
        told = ", ".join(f"{count} {split}" for split, count in counts.items())
        print(f"{args.out}: {args.clips} clips of {args.seconds:g} s as records ({told})")
    else:
        make_videos(programme, args.out, workers)
        print(f"{args.out}: {args.clips} clips of {args.seconds:g} s, listed in manifest.jsonl")
    return 0
