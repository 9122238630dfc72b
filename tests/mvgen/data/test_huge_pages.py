"""A program starts itself again in huge pages: once, with the same words, and not where the user says otherwise."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mvgen.data.huge_pages import HUGE, TUNABLES

PROGRAM = """
import os, sys
from mvgen.data.huge_pages import restart_in_huge_pages
print("started", os.getpid())
restart_in_huge_pages()
print("goes on", os.getpid(), os.environ.get("GLIBC_TUNABLES"), sys.argv[1:])
"""


def run(**environment: str) -> list[str]:
    kept = {name: value for name, value in os.environ.items() if name != TUNABLES}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "a b", "--c=1"],
        env=kept | environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.splitlines()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_a_program_starts_again_once_in_the_same_process() -> None:
    first, second, last = run()
    assert first == second and last == f"goes on {first.split()[1]} {HUGE} ['a b', '--c=1']"


def test_what_the_user_has_set_stays() -> None:
    first, last = run(**{TUNABLES: "glibc.malloc.check=0"})
    assert first.startswith("started") and "glibc.malloc.check=0" in last
