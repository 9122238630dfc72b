"""A wrong command line is one line, of one style, whichever command; ``--help`` tells something without the extras."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from mvgen.__main__ import COMMANDS
from mvgen.errors import UserError, without_extra

MODULES = [name for name in COMMANDS if name not in ("train", "train_compile", "studio")] + ["studio.__main__"]


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("words", [["--nothing"], ["--out"], ["nothing", "--seed", "x"]])
def test_a_wrong_command_line_is_one_line(name: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(f"mvgen.{name}")
    monkeypatch.setattr(sys, "argv", [name, *words])
    with pytest.raises(UserError, match="see `python -m mvgen.[a-z ]+ --help`") as raised:
        (getattr(module, "command", None) or module.main)()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "words", [["--nothing=1"], ["--config=base", "--config.nothing=1"], ["stray", "--config=base"]]
)
@pytest.mark.parametrize("name", ["main", "train_compile"])
def test_a_wrong_flag_is_one_line(name: str, words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", f"mvgen.{name}", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_help_is_told_where_an_extra_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["mvgen.evaluate", "--help"])
    with pytest.raises(SystemExit) as ended:
        without_extra(ModuleNotFoundError("no", name="mir_eval"), "eval", "__main__")
    assert ended.value.code == 0 and "pip install 'mvgen[eval]'" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["mvgen.evaluate"])
    with pytest.raises(SystemExit) as ended:
        without_extra(ModuleNotFoundError("no", name="mir_eval"), "eval", "__main__")
    assert ended.value.code == 2 and "mir_eval is not installed" in capsys.readouterr().err
