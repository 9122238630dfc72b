"""Flow matching: the path, the loss and the sampler, against hand-made cases."""

import jax
import jax.numpy as jnp
import numpy as np

from mvgen import clock
from mvgen.models import flow_matching
from mvgen.models.denoiser import POINT_VALUES, Motion, stretch
from tests.mvgen.models.small import SMALL, small_model

SHAPE = (2, 4, 16, 48)


def test_a_perfect_predictor_is_reached_in_any_number_of_steps():
    clean, noise = jax.random.normal(jax.random.key(0), (2, *SHAPE))
    nothing = jnp.zeros(SHAPE[:2], bool)
    for steps in (1, 3, 8):
        x = flow_matching.sample(lambda x, t: clean, noise, steps, clean, jnp.zeros(SHAPE[:2]), nothing)
        np.testing.assert_allclose(x, clean, atol=1e-5)


def test_second_order_comes_nearer_in_few_steps_and_begins_as_euler():
    noise = jax.random.normal(jax.random.key(1), (1, 1, 16, 16))
    spread, nothing = 0.3, jnp.zeros((1, 1), bool)

    def posterior_mean(x, level):
        t = level[..., None, None]
        return x * t * spread**2 / (t**2 * spread**2 + (1 - t) ** 2)

    def sampled(steps, sampler):
        return flow_matching.sample(posterior_mean, noise, steps, noise, jnp.zeros((1, 1)), nothing, sampler)

    exact = sampled(400, "euler")
    errors = {sampler: float(jnp.abs(sampled(8, sampler) - exact).mean()) for sampler in flow_matching.SAMPLERS}
    assert errors["multistep"] < 0.5 * errors["euler"]
    np.testing.assert_array_equal(sampled(1, "euler"), sampled(1, "multistep"))


def test_the_sampler_stays_on_the_path_of_an_exact_model():
    """With the exact posterior mean of Gaussian data the Euler solution tends to the data's spread."""
    noise = jax.random.normal(jax.random.key(1), (1, 1, 64, 64))
    spread = 0.3

    def posterior_mean(x, level):
        t = level[..., None, None]
        return x * t * spread**2 / (t**2 * spread**2 + (1 - t) ** 2)

    x = flow_matching.sample(posterior_mean, noise, 200, noise, jnp.zeros((1, 1)), jnp.zeros((1, 1), bool))
    np.testing.assert_allclose(x.std(), spread, rtol=0.05)


def test_known_frames_come_out_untouched():
    clean, noise = jax.random.normal(jax.random.key(2), (2, *SHAPE))
    is_known = jnp.zeros(SHAPE[:2], bool).at[:, 0].set(True)
    x = flow_matching.sample(lambda x, t: 0 * x, noise, 3, clean, jnp.full(SHAPE[:2], 0.9), is_known)
    np.testing.assert_array_equal(x[:, 0], clean[:, 0])
    np.testing.assert_allclose(x[:, 1:], 0, atol=1e-6)


def test_the_schedule_runs_from_noise_to_clean_and_is_finer_near_noise():
    levels = np.asarray(flow_matching.schedule(6))
    assert levels[0] == 0 and levels[-1] == 1
    assert (np.diff(levels, 2) > 0).all()
    np.testing.assert_allclose(levels[3], 1 / (1 + flow_matching.SHIFT), rtol=1e-6)  # 1/2, shifted


def test_loss_counts_in_units_of_a_usual_change():
    clean = jax.random.normal(jax.random.key(3), SHAPE)
    counted = jnp.array([[0.0, 1.0, 1.0, 1.0]] * 2)
    predicted = (clean + 3 * flow_matching.CHANGE).at[:, 0].add(7.0)  # the first is not counted
    np.testing.assert_allclose(flow_matching.loss(predicted, clean, counted), 9.0, rtol=1e-4)


def test_denoiser_hears_only_near_its_frames_and_starts_at_the_image():
    model = small_model(attention_window=0.04)
    tokens, length = 40, 4
    audio = jax.random.normal(jax.random.key(4), (2, tokens, SMALL.width))
    noisy = jax.random.normal(jax.random.key(5), SHAPE)
    image = jax.random.normal(jax.random.key(6), (2, 16, 48))
    level = jnp.full(SHAPE[:2], 0.5)

    held = jnp.broadcast_to(image[:, None], SHAPE)
    points = jnp.zeros((*SHAPE[:2], POINT_VALUES * len(model.config.hanging)))
    still = Motion(held, jnp.zeros((*SHAPE[:3], 16)), image, points)

    def film(audio, start):
        heard = stretch(audio, start, length, model.config.attention_window)
        return model.denoiser(noisy, level, image, still, *heard)

    # Fresh, it predicts that nothing changes.
    np.testing.assert_array_equal(film(audio, 8), jnp.broadcast_to(image[:, None], noisy.shape))
    model.denoiser.out.kernel[...] = jax.random.normal(jax.random.key(7), model.denoiser.out.kernel.shape)
    hearing = jax.jit(jax.grad(lambda audio, start: film(audio, start).sum()))
    for start in (0, 8, tokens // 2 - length):
        reach = jnp.abs(hearing(audio, start)).sum(axis=(0, 2))
        first, end = clock.tokens_of(start), clock.tokens_of(start + length)
        heard = np.zeros(tokens, bool)
        heard[max(0, first - 1) : end + 1] = True  # 0.04 s from a frame's middle reaches one token beyond the frame
        np.testing.assert_array_equal(np.asarray(reach > 0), heard)


def test_stretch_cuts_each_frames_own_audio():
    audio = jnp.arange(20.0)[None, :, None] * jnp.ones((1, 1, 3))
    cut = stretch(audio, 4, 3, 0.1)
    np.testing.assert_array_equal(cut.own_audio[0, :, :, 0], [[8, 9], [10, 11], [12, 13]])
    np.testing.assert_allclose(cut.frame_seconds, clock.frame_centres(3), atol=1e-6)
    numbers = np.asarray(cut.token_seconds) * clock.TOKEN_RATE - 0.5 + clock.tokens_of(4)
    np.testing.assert_allclose(
        np.asarray(cut.audio)[0, np.asarray(cut.audible[0]), 0], numbers[np.asarray(cut.audible[0])], atol=1e-4
    )


def test_stretches_of_a_batch_may_start_apart():
    audio = jax.random.normal(jax.random.key(0), (3, 40, 5))
    starts = jnp.array([0, 7, 16])
    together = stretch(audio, starts, 4, 0.1)
    for number, start in enumerate(starts):
        alone = stretch(audio[number : number + 1], int(start), 4, 0.1)
        for name in ("audio", "own_audio", "audible"):
            np.testing.assert_array_equal(getattr(together, name)[number], getattr(alone, name)[0])
