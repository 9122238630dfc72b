"""``python -m data_prep COMMAND``: everything that makes data. Each command has ``--help``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from mvgen.data.huge_pages import restart_in_huge_pages
from mvgen.errors import CommandParser, run_command

COMMANDS = {
    "recital": ("data_prep.recital.command", "compose, play and film performances: videos with known notes"),
    "download": ("data_prep.download.command", "fetch a data set, going on where it stopped"),
    "convert": ("data_prep.convert.command", "turn videos into records"),
    "inspect": ("data_prep.inspect.command", "check every record of a folder"),
    "folds": ("data_prep.convert.folds", "deal records into folds, whole groups of clips left out at a time"),
    "bench": ("data_prep.convert.benchmark", "measure how fast videos are converted, stage by stage"),
    "codec-train": ("data_prep.codec.command", "train encodec_tiny"),
    "codec-measure": ("data_prep.codec.command", "measure what a codec keeps of the sound"),
}
"""Command: module with ``add_arguments(parser)`` and ``run(args) -> int``, and one line of help."""


def main(arguments: Sequence[str]) -> int:
    """Runs one command.

    Raises:
        UserError: no such command, or a wrong option.
    """
    parser = CommandParser(prog="python -m data_prep", description=__doc__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=CommandParser)
    named = next((argument for argument in arguments if argument in COMMANDS), None)
    for name, (module_name, text) in COMMANDS.items():
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        # Only the command that is run is imported: torch and Beam take seconds.
        if name == named:
            module = importlib.import_module(module_name)
            if name.startswith("codec-"):
                module.add_arguments(sub, name)
            else:
                module.add_arguments(sub)
            sub.set_defaults(run=module.run)
    args, options = parser.parse_known_args(arguments)
    args.options = options
    if options and not getattr(args, "passes_options", False):
        parser.error(f"unknown option {options[0]}")
    return args.run(args)


if __name__ == "__main__":
    restart_in_huge_pages()  # the codec, too, takes its work space anew with every call (docs/data.md)
    run_command(lambda: main(sys.argv[1:]))
