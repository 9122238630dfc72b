"""Movement: what is read, planned and carried, with networks as they are before training and a little changed."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mvgen.errors import UserError
from mvgen.models.movement import REACH, Movement, cell_side
from tests.mvgen.models.small import SMALL

NAMED = dataclasses.replace(SMALL, landmarks=3, landmark_parents=(0, 0, 2))
FRAMES = 12


@nnx.jit
def carried(movement: Movement, picture: jax.Array, before: jax.Array, after: jax.Array) -> jax.Array:
    """The picture that movement makes of one; compiled, since operations one by one take far longer."""
    return movement.carry(picture, movement.reader(picture), before, after).picture


@pytest.fixture(scope="module")
def movement() -> Movement:
    made = Movement(NAMED, rngs=nnx.Rngs(0))
    for layer in (made.reader.layers, made.planner.places):
        layer.kernel[...] = 0.1 * jax.random.normal(jax.random.key(1), layer.kernel.shape)
    return made


def image(seed: int = 0) -> jax.Array:
    return jax.random.uniform(jax.random.key(seed), (2, 16, 16, 3), minval=-1)


def points(*places: tuple[float, float]) -> jax.Array:
    return jnp.broadcast_to(jnp.array([[*place, 1.0] for place in places]), (2, len(places), 3))


def test_cells_divide_the_picture():
    assert [cell_side(size) for size in ((64, 64), (128, 128), (72, 128), (16, 16), (8, 20))] == [4, 8, 4, 1, 1]


def test_the_reader_finds_points_inside_and_a_grid_where_none_have_names(movement):
    reading = movement.reader(image())
    assert reading.points.shape == (2, 3, 3) and reading.mask.shape == (2, 16, 16, 1)
    assert bool(jnp.all((reading.points[..., :2] > -0.5) & (reading.points[..., :2] < 1.5)))
    assert set(np.unique(reading.points[..., 2])) <= {0.0, 1.0}
    grid = Movement(SMALL, rngs=nnx.Rngs(0)).reader(image()).points
    assert grid.shape == (2, 64, 3) and bool(jnp.all(grid[..., 2] == 1))


def test_points_that_rest_leave_the_image_as_it_is():
    movement = Movement(NAMED, rngs=nnx.Rngs(0))
    where = points((0.3, 0.6), (0.3, 0.4), (0.8, 0.8))
    still = carried(movement, image(), where, jnp.broadcast_to(where[:, None], (2, 4, 3, 3)))
    np.testing.assert_allclose(still, jnp.broadcast_to(image()[:, None], (2, 4, 16, 16, 3)), atol=1e-3)


def test_a_point_that_moves_carries_what_is_around_it():
    movement = Movement(dataclasses.replace(SMALL, landmarks=1, landmark_parents=(0,)), rngs=nnx.Rngs(0))
    picture = jnp.zeros((1, 16, 16, 3)).at[:, 7:9, 3:5].set(1.0)
    before = jnp.array([[[0.25, 0.5, 1.0]]])
    painted = carried(movement, picture, before, jnp.array([[[[0.75, 0.5, 1.0]]]]))[0, 0, ..., 0]
    assert painted[7:9, 11:13].min() > 0.6 and painted[0:4].max() < 0.05


def test_the_planner_hears_about_a_second_ahead_and_goes_on_from_where_it_is(movement):
    planner, width = movement.planner, SMALL.width
    frames = REACH + 12
    audio = jax.random.normal(jax.random.key(2), (2, frames, 2, width))
    where = points((0.3, 0.6), (0.3, 0.4), (0.8, 0.8))
    rest = jnp.zeros((2, 3, 2))

    def plan(audio, last=where[..., :2], velocity=rest):
        return planner(audio, None, where, last, velocity)

    plain = plan(audio)
    assert plain.shape == (2, frames, 3, 2)
    # What is planned first hangs on what sounds up to REACH frames later, and no later.
    hearing = jax.grad(lambda audio: plan(audio)[:, 0].sum())(audio)
    heard = np.flatnonzero(np.abs(np.asarray(hearing)).sum(axis=(0, 2, 3)))
    assert heard.min() == 0 and heard.max() == REACH
    assert float(jnp.abs(plan(audio, velocity=rest + 0.05) - plain).max()) > 1e-4
    # Fresh, it plans that all stays where it is by then.
    fresh, last = Movement(NAMED, rngs=nnx.Rngs(0)).planner, where[..., :2] + 0.1
    held = fresh(audio, None, where, last, rest)
    np.testing.assert_array_equal(held, jnp.broadcast_to(last[:, None], held.shape))


def test_latents_without_records_of_them_are_refused():
    with pytest.raises(UserError, match="the records hold no latents"):
        dataclasses.replace(SMALL, use_latents=True).check()
    made = Movement(dataclasses.replace(SMALL, use_latents=True, latent_shape=(8, 8, 4)), rngs=nnx.Rngs(0))
    assert made.reader(jnp.zeros((1, 8, 8, 4))).change.shape == (1, 8, 8, 4)
