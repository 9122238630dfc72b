"""The pages: links lead somewhere, the site builds without a warning, the notebook runs, one version everywhere."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mvgen

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "integrations").rglob("*.md"))]
NOTEBOOK = ROOT / "docs" / "notebooks" / "start.ipynb"


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    targets = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", text) + re.findall(r'src="([^"]+)"', text)
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing


def test_the_version_is_one() -> None:
    version = mvgen.__version__
    assert f"version: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"version = {{{version}}}" in (ROOT / "README.md").read_text()
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", changes, re.M)
    date = re.search(r"^## \[.*\] - (\S+)$", changes, re.M)
    assert date and f"date-released: {date[1]}\n" in (ROOT / "CITATION.cff").read_text()


def test_every_page_is_in_the_contents() -> None:
    """Of the repository (docs/README.md) and of the site (mkdocs.yml)."""
    docs = ROOT / "docs"
    for contents in ((docs / "README.md").read_text(), (ROOT / "mkdocs.yml").read_text()):
        for page in docs.rglob("*.md"):
            name = page.relative_to(docs).as_posix()
            assert name in contents or name == "README.md"


@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="pip install -e '.[docs]'")
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    page = (tmp_path / "reference" / "api.html").read_text(encoding="utf-8")
    assert "video_to_music" in page and "Raises" in page
    outside = re.findall(r'(?:src|href)="(https?://[^"]+\.(?:js|css|woff2?)[^"]*)"', page)
    assert not outside  # it is read without a network


@pytest.mark.slow
def test_the_notebook_runs() -> None:
    """It compiles both directions of the packaged model: a minute or two."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells)  # kept without what it made
    done = nbclient.NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": str(ROOT)}}).execute()
    said = [output for cell in done.cells for output in cell.get("outputs", [])]
    assert any("text/html" in output.get("data", {}) for output in said)  # the players
    score = re.search(r"onset F ([\d.]+)", "".join(output.get("text", "") for output in said))
    assert score and float(score[1]) > 0.6
