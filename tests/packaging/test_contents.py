"""What is built holds all that runs: nothing beside the modules is forgotten. (`make wheel` installs and uses it.)"""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_file_of_the_packages_is_in_the_wheel() -> None:
    told = re.search(r'package_data=\{"mvgen": (\[.*?\])', (ROOT / "setup.py").read_text())
    assert told
    patterns = [pattern.replace("**/", "") for pattern in re.findall(r'"([^"]+)"', told[1])]
    files = [path for path in (ROOT / "mvgen").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    beside = [path.relative_to(ROOT / "mvgen").as_posix() for path in files if path.suffix != ".py"]
    assert {"py.typed", "pretrained/recital/model.safetensors"} <= set(beside)
    assert [name for name in beside if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)] == []


def test_every_folder_of_modules_is_a_package() -> None:
    """``find_packages`` passes over a folder without ``__init__.py``."""
    for package in ("mvgen", "data_prep"):
        folders = {path.parent for path in (ROOT / package).rglob("*.py")}
        assert all((folder / "__init__.py").is_file() for folder in folders)


def test_the_source_distribution_holds_what_tests_read() -> None:
    manifest = (ROOT / "MANIFEST.in").read_text()
    for name in ("tests", "docs", "launch", "integrations", "demo"):
        assert f"graft {name}" in manifest
    for path in ROOT.glob("*.*"):
        if path.suffix in (".md", ".cff", ".toml", ".yml", ".txt"):
            assert path.name in manifest
