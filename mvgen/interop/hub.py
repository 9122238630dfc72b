"""Models of the Hugging Face hub: fetched because somebody wrote that name, found among what was fetched before, or
put there.

All is left to the hub's own client: who the user is, where its cache lies, and which server it asks (``HF_ENDPOINT``).
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from mvgen.errors import UserError
from mvgen.files import make_folder, whole_file, whole_folder


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
        raise UserError(f"cannot fetch {name}: {_said(error)}; download it elsewhere and name its folder") from None


def folder_of(name: str, patterns: tuple[str, ...]) -> str:
    """The folder of a model that is named as a path or as the hub names it.

    What looks like a hub's name is a path where its first part is a folder here: a path with a typing error is not
    fetched.

    Args:
        name: a path, there or not, or ``owner/model``.
        patterns: which of its files are wanted.

    Raises:
        UserError: it is a hub's name, and cannot be fetched.
    """
    if not _is_meant(name):
        return name
    try:
        return str(hub_folder(name, patterns))
    except UserError as error:
        raise UserError(f"there is no folder {name} here, and as a model of the hub: {error}") from None


def push(folder: Path, where: str, message: str) -> str:
    """Puts the files of a folder into a model's repository, or into another folder laid out as one.

    Files of the same names are replaced, others are left.

    Args:
        folder: whose files are put there.
        where: ``owner/model`` of the hub, which is made where it is missing, and is then private; or a folder.
        message: of the commit.

    Returns:
        Where they are.

    Raises:
        UserError: they cannot be put there.
    """
    if not _is_meant(where):
        return _copied(folder, Path(where))
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise UserError(f"to push to {where} install transformers (pip install -e .[prep]), or name a folder") from None
    client = HfApi()
    try:
        client.create_repo(where, private=True, exist_ok=True)
        done = client.upload_folder(repo_id=where, folder_path=folder, commit_message=message)
    except Exception as error:  # the client raises whatever its network library has
        raise UserError(f"cannot push to {where}: {_said(error)}; the export is in {folder}") from None
    return str(done.commit_url)


def _copied(folder: Path, target: Path) -> str:
    if not target.exists():
        with whole_folder(target) as partial:
            shutil.copytree(folder, partial, dirs_exist_ok=True)
        return str(target)
    make_folder("--push", target)
    for path in sorted(folder.iterdir()):
        try:
            with whole_file(target / path.name) as partial:
                shutil.copyfile(path, partial)
        except OSError as error:
            raise UserError(f"--push {target}: {path.name} cannot be written: {error.strerror}") from None
    return str(target)


def _is_meant(name: str) -> bool:
    """Whether a hub's model is meant, and no path."""
    return is_hub_name(name) and not os.path.exists(name) and not os.path.isdir(name.split("/")[0])


def _said(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
