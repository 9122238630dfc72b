"""For all tests: they run on the CPU, whatever the machine has, so that they ask the same of every machine."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Most of a test's time is XLA's compiler at work on programs that run once; unoptimised they are the same programs.
# Subprocesses inherit both.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
