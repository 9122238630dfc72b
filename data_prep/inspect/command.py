"""``python -m data_prep inspect``: what is in a folder of records, and whether all of it is sound."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from data_prep.inspect.records import inspect_folder, summary
from data_prep.inspect.report import write_report
from mvgen.files import check_output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--records", required=True, metavar="DIR", help="folder of records")
    parser.add_argument("--report", metavar="FILE.html", help="also write what was found as one HTML page")


def run(args: argparse.Namespace) -> int:
    """Runs the command: 0 when every record is sound, 1 when any is bad."""
    if args.report:
        check_output("--report", args.report, inputs=Path(args.records).glob("*"))
    found, spec = inspect_folder(args.records)
    for name, value in summary(found, spec):
        print(f"{name:>16}: {value}")
    for line in found.bad:
        print(f"bad: {line}", file=sys.stderr)
    if args.report:
        write_report(Path(args.report), args.records, found, spec)
    print(f"{args.records}: {len(found.bad)} faults" if found.bad else f"{args.records}: all records are sound")
    return 1 if found.bad else 0
