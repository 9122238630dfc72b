"""Films at the size of their image: what moves there is what moved in the small one."""

import jax.numpy as jnp
import numpy as np
import pytest

from mvgen.inference.full_size import FullSize, written_size
from mvgen.inference.music_to_video import Piece
from mvgen.models.movement import Carried, Reading


@pytest.mark.parametrize(
    ("given", "written"),
    [((480, 640), (480, 640)), ((100, 50), (512, 256)), ((2000, 3000), (854, 1280)), ((301, 401), (300, 400))],
)
def test_sizes_keep_their_shape_within_bounds(given, written):
    assert written_size(*given) == written


def piece(field: np.ndarray, painted: float = 0.0) -> Piece:
    """One frame of 8 x 8 that movement carries by a field, everything of it moving, and paint over it."""
    grey = jnp.zeros((1, 1, 8, 8, 3))
    zero = jnp.zeros((1, 1, 3))
    reading = Reading(zero, zero[0], zero[0], jnp.zeros((1, 8, 8, 1)), grey[:, 0])
    carried = Carried(
        grey, jnp.full((1, 1, 8, 8, 1), 20.0), grey[:, 0], jnp.ones((1, 8, 8, 1)), jnp.asarray(field)[None, None]
    )
    frames = np.full((1, 1, 8, 8, 3), np.round(127.5 + painted), np.uint8)
    return Piece(frames, carried, reading, np.zeros((1, 1, 1, 3)))


def test_the_image_itself_is_displaced_and_its_surroundings_stay():
    rng = np.random.default_rng(0)
    image = rng.integers(40, 200, (256, 512, 3), np.uint8)
    full = FullSize(image, (8, 8))
    assert full.box == (slice(0, 256), slice(128, 384))
    field = np.zeros((4, 4, 2), np.float32)
    field[..., 0] = 32 / 256
    (frame,) = full.frames(piece(field))
    np.testing.assert_array_equal(frame[:, :128], image[:, :128])
    np.testing.assert_array_equal(frame[:, 384:], image[:, 384:])
    moved = frame[:, 150:330].astype(int) - image[:, 182:362]
    assert np.abs(moved).max() <= 1
    (still,) = full.frames(piece(np.zeros((4, 4, 2), np.float32)))
    assert np.abs(still.astype(int) - image).max() <= 1


def test_what_is_painted_is_added():
    image = np.full((256, 256, 3), 100, np.uint8)
    full = FullSize(image, (8, 8))
    (frame,) = full.frames(piece(np.zeros((4, 4, 2), np.float32), painted=20.5))
    np.testing.assert_allclose(frame.astype(int), 120, atol=1)
