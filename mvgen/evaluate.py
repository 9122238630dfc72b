"""Scores any two folders of videos with sound, ours or another tool's, against each other, matched by file name.

    python -m mvgen.evaluate --reference DIR --generated DIR [--out FILE.json] [--report FILE.html]
    python -m mvgen.evaluate --validate DIR

Where the reference folder holds ``manifest.jsonl`` (as Recital writes it), the known notes, instruments and film
geometry are used. Every score stands beside its chance level (the same score over shuffled pairs of the same
instrument, seeded) and beside the original's own score, which is the ceiling of the measure.
What each number means: docs/metrics.md. ``--validate`` says how well transcriber and place detector read originals.
"""

from __future__ import annotations

from pathlib import Path

from mvgen.errors import CommandParser, UserError, run_command, seed_in_range, without_extra
from mvgen.files import check_output, write_json

try:
    from mvgen.evaluation.folders import PARTS, evaluate_folders
    from mvgen.evaluation.metrics.readers import READERS, parse_readers
    from mvgen.evaluation.metrics.weighted import parse
    from mvgen.evaluation.report import write_evaluation
    from mvgen.evaluation.report.terminal import report_lines
    from mvgen.evaluation.validation import report_readers
except ModuleNotFoundError as error:  # mir_eval and matplotlib are not for those who only train and generate
    without_extra(error, "eval", __name__)


def main() -> int:
    """The command line."""
    parser = CommandParser(
        prog="python -m mvgen.evaluate",
        description="Scores a folder of generated videos with sound against a folder of originals, matched by name.",
    )
    parser.add_argument("--reference", metavar="DIR", help="originals, with manifest.jsonl if there is one")
    parser.add_argument("--generated", metavar="DIR", help="generated videos, named as the originals")
    parser.add_argument(
        "--validate", metavar="DIR", help="instead: do transcriber and place detector read these originals well?"
    )
    parser.add_argument("--out", metavar="FILE.json", help="also write all scores here, clip by clip")
    parser.add_argument("--report", metavar="FILE.html", help="also write a page with plots; it needs no network")
    parser.add_argument("--seed", type=int, default=0, help="of shuffled pairs and bootstrap (default 0)")
    parser.add_argument(
        "--parts", default=",".join(PARTS), metavar="A,B", help=f"what to score (default {','.join(PARTS)}: all)"
    )
    parser.add_argument(
        "--weights", nargs="+", default=[], metavar="NAME=FOLDER",
        help="trained networks in transformers' format for fad, fvd, kl; see docs/metrics.md",
    )  # fmt: skip
    parser.add_argument(
        "--readers", default="", metavar="A,B",
        help=f"second readers of notes and instruments: {','.join(READERS)} (`make setup-weights`)",
    )  # fmt: skip
    arguments = parser.parse_args()
    parts = tuple(part.strip() for part in arguments.parts.split(","))
    if unknown := sorted(set(parts) - set(PARTS)):
        raise UserError(f"--parts names {', '.join(unknown)}; it can name {', '.join(PARTS)}")
    for option, file in (("--out", arguments.out), ("--report", arguments.report)):
        if file:
            folders = [Path(name) for name in (arguments.reference, arguments.generated, arguments.validate) if name]
            check_output(option, file, inputs=[path for folder in folders for path in folder.glob("*")])
    seed_in_range("--seed", arguments.seed)
    if arguments.validate:
        if arguments.reference or arguments.generated or arguments.report or arguments.weights or arguments.readers:
            raise UserError("--validate DIR takes only --out and --seed beside it")
        return report_readers(arguments.validate, arguments.seed, arguments.out)
    if not arguments.reference or not arguments.generated:
        raise UserError("--reference DIR and --generated DIR are needed (or --validate DIR); see --help")
    scores = evaluate_folders(
        arguments.reference,
        arguments.generated,
        arguments.seed,
        parts=parts,
        weights=parse(arguments.weights),
        readers=parse_readers(arguments.readers),
    )
    print("\n".join(report_lines(scores)))
    if arguments.out:
        write_json(arguments.out, scores)
    if arguments.report:
        write_evaluation(arguments.report, scores)
        print(f"\nlook at {arguments.report}")
    return 0


if __name__ == "__main__":
    run_command(main)
