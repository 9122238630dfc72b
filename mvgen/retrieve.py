"""Finds the music of a video, and the video of a music, among records, through the coordinated space.

    python -m mvgen.retrieve [--checkpoint DIR] --records DIR --video FILE [--top 5] [--json FILE]
    python -m mvgen.retrieve [--checkpoint DIR] --records DIR --audio FILE

Neither tower has seen the other modality, so every record is worked out once and kept on disk; a second query costs
only itself. The query may begin anywhere in a record, and the other way round: the two are laid against each other at
every distance in time at which at least a window of both meets, and the best one counts.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import mvgen
from mvgen.errors import CommandParser, in_range, run_command
from mvgen.files import check_output
from mvgen.inference.options import add_checkpoint, add_features


def parser() -> argparse.ArgumentParser:
    """The options."""
    words = CommandParser(
        prog="python -m mvgen.retrieve", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_checkpoint(words)
    words.add_argument("--records", required=True, metavar="DIR", help="a folder of records to search, all its splits")
    query = words.add_mutually_exclusive_group(required=True)
    query.add_argument("--video", metavar="FILE", help="a performance whose music is sought; its sound is not heard")
    query.add_argument("--audio", metavar="FILE", help="music whose video is sought: a sound, or a video with sound")
    add_features(words)
    words.add_argument("--top", type=int, default=5, metavar="N", help="so many of the best (%(default)s)")
    words.add_argument("--json", metavar="FILE", help="also write the answer there")
    words.add_argument("--index", metavar="DIR", help="where indexes are kept (RECORDS.index, beside the records)")
    return words


def main(argv: list[str] | None = None) -> int:
    """Reads the arguments and searches."""
    arguments = parser().parse_args(argv)
    in_range("--top", arguments.top, 1, 1_000_000)
    out = Path(arguments.json) if arguments.json else None
    if out:
        check_output("--json", out, inputs=[arguments.video or arguments.audio])
    model = mvgen.load(arguments.checkpoint, semantic=arguments.semantic, landmarks=arguments.landmarks)
    answer = model.retrieve(
        arguments.records, video=arguments.video, audio=arguments.audio, top=arguments.top, index=arguments.index or ""
    )
    print(answer)
    if out:
        answer.save(out)
    return 0


if __name__ == "__main__":
    run_command(main)
