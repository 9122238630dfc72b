"""Every command that the docs tell parses with the command's own parser: no option that is gone, no field misspelt."""

from __future__ import annotations

import argparse
import importlib
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import data_prep.__main__ as preparation
from data_prep.convert.command import load_config, split_options
from mvgen.__main__ import COMMANDS, MODULES
from mvgen.files import preset

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "integrations").rglob("*.md"))]
BY_FLAGS = ("main", "train_compile")
"""Commands whose command line is absl's: each is parsed in a process of its own, which knows no other's flags."""
PARSE_FLAGS = """
import importlib, json, os, sys
module = importlib.import_module(sys.argv[1])
failed = []
for words in json.load(sys.stdin):
    reading, writing = os.pipe()
    if os.fork() == 0:
        try:
            sys.argv = ["command", *words]  # where ml_collections looks for fields
            module.flagged_config(sys.argv, module.CONFIG)
            os._exit(0)
        except BaseException as error:
            os.write(writing, str(error).encode())
            os._exit(1)
    os.close(writing)
    if os.wait()[1]:
        failed.append([words, os.read(reading, 10_000).decode()])
print(json.dumps(failed))
"""


class Parsed(Exception):
    """The command line was read; what would follow is the work."""


def code_lines(page: Path) -> Iterator[str]:
    """Lines of code blocks, fenced or indented; one that goes on after a backslash, or deeper, is one."""
    fenced, line = False, ""
    for raw in [*page.read_text(encoding="utf-8").splitlines(), ""]:
        if raw.lstrip().startswith("```"):
            fenced = not fenced
            raw = ""
        indented = raw.startswith("    ") and raw.strip()
        text = raw.strip() if fenced or indented else ""
        if line.endswith("\\"):
            line = f"{line[:-1]} {text}"
        elif line and text.startswith(("--", "[")):
            line = f"{line} {text}"  # a synopsis that goes on below
        else:
            yield line
            line = text
    yield line


def commands() -> Iterator[tuple[str, str, list[str]]]:
    """(where, module, words) of each command of ours; what is optional in a synopsis is left out."""
    for page in PAGES:
        for line in code_lines(page):
            found = re.match(r"(?:python -m (mvgen|data_prep)[. ]|(mvgen) )(\S+)(.*)", line)
            if not found:
                continue
            rest = re.sub(r"\[[^][]*\]", "", re.sub(r"\[[^][]*\]", "", found[4]))
            rest = re.sub(r"\s\.\.\.|\s{2,}[a-z][a-z ,]*[a-z]$", "", rest)  # told beside it, in a table of commands
            words = shlex.split(rest, comments=True)
            package = found[1] or found[2]
            name = found[3] if package == "data_prep" else MODULES.get(found[3], found[3])
            yield (
                f"{page.relative_to(ROOT)}: {line}",
                package if package == "data_prep" else name,
                ([name, *words] if package == "data_prep" else words),
            )


FOUND = list(commands())


def test_there_are_commands_of_every_kind() -> None:
    named = {module for _, module, _ in FOUND}
    assert {"data_prep", *(MODULES.get(name, name) for name in COMMANDS)} - {"bench"} <= named


def filled(words: list[str]) -> list[str]:
    """A synopsis with numbers in the place of those that stand for them, and the first of alternatives."""
    return ["1" if word in ("N", "S", "M") else word.split("|")[0] for word in words]


BY_ARGPARSE = [each for each in FOUND if each[1] not in BY_FLAGS]


@pytest.mark.parametrize(("where", "module", "words"), BY_ARGPARSE, ids=[each[0] for each in BY_ARGPARSE])
def test_its_options_are_those_of_the_command(
    where: str, module: str, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if module == "data_prep":
        parse_preparation(filled(words), monkeypatch)
        return
    module = "studio.__main__" if module == "studio" else module
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(self: argparse.ArgumentParser, *given: object) -> None:
        parse(self, *given)  # type: ignore[call-overload]
        raise Parsed

    loaded = importlib.import_module(f"mvgen.{module}")
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
    monkeypatch.setattr(sys, "argv", [module, *filled(words)])
    run = getattr(loaded, "command", None) or loaded.main
    try:
        run()
    except Parsed:
        return
    except SystemExit as ended:
        assert ended.code == 0, where  # --help
        return
    raise AssertionError(f"{where}: no command line was read")


def parse_preparation(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[argparse.Namespace] = []

    def stop(given: argparse.Namespace) -> int:
        seen.append(given)
        return 0

    monkeypatch.setattr(importlib.import_module(preparation.COMMANDS[words[0]][0]), "run", stop)
    if "--help" in words:
        with pytest.raises(SystemExit):
            preparation.main(words)
        return
    assert preparation.main(words) == 0
    if words[0] == "convert":
        config = seen[0].config if Path(str(preset(seen[0].config, "data"))).exists() else "base"
        load_config(config, split_options(seen[0].options)[0])


@pytest.mark.parametrize("module", BY_FLAGS)
def test_its_flags_and_fields_are_those_of_the_command(module: str) -> None:
    asked = [words for _, found, words in FOUND if found == module and "--help" not in words]
    # Placeholders for names of configurations stand for any.
    asked = [["--config=base" if word in ("--config=NAME", "--config=FILE") else word for word in one] for one in asked]
    done = subprocess.run(
        [sys.executable, "-c", PARSE_FLAGS, f"mvgen.{module}"], input=json.dumps(asked), text=True, cwd=ROOT,
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []
