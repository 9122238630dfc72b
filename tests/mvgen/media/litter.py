"""Memory as a long-lived process has it: an encoder that reads what it never wrote gives other bytes after this."""

from __future__ import annotations

import numpy as np


def litter_memory(seed: int) -> None:
    """Takes blocks of up to 2 MB, fills them with noise, and gives them back to the allocator."""
    rng = np.random.default_rng(seed)
    blocks = [rng.integers(0, 255, rng.integers(1_000, 2_000_000), dtype=np.uint8) for _ in range(30)]
    blocks.clear()
