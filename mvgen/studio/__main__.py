"""Opens the studio: a page in the browser for both directions, retrieval, and whether sound and picture are in sync.

    python -m mvgen.studio [--checkpoint DIR] [--records DIR] [--port N]

It listens on this machine alone (127.0.0.1), fetches nothing, and gives out nothing but what lies in its own folder.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

import mvgen
from mvgen.errors import CommandParser, UserError, in_range, run_command, without_extra
from mvgen.files import make_folder
from mvgen.inference.options import add_checkpoint

MOST_SECONDS, MOST_MEGABYTES = 60.0, 200
"""Of a file that is dropped, unless told."""


def parser() -> argparse.ArgumentParser:
    """The options."""
    words = CommandParser(
        prog="python -m mvgen.studio", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_checkpoint(words)
    words.add_argument("--records", default="", metavar="DIR", help="a folder of records to search, for retrieval")
    words.add_argument("--port", type=int, default=7860, help="of 127.0.0.1; 0: any that is free (%(default)s)")
    words.add_argument("--folder", metavar="DIR", help="keeps what is dropped and made (a temporary folder)")
    words.add_argument(
        "--most-seconds", type=float, default=MOST_SECONDS, metavar="S", help="longer files are refused (%(default)s)"
    )
    words.add_argument(
        "--most-megabytes", type=int, default=MOST_MEGABYTES, metavar="MB", help="larger ones, too (%(default)s)"
    )
    words.add_argument("--no-examples", action="store_true", help="do not make examples from Recital first")
    return words


def main(argv: list[str] | None = None) -> int:
    """Reads the arguments, makes the examples, and serves the page until Ctrl-C."""
    given = parser().parse_args(argv)
    in_range("--port", given.port, 0, 65535)
    in_range("--most-seconds", given.most_seconds, 1, 3600)
    in_range("--most-megabytes", given.most_megabytes, 1, 100_000)
    if given.folder:
        make_folder("--folder", given.folder)
    # An end by another program is an end like Ctrl-C: the temporary folder goes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with nullcontext(given.folder) if given.folder else tempfile.TemporaryDirectory(prefix="mvgen-studio-") as place:
        folder = Path(place).resolve()
        # Said before gradio is imported: it keeps uploads there, and tells nobody that it runs.
        os.environ["GRADIO_TEMP_DIR"] = str(folder / "dropped")
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        try:
            from mvgen.studio.examples import make_examples
            from mvgen.studio.jobs import Jobs
            from mvgen.studio.page import page_of, serve
        except ModuleNotFoundError as error:
            without_extra(error, "studio", "__main__")

        model = mvgen.load(given.checkpoint)
        examples = [] if given.no_examples else make_examples(folder / "examples")
        jobs = Jobs(model, folder, given.most_seconds, given.records)
        try:
            serve(page_of(jobs, examples), folder, given.port, given.most_megabytes)
        except OSError:
            raise UserError(f"--port {given.port} cannot be had; name another, or 0 for any that is free") from None
    return 0


if __name__ == "__main__":
    run_command(main)
