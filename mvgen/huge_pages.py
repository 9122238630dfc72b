"""Memory in huge pages for the big arrays of a CPU's steps: to be asked for before a program starts."""

from __future__ import annotations

import os
import sys

TUNABLES = "GLIBC_TUNABLES"
HUGE = "glibc.malloc.hugetlb=1"


def restart_in_huge_pages() -> None:
    """Starts this program again, in the same process, with an allocator that asks for huge pages; once.

    XLA on CPUs takes its work space from the system at every step and gives it back: with pages of 4 KiB a sixth of all
    computing was spent on page faults, and a step of the base configuration took 1.3 times as long (docs/model.md).
    Nothing happens where the user has set ``GLIBC_TUNABLES``, or on systems without glibc; one too old for it (before
    2.35) ignores the request. Results are the same to the bit.
    """
    if not sys.platform.startswith("linux") or TUNABLES in os.environ:
        return
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, sys.orig_argv, os.environ | {TUNABLES: HUGE})
