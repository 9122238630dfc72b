"""Compiled programs are kept on disk, so that the same program is compiled once on a machine, not at every start."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

import jax
import jaxlib

NONE = "none"
LEAST_SECONDS = 1.0
"""Programs that compile faster than this are not worth a file."""


def cache_folder() -> Path:
    """Where programs of this user, this processor and this version of XLA are kept.

    A program for one processor may hold instructions that another lacks, and home folders are shared: so each kind of
    processor has a folder of its own.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        kind = "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
    except OSError:
        kind = platform.processor()
    digest = hashlib.sha256(f"{kind} {platform.machine()} {jaxlib.__version__}".encode()).hexdigest()[:12]
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "mvgen" / f"xla-{digest}"


def keep_compiled(folder: str = "") -> None:
    """From here on, programs are kept in a folder and taken from it.

    Args:
        folder: where; empty: :func:`cache_folder`, unless jax has been told one; ``none``: nowhere.
    """
    if folder == NONE or (not folder and getattr(jax.config, "jax_compilation_cache_dir", None)):
        return
    place = Path(folder) if folder else cache_folder()
    try:
        place.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return  # a home that cannot be written is no reason not to train
    jax.config.update("jax_compilation_cache_dir", os.fspath(place))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", LEAST_SECONDS)
