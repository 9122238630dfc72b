"""Models by a hub's name: fetched because somebody wrote that name, or found among what was fetched before."""

from __future__ import annotations

import re
from pathlib import Path

from mvgen.errors import UserError


def is_hub_name(name: str) -> bool:
    """Whether it has the form ``owner/model``."""
    return re.fullmatch(r"[\w.-]+/[\w.-]+", name) is not None and not name.startswith(".")


def hub_folder(name: str, patterns: tuple[str, ...], cached: bool = False) -> Path:
    """The folder in which the hub's client keeps a model.

    Args:
        name: ``owner/model``.
        patterns: which of its files are wanted.
        cached: only where it was fetched before; the network is not asked.

    Raises:
        UserError: the client is not installed, or the model cannot be had.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise UserError(f"to fetch {name} install transformers (pip install -e .[prep]), or name a folder") from None
    try:
        return Path(snapshot_download(name, allow_patterns=list(patterns), local_files_only=cached))
    except Exception as error:  # the client raises whatever its network library has
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"cannot fetch {name}: {said}; download it elsewhere and name its folder") from None
