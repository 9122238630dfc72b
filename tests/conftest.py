"""For all tests: XLA compiles in half the time and runs slower, since tests compile much and compute little."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
