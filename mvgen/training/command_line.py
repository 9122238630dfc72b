"""Command lines with a configuration: ``--config=NAME`` and ``--config.FIELD=VALUE``, their errors one clear line."""

from __future__ import annotations

from typing import Any

from absl import flags
from ml_collections import ConfigDict

from mvgen.errors import UserError, finite_fields, seed_in_range
from mvgen.files import preset


def flagged_config(argv: list[str], holder: flags.FlagHolder[Any]) -> tuple[ConfigDict | None, str]:
    """Parses all flags, and gives the configuration and the file that it is from; ``None`` where none was named.

    Args:
        argv: the command line; ``--config`` is a file or the name of a preset.
        holder: what ``config_flags.DEFINE_config_file("config", ...)`` gave.

    Raises:
        UserError: an unknown flag or field, a value that does not fit, or a file that is not a configuration.
    """
    words, file = with_preset(argv)
    try:
        rest = flags.FLAGS(words)[1:]
        config = holder.value
        if config is not None:
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
    return config, file


def with_preset(argv: list[str]) -> tuple[list[str], str]:
    """The command line with the path of the configuration in place of its name, and that path ("": none is named).

    Raises:
        UserError: there is no such file or preset.
    """
    words, file = list(argv), ""
    for number, word in enumerate(words):
        flag, equals, name = word.partition("=")
        if flag.lstrip("-") != "config" or not flag.startswith("-"):
            continue
        if equals:
            file = str(preset(name))
            words[number] = f"{flag}={file}"
        elif number + 1 < len(words):
            file = words[number + 1] = str(preset(words[number + 1]))
    return words, file
