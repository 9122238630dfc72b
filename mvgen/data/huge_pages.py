"""Memory in huge pages for the big arrays of a CPU's steps: to be asked for before a program starts."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

TUNABLES = "GLIBC_TUNABLES"
HUGE = "glibc.malloc.hugetlb=1"


def with_huge_pages(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment for programs whose allocator asks for huge pages; what the user has set stays.

    Libraries on CPUs take their work space from the system at every step or call and give it back. With pages of 4 KiB
    a sixth of training was spent on page faults, and a step of the base configuration took 1.3 times as long
    (docs/model.md); the packaged codec took 1.5 to 1.8 times as long to encode a clip (docs/data.md). Results are the
    same to the bit. Systems without glibc, or with one too old for it (before 2.35), ignore the request.
    """
    return {TUNABLES: HUGE, **environment}


def restart_in_huge_pages() -> None:
    """Starts this program again, in the same process, with :func:`with_huge_pages`; once, and on Linux only."""
    if not sys.platform.startswith("linux") or TUNABLES in os.environ:
        return
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, sys.orig_argv, with_huge_pages(os.environ))
