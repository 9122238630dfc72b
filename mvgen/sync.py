"""Estimates how many milliseconds late the sound of a video is against its picture, and how sure that is.

    python -m mvgen.sync [--checkpoint DIR] --video FILE [--reach 1.0] [--json FILE]
    python -m mvgen.sync [--checkpoint DIR] --prove CLIPS [--labels FILE.csv] [--shifts N] [--seed S]

A positive figure says that the sound comes LATE: it is to be moved that much earlier to fit. A negative one says that
it comes early. `--prove` moves the sound of every video in a folder by known random amounts, whole frames or not, and
says how well they are found, beside chance; and how sure it is of another video's sound, which fits nowhere. Beside
the model, by family of instruments, stand two plain ways that learn nothing: onset strength against the mean optical
flow, and against the speed of hands (where `make setup-weights` has been run). Without `--checkpoint` these alone.

The picture is compared with the sound at every distance in time up to `--reach`, in steps of 10 ms: the sound is
given to the codec four times, each time begun a quarter of a frame later. Every stretch of half a window votes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import mvgen
from mvgen.data.groups import read_groups
from mvgen.errors import CommandParser, UserError, in_range, run_command, seed_in_range
from mvgen.evaluation.plain_sync import PlainWays, prove_plainly, shares, shares_told
from mvgen.evaluation.synchronisation import prove, told
from mvgen.files import check_output, write_json
from mvgen.inference.options import add_features
from mvgen.inference.synchronisation import LOOKED_AT_SECONDS, REACH_SECONDS, STEP_SECONDS, Synchroniser, shifts_of


def parser() -> argparse.ArgumentParser:
    """The options."""
    words = CommandParser(
        prog="python -m mvgen.sync", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument(
        "--checkpoint", metavar="DIR",
        help="a training folder, one of its steps, or an exported model (with --video the model that comes with mvgen)",
    )  # fmt: skip
    given = words.add_mutually_exclusive_group(required=True)
    given.add_argument("--video", metavar="FILE", help="a video with sound")
    given.add_argument("--prove", metavar="CLIPS", help="a folder of videos whose sound is known to fit")
    words.add_argument(
        "--reach", type=float, default=REACH_SECONDS, metavar="S", help="look so far either way (%(default)s s)"
    )
    words.add_argument(
        "--seconds", type=float, default=LOOKED_AT_SECONDS, metavar="S", help="look at so much (%(default)s s)"
    )
    add_features(words)
    words.add_argument(
        "--labels", metavar="FILE.csv", help="with --prove: table of clip, group, labels (docs/real.md), to tell by"
    )
    words.add_argument("--shifts", type=int, default=2, metavar="N", help="with --prove: for each video (%(default)s)")
    words.add_argument("--seed", type=int, default=0, help="with --prove: of the amounts (%(default)s)")
    words.add_argument("--json", metavar="FILE", help="also write the answer there")
    return words


def main(argv: list[str] | None = None) -> int:
    """Reads the arguments and listens."""
    arguments = parser().parse_args(argv)
    in_range("--reach", arguments.reach, STEP_SECONDS, 10)
    in_range("--shifts", arguments.shifts, 1, 10_000)
    seed_in_range("--seed", arguments.seed)
    if not 0 < arguments.seconds <= 3600:
        raise UserError(f"--seconds {arguments.seconds}: it must be a number above 0 and at most 3600")
    out = Path(arguments.json) if arguments.json else None
    if out:
        check_output("--json", out, inputs=[arguments.video or "", *Path(arguments.prove or ".").glob("*")])
    if arguments.labels and not arguments.prove:
        raise UserError("--labels goes with --prove")
    if arguments.prove and not arguments.checkpoint:
        return _prove(None, arguments, out)
    model = mvgen.load(
        arguments.checkpoint or mvgen.PRETRAINED, semantic=arguments.semantic, landmarks=arguments.landmarks
    )
    if arguments.prove:
        return _prove(Synchroniser(model.loaded, arguments.reach, arguments.seconds), arguments, out)
    found = model.sync(arguments.video, reach=arguments.reach, seconds=arguments.seconds)
    print(found)
    if out:
        found.save(out)
    return 0


def _prove(synchroniser: Synchroniser | None, given: argparse.Namespace, out: Path | None) -> int:
    table = read_groups(given.labels) if given.labels else {}
    ways = PlainWays(given.landmarks, given.seconds)
    folder, proof, names = Path(given.prove), {}, ways.names
    if synchroniser is not None:
        proof = prove(synchroniser, folder, given.shifts, given.seed)
        print("\n".join(told(proof)))
    reach = float(shifts_of(given.reach)[-1])
    cases = prove_plainly(ways, folder, given.shifts, given.seed, reach)
    if proof:
        names = ("model", *names)
        cases = [{**case, "model": told["milliseconds"]} for case, told in zip(cases, proof["each"], strict=True)]
    found = shares(cases, names, table, given.seed)
    print("\n".join(shares_told(found, names)))
    if out:
        write_json(out, {**proof, "by_family": found, "plain": cases})
    return 0


if __name__ == "__main__":
    run_command(main)
