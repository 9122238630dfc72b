"""Measures a checkpoint on held-out windows, and again on test sets in which one thing differs that it has never seen.

    python -m mvgen.robustness --checkpoint DIR --plain RECORDS --changed camera=RECORDS [--changed tempo=RECORDS]
                               --out DIR
    python -m mvgen.robustness --real FOLDS [--config real] [--change model.use_landmarks=True ...] --out DIR

Evaluation on distribution shift. For each set of records: retrieval R@1 both ways among all windows, whether the offset
between picture and sound is found within one frame, and onset F and note F of the music generated for the silent
picture against the known notes. Each with its chance level, a 95 % interval, its mean on every instrument, and its
change from the plain set, window by window. All sets hold the same clips (`python -m data_prep recital --change`).
Writes DIR/robustness.json and DIR/robustness.md after each set, so that what is done can be read while the rest is
measured.

With `--real`, on real performances instead: for each fold of records (`python -m data_prep folds`) the configuration is
trained, unless it is already, and measured on the groups of clips that the fold leaves out, beside two plain ways that
learn nothing; without `--config` those alone. Writes DIR/real.json and DIR/real.md; docs/real.md tells more.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mvgen.errors import CommandParser, UserError, run_command, seed_in_range, without_extra
from mvgen.files import make_folder
from mvgen.inference.options import add_sampling, sampling_of

try:
    from mvgen.evaluation.ablation.run import base_config
    from mvgen.evaluation.real import changed_config, fold_folders, lines, run_folds
    from mvgen.evaluation.robustness import PLAIN, Robustness, measure_sets, named_folders
except ModuleNotFoundError as error:  # mir_eval and matplotlib are not for those who only train and generate
    without_extra(error, "eval", __name__)


def main(argv: list[str] | None = None) -> int:
    """Measures all sets and writes what was found."""
    parser = CommandParser(
        prog="python -m mvgen.robustness", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", metavar="DIR", help="working folder of a run")
    parser.add_argument("--plain", metavar="DIR", help="held-out records like those trained on")
    parser.add_argument(
        "--changed", action="append", default=[], metavar="NAME=DIR", help="the same clips, one thing changed"
    )
    parser.add_argument("--real", metavar="FOLDS", help="instead: folds of real performances")
    parser.add_argument("--config", metavar="NAME", help="with --real: what is trained, a preset or a file")
    parser.add_argument(
        "--change", action="append", default=[], metavar="FIELD=VALUE", help="with --config: a field of it"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="where what is measured goes")
    parser.add_argument("--windows", type=int, default=256, metavar="N", help="of each set, at most (%(default)s)")
    parser.add_argument("--generated", type=int, metavar="N", help="of them with music generated (default: all)")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a window (%(default)s)")
    parser.add_argument("--split", default="test", help="of the records (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of draws and intervals (%(default)s)")
    add_sampling(parser)
    arguments = parser.parse_args(argv)
    if arguments.real:
        return _real(arguments)
    if not arguments.checkpoint or not arguments.plain:
        raise UserError("--checkpoint DIR and --plain RECORDS are needed (or --real FOLDS); see --help")
    sets = {PLAIN: arguments.plain, **named_folders(arguments.changed)}
    generated = arguments.windows if arguments.generated is None else arguments.generated
    if min(arguments.windows, generated) < 2:
        raise UserError("--windows and --generated must be at least 2")
    seed_in_range("--seed", arguments.seed)
    if not 0 < arguments.seconds <= 3600:
        raise UserError(f"--seconds {arguments.seconds:g}: more than 0 and at most 3600")
    sampling = sampling_of(arguments)
    robustness = Robustness(
        arguments.checkpoint, arguments.seconds, arguments.windows, generated, sampling, arguments.seed
    )
    sources = {name: robustness.source(folder, arguments.split) for name, folder in sets.items()}
    out = Path(arguments.out)
    make_folder("--out", out)
    for name, found in measure_sets(robustness, sources, out, arguments.checkpoint, arguments.seconds):
        print(f"{name}: " + ", ".join(_told(found["measures"])), flush=True)
    print(out / "robustness.md")
    return 0


def _real(given: argparse.Namespace) -> int:
    if given.change and not given.config:
        raise UserError("--change goes with --config")
    if given.checkpoint or given.plain or given.changed:
        raise UserError("--real FOLDS trains what it measures: no --checkpoint, --plain or --changed beside it")
    seed_in_range("--seed", given.seed)
    if not 0 < given.seconds <= 3600:
        raise UserError(f"--seconds {given.seconds:g}: more than 0 and at most 3600")
    folds, out = fold_folders(given.real), Path(given.out)
    config = changed_config(base_config(given.config, str(folds[0]), None), given.change) if given.config else None
    make_folder("--out", out)
    status, found = run_folds(folds, out, config, given.seconds, sampling_of(given), given.seed)
    if not status:
        print("\n".join(lines(found)))
        print(out / "real.md")
    return status


def _told(measures: dict[str, Any]) -> list[str]:
    return [f"{name} {found['mean']:.2f}" for name, found in measures.items() if found["mean"] is not None]


if __name__ == "__main__":
    run_command(main)
