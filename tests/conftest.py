"""For all tests: they run on the CPU, whatever the machine has, so that they ask the same of every machine."""

import os
import tempfile

import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Most of a test's time is XLA's compiler at work on programs that run once: unoptimised, and without the emitters that
# lower each fusion through MLIR, they are the same programs in a quarter of the time. Subprocesses inherit both.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false")
# Nothing of the user's own cache is read or written by a test; programs that several tests share are compiled once.
os.environ.setdefault("XDG_CACHE_HOME", tempfile.mkdtemp(prefix="mvgen-cache-"))

LONG = (
    "training/test_sharding.py", "training/test_training_faults.py", "training/test_loop.py",
    "training/test_golden.py", "training/test_init_from.py", "training/test_losses.py",
    "evaluation/test_folders.py", "data_prep/test_faults.py", "data_prep/test_bad_input.py",
)  # fmt: skip
"""Files of few tests that take long: begun first, so that no core waits for the other at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the tests of long files first; all else stays in its order."""

    def place(item: pytest.Item) -> int:
        file = item.path.as_posix()
        return next((number for number, name in enumerate(LONG) if file.endswith(name)), len(LONG))

    items.sort(key=place)
