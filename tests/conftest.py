"""For all tests: they run on the CPU, whatever the machine has, so that they ask the same of every machine."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
