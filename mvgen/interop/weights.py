"""Where the weights of a PyTorch model lie, and which they are exactly."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from mvgen.errors import UserError
from mvgen.interop.hub import announce


def find_file(location: str, name: str) -> Path | None:
    """A file of a model: in a folder, or fetched from the hub (or found among what was fetched before).

    Args:
        location: a folder, or a hub name such as ``facebook/dinov2-small``.
        name: of the file, such as ``model.safetensors``.

    Returns:
        Its path; None where a folder has no such file.

    Raises:
        OSError: the hub does not give it here. ValueError: it is no hub name either.
    """
    if os.path.isdir(location):
        path = Path(location) / name
        return path if path.is_file() else None
    announce(location)
    from transformers.utils import cached_file

    return Path(str(cached_file(location, name)))


def model_file(kind: str, name: str, location: str, file: str, known: tuple[str, ...]) -> Path:
    """:func:`find_file`, with one clear line where there is none.

    Args:
        kind: what is looked for, as the line names it ("semantic encoder").
        name: as the user wrote it. known: the presets there are.

    Raises:
        UserError: there is no such file.
    """
    try:
        path = find_file(location, file)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{kind} {name!r} is neither a preset ({', '.join(known)}), nor a folder, "
            f"nor a model that the hub gives here: {str(error).splitlines()[0]}"
        ) from None
    if path is None:
        raise UserError(f"{kind} {name!r}: {location} holds no {file}")
    return path


def joint_hash(paths: list[Path]) -> str:
    """sha256 of one file; of several, sha256 over their hashes in the order given."""
    hashes = []
    for path in paths:
        with open(path, "rb") as file:
            hashes.append(hashlib.file_digest(file, "sha256").hexdigest())
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def ready(model: Any, device: str | None) -> Any:
    """A PyTorch module ready to extract: not to be trained, on ``device`` (by default a GPU where there is one)."""
    import torch

    return model.eval().requires_grad_(False).to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
