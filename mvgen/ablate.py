"""Switches parts of the method off one at a time, trains each variant at full length, and writes a page of the gains.

    python -m mvgen.ablate --data RECORDS --held-out RECORDS [--changed camera=RECORDS ...] --out DIR
                           [--steps N] [--seeds 0 1 2] [--page docs/alignment.md]

Every variant is the configuration with a few fields changed (`--list` shows them), trained from the same seeds on the
same examples and measured on the same held-out windows, and on test sets with one thing changed. Each result is kept in
DIR/results; started again, the same command goes on where it stopped, in the middle of a training if need be, and more
`--seeds` may be added later. The page is written anew after each result, so that it can be read while the rest is still
training. Of an existing page only what stands between its two marks is replaced.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mvgen.data.records import RecordSource, RecordSpec, read_description
from mvgen.errors import CommandParser, UserError, run_command, seed_in_range, without_extra

try:
    from mvgen.evaluation.ablation.run import PLAIN, Settings, base_config, chosen, run
    from mvgen.evaluation.robustness import named_folders
except ModuleNotFoundError as error:  # mir_eval and matplotlib are not for those who only train and generate
    without_extra(error, "eval", __name__)


def parser() -> argparse.ArgumentParser:
    """The options."""
    words = CommandParser(
        prog="python -m mvgen.ablate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("--data", required=True, metavar="DIR", help="records to learn from (split train)")
    words.add_argument(
        "--held-out", metavar="DIR", help="records to measure on (split test); by default those of --data"
    )
    words.add_argument("--changed", action="append", default=[], metavar="NAME=DIR", help="the same with one change")
    words.add_argument("--out", required=True, metavar="DIR", help="trainings and results are kept here")
    words.add_argument("--page", default="docs/alignment.md", metavar="FILE", help="the page to write (%(default)s)")
    words.add_argument(
        "--config", default="ablation", metavar="NAME", help="the base: a preset or a file (%(default)s)"
    )
    words.add_argument("--steps", type=int, metavar="N", help="training steps of each variant, if not the base's")
    words.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="S", help="each variant from each (0)")
    words.add_argument("--only", nargs="+", default=[], metavar="NAME", help="only these variants")
    words.add_argument("--windows", type=int, default=128, metavar="N", help="held-out windows scored (%(default)s)")
    words.add_argument("--generated", type=int, default=96, metavar="N", help="of them with music made (%(default)s)")
    words.add_argument("--seconds", type=float, default=4.0, help="length of a window (%(default)s)")
    words.add_argument("--list", action="store_true", help="say what would be tried, and stop")
    return words


def main(argv: list[str] | None = None) -> int:
    """Reads the arguments, trains and measures what is missing, and writes the page."""
    given = parser().parse_args(argv)
    if min(given.windows, given.generated) < 2:
        raise UserError("--windows and --generated must be at least 2")
    for seed in given.seeds:
        seed_in_range("--seeds", seed)
    if not 0 < given.seconds <= 3600:
        raise UserError(f"--seconds {given.seconds:g}: more than 0 and at most 3600")
    config = base_config(given.config, given.data, given.steps)
    spec = RecordSpec.from_json(read_description(given.data)["spec"])
    tried = chosen(config, spec, given.only)
    if given.list:
        for variant in tried:
            changes = ", ".join(f"{name}={value}" for name, value in variant.changes.items())
            print(f"{variant.name:24s} {variant.part}: {variant.told}{f' ({changes})' if changes else ''}")
        return 0
    page = Path(given.page)
    if not page.parent.is_dir():
        raise UserError(f"--page {page}: the folder {page.parent} does not exist")
    sets = {PLAIN: given.held_out or given.data, **named_folders(given.changed)}
    for folder in sets.values():
        source = RecordSource(folder, "test")
        if source.spec != spec:
            raise UserError(f"{folder} holds {source.spec}, {given.data} holds {spec}")
    settings = Settings(config, spec, given.data, sets, given.seconds, given.windows, given.generated)
    status = run(settings, tried, given.seeds, Path(given.out), page, given.config)
    if not status:
        print(page)
    return status


if __name__ == "__main__":
    run_command(main)
