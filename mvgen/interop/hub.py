"""Models of the Hugging Face hub: fetched because somebody wrote that name, found among what was fetched before, or
put there.

All is left to the hub's own client: who the user is, where its cache lies, and which server it asks (``HF_ENDPOINT``).
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from functools import cache
from pathlib import Path

from mvgen.errors import UserError
from mvgen.files import make_folder, whole_file, whole_folder

HUB = "hub:"
"""Before the name of a model of mvgen's on the hub."""


def is_hub_name(name: str) -> bool:
    """Whether it has the form ``owner/model``."""
    return re.fullmatch(r"[\w.-]+/[\w.-]+", name) is not None and not name.startswith(".")


@cache
def announce(name: str) -> None:
    """Says, once, that a name which may be a mistyped path is asked for on the hub.

    Raises:
        ValueError: it is no name of the hub, and nothing is asked.
    """
    if not is_hub_name(name):
        raise ValueError(f"there is no folder {name}, and a name of the hub has the form OWNER/MODEL")
    print(f"asking the Hugging Face hub for {name}: there is no such folder here", file=sys.stderr)


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
        raise UserError(f"to fetch {name} install transformers (pip install 'mvgen[prep]'), or name a folder") from None
    try:
        return Path(snapshot_download(name, allow_patterns=list(patterns), local_files_only=cached))
    except Exception as error:  # the client raises whatever its network library has
        raise UserError(f"cannot fetch {name}: {_said(error)}; download it elsewhere and name its folder") from None


def hub_name(name: str) -> str:
    """``owner/model`` of ``hub:owner/model``; "" for a path.

    Only the prefix asks for the hub: a path with a typing error has the form of a hub's name, and is not to be fetched.

    Raises:
        UserError: what follows the prefix is no name; or there is neither the path nor its folder, so that the hub's
            model of that name may be meant.
    """
    if name.startswith(HUB):
        if not is_hub_name(name.removeprefix(HUB)):
            raise UserError(f"{name}: a model of the Hugging Face hub is named {HUB}OWNER/MODEL")
        return name.removeprefix(HUB)
    if is_hub_name(name) and not os.path.lexists(name) and not os.path.isdir(name.split("/")[0]):
        raise UserError(f"there is no folder {name}; if the model of the Hugging Face hub is meant, write {HUB}{name}")
    return ""


def folder_of(name: str, patterns: tuple[str, ...]) -> str:
    """The folder of a model that is named as a path or as ``hub:owner/model``, which is fetched.

    Args:
        name: of either form; the path need not be there.
        patterns: which of its files are wanted.

    Raises:
        UserError: see :func:`hub_name`; or it cannot be fetched.
    """
    fetched = hub_name(name)
    return str(hub_folder(fetched, patterns)) if fetched else name


def push(folder: Path, where: str, message: str) -> str:
    """Puts the files of a folder into a model's repository, or into another folder laid out as one.

    Files of the same names are replaced, others are left.

    Args:
        folder: whose files are put there.
        where: ``hub:owner/model``, which is made where it is missing, and is then private; or a folder.
        message: of the commit.

    Returns:
        Where they are.

    Raises:
        UserError: see :func:`hub_name`; or they cannot be put there.
    """
    name = hub_name(where)
    if not name:
        return _copied(folder, Path(where))
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise UserError(
            f"to push to {where} install transformers (pip install 'mvgen[prep]'), or name a folder"
        ) from None
    client = HfApi()
    try:
        client.create_repo(name, private=True, exist_ok=True)
        done = client.upload_folder(repo_id=name, folder_path=folder, commit_message=message)
    except Exception as error:  # the client raises whatever its network library has
        raise UserError(f"cannot push to {HUB}{name}: {_said(error)}; the export is in {folder}") from None
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


def _said(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
