"""Generation of both directions: seeds, lengths, windows, and what is known stays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

from mvgen.inference.music_to_video import Filming, generate_video
from mvgen.inference.sampling import Sampling, decode, draw, stream
from mvgen.inference.video_to_music import generate_music, stream_music, windows_over
from mvgen.models.token_decoder import Text
from tests.mvgen.models.small import SMALL, small_batch, small_model

GREEDY = Sampling(temperature=0, guidance=1)
PLAIN = Sampling(temperature=1.0, top_k=0, guidance=1)


@given(st.integers(1, 400), st.integers(4, 100))
def test_windows_cover_everything_once(frames, window):
    done = 0
    for start, known in windows_over(frames, window):
        assert start + known == done
        done = start + window
    assert done == max(frames, window)


def test_draws_keep_to_the_likeliest():
    logits = jnp.log(jnp.array([[[0.5, 0.3, 0.15, 0.05]]]))
    keys = jax.random.split(jax.random.key(0), 400)
    many = jnp.broadcast_to(logits, (400, 1, 4))

    def entries(**settings):
        return set(
            np.asarray(draw(many, keys, Sampling(**{"temperature": 1.0, "top_k": 0, **settings}))).ravel().tolist()
        )

    assert entries() == {0, 1, 2, 3}
    assert entries(top_k=2) == {0, 1}
    assert entries(top_p=0.79) == {0, 1}
    assert entries(top_p=0.01) == {0}
    assert entries(temperature=0) == {0}


def test_greedy_decoding_is_what_the_full_pass_would_choose():
    from mvgen.models import delay

    decoder = small_model().decoder
    latents = jax.random.normal(jax.random.key(0), (2, 10, SMALL.width))
    tokens = decode(decoder, latents, jax.random.split(jax.random.key(1), 2), GREEDY)
    logits = decoder(delay.delay(tokens, decoder.pad)[:, :-1], latents)
    chosen = delay.undelay(jnp.concatenate([jnp.zeros((2, 1, 4), int), jnp.argmax(logits, axis=-1)], axis=1))
    assert np.mean(np.asarray(chosen == tokens)) > 0.99  # ties aside


def test_guidance_of_one_is_none_and_a_request_does_not_hang_on_its_neighbours():
    decoder = small_model().decoder
    latents = jax.random.normal(jax.random.key(0), (3, 10, SMALL.width))
    keys = jax.random.split(jax.random.key(1), 3)
    together = decode(decoder, latents, keys, PLAIN)
    alone = decode(decoder, latents[1:2], keys[1:2], PLAIN)
    np.testing.assert_array_equal(together[1:2], alone)
    near_one = decode(decoder, latents, keys, Sampling(1.0, 0, guidance=1 + 1e-6))
    assert np.mean(np.asarray(near_one == together)) > 0.99
    strong = decode(decoder, latents, keys, Sampling(1.0, 0, guidance=8.0))
    assert not np.array_equal(strong, together)


def test_known_tokens_stay():
    decoder = small_model().decoder
    latents = jax.random.normal(jax.random.key(0), (2, 10, SMALL.width))
    known = jnp.asarray(small_batch(batch=2)["tokens"])
    tokens = decode(decoder, latents, jax.random.split(jax.random.key(1), 2), GREEDY, known, 7)
    np.testing.assert_array_equal(tokens[:, :7], known[:, :7])
    assert not np.array_equal(tokens[:, 7:], known[:, 7:])


@pytest.mark.parametrize("frames", [3, 10, 11, 27])
def test_music_has_two_tokens_a_frame_at_any_length(frames):
    model = small_model()
    batch = small_batch(batch=2, frames=frames)
    video = {name: batch[name] for name in ("frames", "flow")}
    keys = jax.random.split(jax.random.key(0), 2)
    tokens = generate_music(model, video, keys, Sampling(), 10)
    assert tokens.shape == (2, 2 * frames, 4) and tokens.min() >= 0 and tokens.max() < SMALL.codebook_size
    np.testing.assert_array_equal(tokens, generate_music(model, video, keys, Sampling(), 10))


def test_music_goes_on_from_what_it_begins_with():
    model = small_model()
    batch = small_batch(batch=1, frames=27)
    video = {name: batch[name] for name in ("frames", "flow")}
    keys = jax.random.split(jax.random.key(0), 1)
    plain = generate_music(model, video, keys, Sampling(), 10)
    prompt = batch["tokens"][:, :24]  # into the second window of ten frames
    tokens = generate_music(model, video, keys, Sampling(), 10, prompt=prompt)
    np.testing.assert_array_equal(tokens[:, :24], prompt)
    assert tokens.shape == plain.shape and not np.array_equal(tokens[:, 24:], plain[:, 24:])
    with pytest.raises(ValueError, match="longer than the music"):
        generate_music(model, video, keys, Sampling(), 10, prompt=np.zeros((1, 55, 4), int))


@pytest.mark.parametrize(("frames", "prompted", "temperature"), [(4, 0, 0.0), (27, 0, 1.0), (27, 24, 1.0)])
def test_music_that_is_streamed_is_the_same(frames, prompted, temperature):
    """Greedy or sampled: the same keys draw the same tokens, whatever the pieces."""
    model = small_model()
    sampling = Sampling(temperature=temperature, top_k=8)
    batch = small_batch(batch=1, frames=frames)
    video = {name: batch[name] for name in ("frames", "flow")}
    keys = jax.random.split(jax.random.key(0), 1)
    prompt = batch["tokens"][:, :prompted] if prompted else None
    whole = generate_music(model, video, keys, sampling, 10, prompt=prompt)
    pieces = list(stream_music(model, video, keys, sampling, 10, prompt=prompt, chunk=8))
    assert len(pieces) > 1 or frames == 4
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), whole)
    if temperature and not prompted:
        other = generate_music(model, video, jax.random.split(jax.random.key(1), 1), sampling, 10)
        assert not np.array_equal(other, whole)  # another seed is another take


@pytest.mark.parametrize("frames", [2, 4, 10, 23])
def test_video_has_a_frame_for_two_tokens_at_any_length(frames):
    model = small_model()
    batch = small_batch(batch=2, frames=frames)
    keys = jax.random.split(jax.random.key(0), 2)
    film = generate_video(model, batch["frames"][:, 0], batch["tokens"], keys, Filming(steps=2), 10)
    assert film.shape == (2, frames, 16, 16, 3) and film.dtype == np.uint8
    np.testing.assert_array_equal(film[:, 0], batch["frames"][:, 0])
    again = generate_video(model, batch["frames"][:, 0], batch["tokens"], keys, Filming(steps=2), 10)
    np.testing.assert_array_equal(film, again)


def painting_model():
    """The small model with output layers that are not zero, as they are before training: what it predicts is seen."""
    model = small_model()
    for number, layer in enumerate((model.denoiser.out, model.movement.planner.places, model.movement.reader.layers)):
        layer.kernel[...] = 0.1 * jax.random.normal(jax.random.key(number), layer.kernel.shape)
    return model


def test_a_film_hangs_on_its_seed_its_music_and_its_image_and_goes_on_from_stretch_to_stretch():
    model, batch = painting_model(), small_batch(batch=2, frames=10)
    image, tokens = batch["frames"][:, 0], batch["tokens"]
    keys = jax.random.split(jax.random.key(0), 2)

    def film(image=image, tokens=tokens, keys=keys):
        return generate_video(model, image, tokens, keys, Filming(steps=2), 10).astype(int)

    plain = film()
    assert np.abs(plain[:, 1:] - plain[:, :1]).max() > 20  # it paints, and does not hold the image
    np.testing.assert_array_equal(plain[:, 0], image)
    # Each clip hangs on its own image, music and key alone.
    swapped = film(image[::-1], tokens[::-1], keys[::-1])
    assert np.abs(swapped[::-1] - plain).mean() < 1
    for changed in (
        film(keys=jax.random.split(jax.random.key(1), 2)),
        film(image=255 - image),
        film(tokens=(tokens + 7) % SMALL.codebook_size),
    ):
        assert np.abs(changed[:, 1:] - plain[:, 1:]).max() > 5
    # What is heard late changes what is seen late: no frame hangs on sound beyond the attention window after it.
    late = tokens.copy()
    late[:, 18:] = (late[:, 18:] + 5) % SMALL.codebook_size
    moved = np.abs(film(tokens=late) - plain).max(axis=(0, 2, 3, 4))
    assert moved[9] > 0


class Halved:
    """Stands for an autoencoder: latents are the picture at half its size, with an empty fourth channel."""

    def encode(self, frames):
        small = frames.reshape(len(frames), 8, 2, 8, 2, 3).mean((2, 4)) / 127.5 - 1
        return np.pad(small, ((0, 0), (0, 0), (0, 0), (0, 1))).astype(np.float16)

    def decode(self, latents):
        picture = np.clip((latents[..., :3].astype(np.float32) + 1) * 127.5, 0, 255).round().astype(np.uint8)
        return picture.repeat(2, axis=1).repeat(2, axis=2)


def test_a_model_of_latents_films_in_them():
    model = small_model(use_latents=True, use_frames=False, latent_shape=(8, 8, 4), denoiser_patch=2)
    batch = small_batch(batch=2, frames=7)
    image, keys = batch["frames"][:, 0], jax.random.split(jax.random.key(0), 2)
    film = generate_video(model, image, batch["tokens"], keys, Filming(steps=1), 10, Halved())
    assert film.shape == (2, 7, 16, 16, 3) and film.dtype == np.uint8
    np.testing.assert_array_equal(film[:, 0], image)
    # Untrained, it holds the image: as its latents have it.
    held = Halved().decode(Halved().encode(image))
    assert np.abs(film[:, 1:].astype(int) - held[:, None]).max() <= 3
    with pytest.raises(ValueError, match="needs their autoencoder"):
        generate_video(model, image, batch["tokens"], keys, Filming(steps=1), 10)


def test_guided_filming_runs_and_differs():
    model = painting_model()
    batch = small_batch(batch=2)
    keys = jax.random.split(jax.random.key(0), 2)
    plain = generate_video(model, batch["frames"][:, 0], batch["tokens"], keys, Filming(steps=2), 10)
    guided = generate_video(model, batch["frames"][:, 0], batch["tokens"], keys, Filming(2, 4.0, 2.0), 10)
    assert not np.array_equal(plain, guided)


def test_pieces_as_they_come_are_the_same_tokens():
    decoder = small_model().decoder
    latents = jax.random.normal(jax.random.key(0), (2, 11, SMALL.width))
    keys = jax.random.split(jax.random.key(1), 2)
    known = jnp.asarray(small_batch(batch=2, frames=11)["tokens"])
    whole = decode(decoder, latents, keys, Sampling(), known, 3)
    pieces = list(stream(decoder, latents, keys, Sampling(), known, 3, chunk=9))
    assert [piece.shape[1] for piece in pieces] == [9, 9, 4]
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), whole)


def test_text_is_heard_beside_the_video_and_each_has_its_own_guidance():
    decoder = small_model(text_width=12, positions="none", attention_window=0.0, frame_locked=False).decoder
    keys = jax.random.split(jax.random.key(1), 2)
    latents = jax.random.normal(jax.random.key(0), (2, 5, SMALL.width))
    words = jax.random.normal(jax.random.key(2), (2, 3, 12))
    text = Text(words, jnp.array([[True, True, True], [True, False, False]]))

    scores = nnx.jit(lambda decoder, latents, text: decoder(jnp.full((2, 1, 4), decoder.pad), latents, text)[:, 0])

    def logits(latents, text):
        return scores(decoder, latents, text)

    both, seen = logits(latents, text), logits(latents, None)
    nothing = logits(decoder.withheld(latents, jnp.zeros(2, bool)), text.withheld())
    np.testing.assert_allclose(logits(latents, text.withheld()), seen, rtol=1e-5, atol=1e-5)
    hidden = Text(words.at[1, 1:].set(9.0), text.mask)
    np.testing.assert_allclose(logits(latents, hidden), both, rtol=1e-5, atol=1e-5)  # padding is not heard
    assert not np.allclose(both, seen, atol=1e-3)
    for video_scale, text_scale in ((1.0, 1.0), (3.0, 4.0)):
        sampling = Sampling(temperature=0, guidance=video_scale, text_guidance=text_scale)
        expected = nothing + video_scale * (seen - nothing) + text_scale * (both - seen)
        tokens = decode(decoder, latents, keys, sampling, text=text)
        np.testing.assert_array_equal(tokens[:, 0, 0], jnp.argmax(expected[:, 0], axis=-1))


def test_half_precision_plays_nearly_the_same():
    exact = small_model().decoder
    graph = nnx.graphdef(small_model(dtype="bfloat16").decoder)
    rounded = nnx.merge(graph, nnx.state(exact))
    latents = jax.random.normal(jax.random.key(0), (2, 10, SMALL.width))
    keys = jax.random.split(jax.random.key(1), 2)
    first, tokens = (np.asarray(decode(decoder, latents, keys, GREEDY)) for decoder in (exact, rounded))
    assert np.mean(first[:, :2] == tokens[:, :2]) > 0.5  # later tokens hang on those before
    assert tokens.min() >= 0 and tokens.max() < SMALL.codebook_size
    # Cached steps round as the full pass does.
    from mvgen.models import delay

    logits = nnx.jit(lambda d, columns: d(columns, latents))(
        rounded, delay.delay(jnp.asarray(tokens), rounded.pad)[:, :-1]
    )
    chosen = delay.undelay(jnp.concatenate([jnp.zeros((2, 1, 4), int), jnp.argmax(logits, axis=-1)], axis=1))
    assert np.mean(np.asarray(chosen == tokens)) > 0.8  # a broken cache would agree by chance, one in 24


def test_top_p_holds_in_the_whole_program():
    decoder = small_model().decoder
    latents = jax.random.normal(jax.random.key(0), (2, 10, SMALL.width))
    keys = jax.random.split(jax.random.key(1), 2)
    greedy = decode(decoder, latents, keys, GREEDY)
    narrow = decode(decoder, latents, keys, Sampling(temperature=1.0, top_k=0, top_p=1e-6, guidance=1))
    np.testing.assert_array_equal(narrow, greedy)  # so little likelihood holds one entry alone
    wide = decode(decoder, latents, keys, Sampling(temperature=1.0, top_k=0, top_p=0.95, guidance=1))
    assert not np.array_equal(wide, greedy)
