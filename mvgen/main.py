"""Trains MVGen, or scores a checkpoint on held-out records: losses, retrieval, offset.

    python -m mvgen.main --config=base --workdir=DIR --config.data.path=RECORDS [--config.FIELD=VALUE ...]
    python -m mvgen.main --config=base --workdir=DIR --mode=eval

``--config`` is a file, or from any folder the name of one of mvgen's own presets (configs/base.py and those beside it).
Training goes on by itself from the newest checkpoint in the working folder. Every field of the configuration is
described in configs/base.py. Evaluation prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import sys

from absl import flags
from ml_collections import config_flags

from mvgen.data.huge_pages import restart_in_huge_pages
from mvgen.errors import UserError, run_command
from mvgen.training.command_line import flagged_config

CONFIG = config_flags.DEFINE_config_file("config", None, "Preset (base, longer, debug, ...) or configuration file.")
WORKDIR = flags.DEFINE_string("workdir", None, "Working folder: checkpoints, metrics.jsonl, TensorBoard.")
DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "Ask jax for the other processes of this run (TPU VMs); Slurm and launch/ tell by themselves."
)
MODE = flags.DEFINE_enum("mode", "train", ["train", "eval"], "Train, or print scores on held-out records.")


def command() -> int:
    """The command line; returns the exit status."""
    if {"--help", "-h", "--helpfull"} & set(sys.argv[1:]):
        print(f"{__doc__}\n{flags.FLAGS.module_help(sys.modules[__name__])}")
        return 0
    config, _ = flagged_config(sys.argv, CONFIG)
    workdir = WORKDIR.value
    if config is None or not workdir:
        raise UserError("--config=NAME and --workdir=DIR are needed; see --help")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # libraries' own chatter
    from mvgen.training import distributed, loop

    distributed.connect(DISTRIBUTED.value)
    if MODE.value == "eval":
        from mvgen.evaluation.checkpoint import score_checkpoint

        print(json.dumps(score_checkpoint(config, workdir)))
        return 0
    if config.train.get("samples"):
        from mvgen.inference.samples import play_and_film

        return loop.train(config, workdir, play_and_film)
    return loop.train(config, workdir)


if __name__ == "__main__":
    restart_in_huge_pages()
    run_command(command)
