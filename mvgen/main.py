"""Trains MVGen, or computes the losses of a checkpoint on held-out records.

    python -m mvgen.main --config=configs/base.py --workdir=DIR --config.data.path=RECORDS [--config.FIELD=VALUE ...]
    python -m mvgen.main --config=configs/base.py --workdir=DIR --mode=eval

Training goes on by itself from the newest checkpoint in the working folder. Every field of the configuration is
described in configs/base.py. Evaluation prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import sys

from absl import flags
from ml_collections import config_flags

from mvgen.errors import UserError, run_command

CONFIG = config_flags.DEFINE_config_file("config", None, "Configuration file, for example configs/base.py.")
WORKDIR = flags.DEFINE_string("workdir", None, "Working folder: checkpoints, metrics.jsonl, TensorBoard.")
MODE = flags.DEFINE_enum("mode", "train", ["train", "eval"], "Train, or print the losses on held-out records.")


def parse_flags(argv: list[str]) -> None:
    """Parses the command line. Raises ``UserError`` for an unknown flag or field, or a value that does not fit."""
    try:
        rest = flags.FLAGS(argv)[1:]
        if not CONFIG.present or CONFIG.value is None or not WORKDIR.value:
            raise UserError("--config=FILE and --workdir=DIR are needed; see --help")
        CONFIG.value.to_dict()  # a file that could not be read says so only when it is used
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError, SyntaxError, ImportError) as error:
        raise UserError(" ".join(str(error.args[0] if error.args else error).split())[-400:]) from None
    if rest:
        raise UserError(f"what is {rest[0]!r}? Flags are written --name=value; see --help")


def command() -> int:
    """The command line; returns the exit status."""
    if {"--help", "-h", "--helpfull"} & set(sys.argv[1:]):
        print(f"{__doc__}\n{flags.FLAGS.module_help(sys.modules[CONFIG.name and __name__])}")
        return 0
    parse_flags(sys.argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # libraries' own chatter
    from mvgen import train  # after the flags, so that a mistyped one is answered at once

    if MODE.value == "eval":
        print(json.dumps(train.evaluate(CONFIG.value, WORKDIR.value)))
        return 0
    return train.train(CONFIG.value, WORKDIR.value)


if __name__ == "__main__":
    run_command(command)
