"""Displacement: fields from points, against movements that are known."""

import jax.numpy as jnp
import numpy as np

from mvgen.models.displacement import backward_field, bilinear, centres, grid_points, parents, tracks, warped

SOFT = jnp.full(3, np.log(0.01))
ZERO = jnp.zeros(3)


def field(before, after, hanging, size=(20, 20), aspect=1.0):
    before, after = (jnp.asarray([[*place, 1.0] for place in places]) for places in (before, after))
    count = len(hanging)
    return np.asarray(
        backward_field(
            before[None], after[None, None], hanging, jnp.zeros((count, 2)), ZERO[:count], SOFT[:count], size, aspect
        )[0, 0]
    )


def test_points_hang_on_the_first_of_their_word():
    assert parents(("left_hand", "left_index", "bow_frog", "bow_tip", "beater")) == (0, 0, 2, 2, 4)
    assert parents(()) == ()


def test_one_point_moves_all_that_is_around_it_by_as_much():
    found = field([(0.25, 0.5)], [(0.5, 0.375)], (0,))
    np.testing.assert_allclose(found, np.broadcast_to([-0.25, 0.125], found.shape), atol=1e-3)


def test_what_is_near_follows_the_nearest():
    found = field([(0.2, 0.2), (0.8, 0.8)], [(0.3, 0.2), (0.8, 0.8)], (0, 1))
    np.testing.assert_allclose(found[4, 6], [-0.1, 0], atol=5e-3)
    np.testing.assert_allclose(found[15, 15], [0, 0], atol=5e-3)


def test_a_segment_turns_and_lengthens_what_it_carries():
    """A finger from (0.5, 0.9) up to 0.7 is twice as long and turned by 45 degrees in the frame."""
    root, end0 = np.array([0.5, 0.9]), np.array([0.5, 0.7])
    end1 = root + 0.4 * np.array([-np.sqrt(0.5), -np.sqrt(0.5)])
    places = np.asarray(centres(40, 40))
    found = field([root, end0], [root, end1], (0, 0), (40, 40))
    middle = np.unravel_index(np.argmin(((places - (root + end1) / 2) ** 2).sum(-1)), (40, 40))
    source = places[middle] + found[middle]
    np.testing.assert_allclose(source, (root + end0) / 2, atol=0.03)


def test_a_point_that_is_not_sure_moves_nothing():
    before = jnp.array([[[0.2, 0.2, 0.0], [0.8, 0.8, 1.0]]])
    after = jnp.array([[[[0.9, 0.2, 0.0], [0.8, 0.8, 1.0]]]])
    found = backward_field(before, after, (0, 1), jnp.zeros((2, 2)), ZERO[:2], SOFT[:2], (8, 8))
    np.testing.assert_allclose(found, 0, atol=1e-6)


def test_in_a_wide_picture_movement_is_in_parts_of_it():
    found = field([(0.25, 0.5)], [(0.5, 0.5)], (0,), (9, 16), 16 / 9)
    np.testing.assert_allclose(found[..., 0], -0.25, atol=1e-3)
    np.testing.assert_allclose(found[..., 1], 0, atol=1e-6)


def test_warping_by_whole_pixels_moves_the_picture():
    picture = np.random.default_rng(0).normal(size=(1, 8, 8, 2)).astype(np.float32)
    moved = warped(jnp.asarray(picture), jnp.full((1, 1, 8, 8, 2), 1 / 8))
    np.testing.assert_allclose(moved[0, 0, :7, :7], picture[0, 1:, 1:], atol=1e-5)
    np.testing.assert_allclose(bilinear(jnp.asarray(picture[0]), centres(8, 8)), picture[0], atol=1e-6)
    halfway = bilinear(jnp.asarray(picture[0]), jnp.array([0.5, 3.5 / 8]))
    np.testing.assert_allclose(halfway, picture[0, 3, 3:5].mean(0), atol=1e-5)


def test_points_are_followed_along_the_flow():
    flow = np.zeros((1, 5, 4, 4, 2), np.float32)
    flow[..., 0] = 0.5  # half a pixel of four to the right, each frame
    found = np.asarray(tracks(jnp.asarray(flow), grid_points()))
    assert found.shape == (1, 5, 64, 3)
    np.testing.assert_allclose(found[0, 0, :, :2], grid_points())
    left = np.asarray(grid_points())[:, 0] < 0.4
    np.testing.assert_allclose(found[0, 4, left, 0] - found[0, 0, left, 0], 0.5, atol=1e-5)
    np.testing.assert_allclose(found[..., 1], found[:, :1, :, 1] * np.ones((1, 5, 1)))
