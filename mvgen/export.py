"""Writes the model of a checkpoint in a form that others read: safetensors, transformers' MusicGen, or programs.

    python -m mvgen.export --checkpoint DIR --format safetensors --out DIR
    python -m mvgen.export --checkpoint DIR --format musicgen --out DIR
    python -m mvgen.export --checkpoint DIR --format stablehlo --seconds 8 --out DIR

With ``safetensors`` the folder then holds ``model.safetensors`` (one tensor a parameter, named by its path with dots),
``config.json`` (the whole configuration), ``records.json`` (what the model was trained on: codec, sizes) and a model
card; every command's ``--checkpoint`` takes such a folder, or ``hub:OWNER/MODEL``. ``--push`` puts it there.
With ``musicgen`` it is one that ``transformers.MusicgenForCausalLM.from_pretrained`` loads: the token decoder alone,
and beside it what makes its conditioning; see :mod:`mvgen.interop.musicgen_folder`. With ``stablehlo`` it runs without
mvgen, at one length: ``run.py`` in it imports jax and numpy alone; see :mod:`mvgen.inference.stablehlo`. What is
written is read again and compared before the command is done (docs/export.md).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mvgen.errors import CommandParser, run_command
from mvgen.inference.card import read_scores
from mvgen.inference.export import export_musicgen, export_safetensors
from mvgen.inference.options import add_filming, add_sampling, filming_of, sampling_of
from mvgen.inference.stablehlo import export_stablehlo
from mvgen.interop.hub import folder_of, hub_name, push
from mvgen.training.weights_file import DTYPES, EXPORTED_FILES, WEIGHTS_FILE

FORMATS = ("safetensors", "musicgen", "stablehlo")


def command(argv: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = CommandParser(
        prog="python -m mvgen.export", description="Write the model of a checkpoint in a form that others read."
    )
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="DIR",
        help="a workdir, one of its checkpoints/STEP, or an exported model",
    )
    parser.add_argument(
        "--format",
        required=True,
        choices=FORMATS,
        help="safetensors: weights and two JSON files; musicgen: the token decoder for transformers; stablehlo: both "
        "directions as programs that run without mvgen",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to make")
    parser.add_argument("--last", action="store_true", help="the last parameters instead of their running average")
    parser.add_argument("--licence", default="", metavar="NAME", help="the weights' licence, where not known")
    parser.add_argument(
        "--scores", nargs="+", default=[], metavar="FILE.json",
        help="for the model card: what mvgen.evaluate --out wrote, or mvgen.main --mode=eval printed",
    )  # fmt: skip
    parser.add_argument(
        "--push", default="", metavar="REPO_OR_DIR",
        help="then put the files into a repository of the Hugging Face hub (hub:OWNER/MODEL; a new one is private) or "
        "another folder",
    )  # fmt: skip
    parser.add_argument(
        "--dtype", choices=DTYPES, default=DTYPES[0], help="safetensors: in which type weights are kept (%(default)s)"
    )
    parser.add_argument(
        "--drop", action="store_true", help="musicgen: leave out what MusicGen has no place for, instead of refusing"
    )
    fixed = parser.add_argument_group("stablehlo", "what the programs are for; all of it becomes part of them")
    fixed.add_argument(
        "--seconds", type=float, default=0.0, help="length of film and music (the window that the model learned from)"
    )
    add_sampling(fixed)
    add_filming(fixed)
    given = parser.parse_args(argv)
    hub_name(given.push)  # a name that is none says so before the work
    checkpoint, out = folder_of(given.checkpoint, EXPORTED_FILES), Path(given.out)
    scores = {Path(path).stem: read_scores(path) for path in given.scores}
    told: dict[str, float | str] = {}
    if given.format == "musicgen":
        dropped = export_musicgen(checkpoint, out, not given.last, given.licence, given.drop)
        if dropped:
            print(f"warning: left out, since MusicGen has no place for it: {', '.join(dropped)}", file=sys.stderr)
    elif given.format == "safetensors":
        export_safetensors(
            checkpoint, out, not given.last, licence=given.licence, scores=scores, dtype=given.dtype
        )  # fmt: skip
    else:
        told |= export_stablehlo(
            checkpoint, out, seconds=given.seconds, sampling=sampling_of(given), filming=filming_of(given),
            ema=not given.last, licence=given.licence, scores=scores,
        )  # fmt: skip
    if given.push:
        told["pushed"] = push(out, given.push, f"mvgen.export --format {given.format}")
    print(json.dumps({"out": str(out), "bytes": (out / WEIGHTS_FILE).stat().st_size, **told}))
    return 0


if __name__ == "__main__":
    run_command(command)
