"""One file over HTTP: resumed where it stopped, bounded, checked, and there whole or not at all.

What has arrived lies beside the target as ``NAME.part``, with the server's mark of its version (``NAME.part.tag``), so
a later run asks for the rest only, and only of the same version.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mvgen.files import file_hash

BLOCK = 1 << 18
ATTEMPTS = 5
"""Connections in a row that bring nothing new, before a file is given up for this run."""
MOST_CONNECTIONS = 500
"""For one file in one run, however much each brings."""
TIMEOUT = 60.0
"""Seconds without a byte before a connection counts as dropped."""
GONE = (401, 403, 404, 410, 451)
"""Answers that will be no different tomorrow: the link is dead."""


class DeadLink(Exception):
    """The server says that it does not have this, or does not give it."""


class FetchFailed(Exception):
    """It did not arrive, or is not what it should be; another run may do better."""


@dataclass(frozen=True)
class Item:
    """A file to fetch.

    Attributes:
        url: http or https.
        path: where it goes, relative to the folder of the data set.
        size: bytes it must have, where known.
        sha256: it must have, where known; ``md5`` likewise.
    """

    url: str
    path: str
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None


def inside(folder: Path, path: str) -> Path:
    """``folder / path``, which lies in the folder, whatever the path says and whatever links lie there.

    Raises:
        ValueError: it would lie elsewhere.
    """
    root = folder.resolve()
    target = (root / path).resolve()
    if not path or Path(path).is_absolute() or target == root or not target.is_relative_to(root):
        raise ValueError(f"{path!r} does not lie in {folder}")
    return root / path


def check(path: Path, item: Item) -> str | None:
    """What is wrong with a file; None when it is what it should be."""
    size = path.stat().st_size
    if item.size is not None and size != item.size:
        return f"its size is {size}, not {item.size}"
    for name in ("sha256", "md5"):
        wanted = getattr(item, name)
        if wanted is None:
            continue
        found = file_hash(path) if name == "sha256" else _md5(path)
        if found != wanted.lower():
            return f"its {name} is {found}, not {wanted.lower()}"
    return None


def _md5(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def fetch(
    item: Item, folder: Path, most: int, told: Callable[[int], None] = lambda count: None, wait: float = 1.0
) -> Path:
    """Fetches a file, going on where an earlier run or a dropped connection stopped.

    Args:
        item: what.
        folder: of the data set.
        most: bytes at most, whatever the server says or sends.
        told: called with the number of bytes of each block as it arrives.
        wait: seconds before the second attempt; each later one waits twice as long.

    Returns:
        The file, in place.

    Raises:
        DeadLink: the server does not have it. FetchFailed: it did not arrive, is too large or fails its check (what had
            arrived is then removed). ValueError: it would not lie in the folder. OSError: the disk is full.
    """
    if not item.url.lower().startswith(("http://", "https://")):
        raise ValueError(f"{item.url!r} is not an http or https address")
    target = inside(folder, item.path)
    if target.is_file() and check(target, item) is None:
        return target
    if item.size is not None and item.size > most:
        raise FetchFailed(f"its {item.size} bytes are over the limit of {most}")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    idle, fresh, reason = 0, False, ""
    for _ in range(MOST_CONNECTIONS):
        before = part.stat().st_size if part.exists() else 0
        try:
            if _receive(item, part, most, told):
                break
            reason = "the connection dropped"
        except urllib.error.HTTPError as error:
            if error.code in GONE:
                _forget(part)
                raise DeadLink(f"the server answers {error.code} {error.reason}") from None
            if error.code == 416 and not fresh:  # what lies here is not the beginning of that: from the start
                _forget(part)
                fresh = True
                continue
            reason = f"the server answers {error.code} {error.reason}"
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        gained = (part.stat().st_size if part.exists() else 0) - before
        idle = 0 if gained > 0 else idle + 1
        if idle >= ATTEMPTS:
            raise FetchFailed(f"{reason} ({ATTEMPTS} attempts)")
        time.sleep(min(60.0, wait * 2**idle))
    else:
        raise FetchFailed(f"{reason} ({MOST_CONNECTIONS} connections)")
    if problem := check(part, item):
        _forget(part)
        raise FetchFailed(f"{problem}; removed")
    os.replace(part, target)
    _forget(part)
    return target


def _tag_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.tag")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _tag_file(part).unlink(missing_ok=True)


def _receive(item: Item, part: Path, most: int, told: Callable[[int], None]) -> bool:
    """One connection: appends what comes to ``part``; whether the file is whole."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(item.url, headers={"User-Agent": "mvgen", "Accept-Encoding": "identity"})
    if have:
        request.add_header("Range", f"bytes={have}-")
        tag_file = _tag_file(part)
        if tag_file.exists():
            request.add_header("If-Range", tag_file.read_text())
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        whole = _length(answer)
        if answer.status == 206:
            begin, end = _range(answer.headers.get("Content-Range", ""))
            if begin != have:  # not what was asked for
                _forget(part)
                return False
            whole = end
        else:
            have = 0  # the server does not continue, or has another version now
        if whole is not None and whole > most:
            _forget(part)
            raise FetchFailed(f"its {whole} bytes are over the limit of {most}")
        tag = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
        # A weak tag does not promise the same bytes.
        if tag and not tag.startswith("W/"):
            _tag_file(part).write_text(tag)
        with open(part, "ab" if have else "wb") as file:
            while block := answer.read(BLOCK):
                have += len(block)
                if have > most:
                    file.close()
                    _forget(part)
                    raise FetchFailed(f"it is over the limit of {most} bytes")
                file.write(block)
                told(len(block))
    return have == whole if whole is not None else item.size is None or have >= item.size


def _length(answer: http.client.HTTPResponse) -> int | None:
    text = answer.headers.get("Content-Length", "")
    return int(text) if text.isdigit() else None


def _range(text: str) -> tuple[int, int | None]:
    """First byte and whole length out of ``bytes FIRST-LAST/WHOLE``."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", text.strip())
    if not found:
        return -1, None
    return int(found[1]), None if found[2] == "*" else int(found[2])
