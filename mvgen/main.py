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
from ml_collections import ConfigDict, config_flags

from mvgen.data.huge_pages import restart_in_huge_pages
from mvgen.errors import UserError, finite_fields, run_command, seed_in_range
from mvgen.files import preset

CONFIG = config_flags.DEFINE_config_file("config", None, "Preset (base, longer, debug, ...) or configuration file.")
WORKDIR = flags.DEFINE_string("workdir", None, "Working folder: checkpoints, metrics.jsonl, TensorBoard.")
DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "Ask jax for the other processes of this run (TPU VMs); Slurm and launch/ tell by themselves."
)
MODE = flags.DEFINE_enum("mode", "train", ["train", "eval"], "Train, or print scores on held-out records.")


def parse_flags(argv: list[str]) -> tuple[ConfigDict, str, str]:
    """Configuration, working folder and mode of a command line.

    Raises:
        UserError: an unknown flag or field, a value that does not fit, or a file that is not a configuration.
    """
    try:
        rest = flags.FLAGS(with_preset(argv))[1:]
        config, workdir = CONFIG.value, WORKDIR.value
        if config is None or not workdir:
            raise UserError("--config=NAME and --workdir=DIR are needed; see --help")
        finite_fields(config.to_dict())  # a file that could not be read says so only when it is used
        seed_in_range("config.seed", config.get("seed", 0))
    except (AttributeError, KeyError) as error:  # ConfigDict adds what was perhaps meant
        said = str(error.args[0]).replace("\\n", " ").replace("\\'", "'")
        raise UserError(f"the configuration has no such field: {said}") from None
    except OSError as error:
        raise UserError(f"the configuration cannot be read: {error}") from None
    except (flags.Error, TypeError, ValueError, SyntaxError, ImportError) as error:
        raise UserError(str(error)) from None
    if rest:
        raise UserError(f"what is {rest[0]!r}? Flags are written --name=value; see --help")
    return config, workdir, MODE.value


def with_preset(argv: list[str]) -> list[str]:
    """The command line with the path of the configuration in place of its name. Raises ``UserError`` where none is."""
    words = list(argv)
    for number, word in enumerate(words):
        flag, equals, name = word.partition("=")
        if flag.lstrip("-") != "config" or not flag.startswith("-"):
            continue
        if equals:
            words[number] = f"{flag}={preset(name)}"
        elif number + 1 < len(words):
            words[number + 1] = str(preset(words[number + 1]))
    return words


def command() -> int:
    """The command line; returns the exit status."""
    if {"--help", "-h", "--helpfull"} & set(sys.argv[1:]):
        print(f"{__doc__}\n{flags.FLAGS.module_help(sys.modules[__name__])}")
        return 0
    config, workdir, mode = parse_flags(sys.argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # libraries' own chatter
    from mvgen.training import distributed, loop

    distributed.connect(DISTRIBUTED.value)
    if mode == "eval":
        from mvgen.evaluation.checkpoint import score_checkpoint

        print(json.dumps(score_checkpoint(config, workdir)))
        return 0
    return loop.train(config, workdir)


if __name__ == "__main__":
    restart_in_huge_pages()
    run_command(command)
