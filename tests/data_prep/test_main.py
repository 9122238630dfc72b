"""The command line of data_prep as a whole."""

import subprocess
import sys

import pytest

from data_prep.__main__ import COMMANDS, main
from mvgen.errors import UserError


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    told = capsys.readouterr().out
    assert all(command in told for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as left:
        main([command, "--help"])
    assert left.value.code == 0
    assert "--" in capsys.readouterr().out


def test_a_wrong_command_line_is_one_line():
    for arguments, message in [
        ([], "COMMAND"),
        (["convrt"], "invalid choice"),
        (["inspect"], "--records"),
        (["inspect", "--records", "x", "--colour", "3"], "unknown option --colour"),
    ]:
        with pytest.raises(UserError, match=message):
            main(arguments)


def test_a_command_that_imports_little_starts_without_torch_and_beam():
    code = (
        "import sys; from data_prep.__main__ import main\ntry: main(['inspect', '--help'])\nexcept SystemExit: pass\n"
    )
    code += "print(sorted({'torch', 'transformers', 'apache_beam', 'tensorflow', 'jax'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
