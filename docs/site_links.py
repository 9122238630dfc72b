"""For the site: links out of docs/, which lead to files of the repository, become those files' names; and the roles
that docstrings name things by (``:class:`` and the like) are left out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent.resolve()
ROLE = re.compile(r":?\b(?:class|func|meth|mod|data|attr):\s*(?=<(?:code|a)\b)")
OUTWARD = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<target>[^)#:\s]+)(#[^)]*)?\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Called by mkdocs with each page; returns its Markdown."""
    folder = (DOCS / page.file.src_uri).parent

    def named(match: re.Match[str]) -> str:
        target = (folder / match["target"]).resolve()
        if not target.exists() or target.is_relative_to(DOCS) and target.suffix != ".py":
            return match[0]  # of the site; or broken, which mkdocs says
        name = target.relative_to(DOCS.parent).as_posix()
        text = match["text"].strip("`")
        return f"`{name}`" if name.endswith(text) else f"{match['text']} (`{name}`)"

    return OUTWARD.sub(named, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Called by mkdocs with each page as HTML; returns it."""
    return ROLE.sub("", html)
