"""Compiles the training step for a machine that is not here: whether it fits, what it sends, how long it takes at best.

    python -m mvgen.train_compile --config=pod_v5p_256 --topology=v5p:4x8x8 [--config.FIELD=VALUE ...]

Needs no TPU: libtpu (`pip install 'mvgen[tpu]'`) compiles for v5e, v5p, v6e and tpu7x slices; for NVIDIA GPUs (h100:8,
h200:1) jax's CUDA plugin does ([cuda]), and without it what can be known is told. A step that does not fit is an error;
--search then looks for rematerialisation, a mesh or a batch that does. docs/scaling.md says what each figure means.
"""

from __future__ import annotations

import sys

from absl import flags
from ml_collections import config_flags

from mvgen.errors import UserError, run_command
from mvgen.files import check_output, write_json
from mvgen.training.command_line import flagged_config

CONFIG = config_flags.DEFINE_config_file("config", None, "Preset or configuration file, as for mvgen.main.")
TOPOLOGY = flags.DEFINE_string("topology", None, "What to compile for, such as v5e:4x4, v5p:4x4x4, v6e:16x16, h100:8.")
SLICES = flags.DEFINE_integer("slices", 1, "So many of them, joined by the data-centre network.")
RECORDS = flags.DEFINE_string("records", "", "Folder of records whose shapes to take, in place of the preset's.")
SEARCH = flags.DEFINE_bool("search", False, "Where it does not fit, find what does.")
JSON = flags.DEFINE_string("json", None, "Write every figure here.")


def command() -> int:
    """The command line; returns the exit status."""
    if {"--help", "-h", "--helpfull"} & set(sys.argv[1:]):
        print(f"{__doc__}\n{flags.FLAGS.module_help(sys.modules[__name__])}")
        return 0
    from mvgen.training.ahead_of_time import chips

    chips.prepare_environment()
    config, file = flagged_config(sys.argv, CONFIG)
    if config is None or not TOPOLOGY.value:
        raise UserError(f"--config=NAME and --topology=CHIP:SHAPE are needed; for example {chips.EXAMPLES}")
    if JSON.value:
        check_output("--json", JSON.value)
    from mvgen.training.ahead_of_time.compiling import DoesNotFit, compile_for, records_of
    from mvgen.training.ahead_of_time.report import figures, lines
    from mvgen.training.ahead_of_time.search import flags as typed
    from mvgen.training.ahead_of_time.search import search

    topology = chips.find(TOPOLOGY.value, SLICES.value)
    spec = records_of(file, RECORDS.value)
    changes: dict[str, object] = {}
    try:
        step = compile_for(config, spec, topology)
    except DoesNotFit as error:
        if not SEARCH.value:
            raise UserError(f"{error}; --search finds a rematerialisation, mesh or batch that fits") from None
        print(f"{error}; searching", file=sys.stderr, flush=True)
        changes, step = search(config, spec, topology)
        print(f"this fits: {typed(changes)}")
    remat = changes.get("train.remat", config.train.remat) != "none"
    print(lines(step, remat))
    if JSON.value:
        write_json(JSON.value, {"changes": changes, **figures(step, remat)})
    return 0


if __name__ == "__main__":
    run_command(command)
