"""Augmentation: what it moves, and what it keeps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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


@pytest.mark.parametrize("seed", range(3))
def test_landmarks_move_with_the_picture(seed):
    """A white pixel in each clip: its landmark lies in the middle of it after the shift, too."""
    frames = np.zeros((8, 1, 16, 12, 3), np.uint8)
    frames[:, 0, 9, 4] = 255
    points = np.tile(np.array([4.5 / 12, 9.5 / 16, 0.7]), (8, 1, 1, 1))
    key = jax.random.key(seed)
    pictures = np.asarray(augment.shifted(jnp.asarray(frames), key, 2))[:, 0, :, :, 0]
    places = np.asarray(augment.moved(jnp.asarray(points), key, 2, (16, 12)))[:, 0, 0]
    for picture, (x, y, sure) in zip(pictures, places, strict=True):
        assert picture[int(y * 16), int(x * 12)] == 255 and sure == np.float32(0.7)


def test_a_landmark_that_is_moved_out_of_the_picture_is_not_seen():
    points = jnp.array([[[[0.0, 0.5, 1.0], [0.5, 0.5, 0.0]]]] * 32)
    moved = np.asarray(augment.moved(points, jax.random.key(0), 3, (16, 16)))[:, 0]
    gone = moved[:, 0, 2] == 0
    assert gone.any() and not gone.all() and not moved[gone, 0].any()
    assert not moved[:, 1].any()  # what was not seen is not seen anywhere else
