"""Augmentation: what it moves, and what it keeps."""

import jax
import jax.numpy as jnp
import numpy as np

from mvgen.data import augment
from tests.mvgen.models.small import small_batch


def test_shift_moves_a_whole_clip_alike():
    frames = jnp.asarray(small_batch(batch=16)["frames"])
    moved = augment.shifted(frames, jax.random.key(0), 2)
    middles = np.asarray(moved)[:, :, 2:-2, 2:-2]
    for clip, middle in zip(np.asarray(frames), middles, strict=True):
        wide = np.pad(clip, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
        places = [(y, x) for y in range(5) for x in range(5)]
        found = [at for at in places if np.array_equal(wide[:, at[0] + 2 : at[0] + 14, at[1] + 2 : at[1] + 14], middle)]
        assert len(found) == 1
