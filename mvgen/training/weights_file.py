"""The weights of a model as one safetensors file, each tensor named by its path with dots.

Beside ``config.json`` and ``records.json`` it is a model that can be used as a checkpoint, but not trained further:
what ``mvgen.export --format safetensors`` writes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from mvgen.errors import UserError

WEIGHTS_FILE = "model.safetensors"
EXPORTED_FILES = (WEIGHTS_FILE, "config.json", "records.json", "README.md")
"""What is fetched of an exported model."""
DTYPES = ("float32", "bfloat16", "float16")
"""Types that weights can be kept in; read, they are float32 again."""

Tree = Any
"""A nested dict of arrays, or of their shapes."""


def tensor_name(path: tuple[Any, ...]) -> str:
    """A parameter's name in the file, for example ``decoder.layers.0.attention.q.kernel``."""
    return jax.tree_util.keystr(path, simple=True, separator=".")


def write_tensors(path: Path, tensors: dict[str, np.ndarray], about: dict[str, str]) -> None:
    """Writes tensors by name, readable for all; ``about`` is kept in the file's header."""
    save_file(tensors, path, metadata=about)
    path.chmod(0o644)  # safetensors gives the file to its owner alone


def write_weights(path: Path, params: Tree, about: dict[str, str], dtype: str = "float32") -> None:
    """Writes parameters; ``about`` is kept in the file's header."""
    leaves, kept = jax.tree_util.tree_leaves_with_path(params), jnp.dtype(dtype)
    write_tensors(path, {tensor_name(place): np.asarray(leaf).astype(kept) for place, leaf in leaves}, about)


def read_about(path: Path) -> dict[str, str]:
    """What a file says of itself in its header. Raises ``UserError`` where it is no such file."""
    try:
        with safe_open(path, framework="numpy") as file:
            return dict(file.metadata() or {})
    except Exception as error:  # safetensors raises a type of its own that it does not export
        raise UserError(f"{path} cannot be read: {error}") from None


def read_weights(path: Path, abstract: Tree) -> Tree:
    """Parameters as arrays, float32.

    Args:
        path: of the file.
        abstract: nested dict of their shapes.

    Raises:
        UserError: the file cannot be read, or tensors are missing, unknown or of another shape (all are named).
    """
    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except Exception as error:  # safetensors raises a type of its own that it does not export
        raise UserError(f"{path} cannot be read: {error}") from None
    wanted = {tensor_name(place): leaf.shape for place, leaf in jax.tree_util.tree_leaves_with_path(abstract)}
    found = {name: tensor.shape for name, tensor in tensors.items()}
    wrong = sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name))
    if wrong:
        raise UserError(f"{path}: missing, unknown or of another shape: {', '.join(wrong)}")
    return jax.tree_util.tree_map_with_path(
        lambda place, _: jnp.asarray(tensors[tensor_name(place)], jnp.float32), abstract
    )
