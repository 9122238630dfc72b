"""The aligned encoder: no leak before the contrast, locality, positions in seconds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mvgen.models.encoder import LANDMARK_VALUES, PATCH_CHANNELS, landmark_values
from mvgen.models.patches import patchify, pixels, scaled, unpatchify
from mvgen.models.positions import musicgen_sinusoid, rotate, within
from tests.mvgen.models.small import SMALL, small_batch, small_model


def _video(model, batch):
    """What the tower is given of a batch: scaled patches and flow."""
    patches = scaled(patchify(jnp.asarray(batch["frames"]), model.config.patch))
    return {"patches": patches, "flow": jnp.asarray(batch["flow"], jnp.float32)}


def test_what_is_compared_has_not_seen_the_other_modality():
    model = small_model()
    batch = {name: jnp.asarray(value) for name, value in small_batch().items()}

    def compared(patches, embedding):
        model.encoder.audio.embeddings[0].embedding[...] = embedding
        video = model.encoder.video_latents({**_video(model, batch), "patches": patches})
        audio = model.encoder.audio_latents(batch["tokens"])
        return model.encoder.coordinates(video, "video"), model.encoder.coordinates(audio, "audio")

    patches, embedding = _video(model, batch)["patches"], model.encoder.audio.embeddings[0].embedding[...]
    z_video, z_audio = compared(patches, embedding)
    moved_video, same_audio = compared(-patches, embedding)
    np.testing.assert_array_equal(z_audio, same_audio)
    assert np.abs(moved_video - z_video).max() > 1e-3
    same_video, moved_audio = compared(patches, -embedding)
    np.testing.assert_array_equal(z_video, same_video)
    assert np.abs(moved_audio - z_audio).max() > 1e-3


def test_what_belongs_together_is_a_rising_line_through_similarities():
    encoder = small_model().encoder
    logits = encoder.belonging(jnp.array([0.1, 0.3, 0.5]))
    np.testing.assert_allclose(logits, [-4.0, 0.0, 4.0], atol=1e-5)


def test_attention_window_bounds_what_a_latent_sees():
    model = small_model(attention_window=0.04)  # one frame either way, one layer
    # What a frame differs in from the window's mean hangs on the whole window, by design: here it is left out.
    kernel = model.encoder.video.frames.patches.kernel
    kernel[...] = kernel[...].at[:, 2 * PATCH_CHANNELS :].set(0.0)
    batch = small_batch()
    seen = _video(model, batch)
    score = jax.jit(jax.grad(lambda p: model.encoder.video_latents({**seen, "patches": p})[:, 5].sum()))
    gradient = score(seen["patches"])
    reach = jnp.abs(gradient).sum(axis=(0, 2, 3))
    # Frames 4 to 6, and frame 3 because frame 4 is embedded with its change since frame 3.
    np.testing.assert_array_equal(np.asarray(reach > 0), [i in (3, 4, 5, 6) for i in range(10)])


@pytest.mark.parametrize("positions", ["none", "sinusoid", "rotary", "alibi", "time_bias"])
def test_every_kind_of_position_runs(positions):
    model = small_model(positions=positions, attention_window=0.0)
    batch = small_batch()
    assert model.encoder.video_latents(_video(model, batch)).shape == (3, 10, SMALL.width)


def test_rotary_depends_on_distance_alone():
    q, k = jax.random.normal(jax.random.key(0), (2, 1, 4, 2, 16))
    at = jnp.array([0.0, 0.1, 0.5, 2.0])

    def products(offset):
        return jnp.einsum("bqhd,bkhd->bhqk", rotate(q, at + offset), rotate(k, at + offset))

    np.testing.assert_allclose(products(0.0), products(3.7), atol=1e-4)


def test_musicgen_positions_match_transformers():
    pytest.importorskip("torch")
    from transformers.models.musicgen.modeling_musicgen import MusicgenSinusoidalPositionalEmbedding

    theirs = MusicgenSinusoidalPositionalEmbedding(64, 32).weights.numpy()
    np.testing.assert_allclose(musicgen_sinusoid(jnp.arange(64), 32), theirs, atol=2e-5)


def test_within_counts_both_ends():
    frames, tokens = jnp.array([0.02, 0.06]), jnp.array([0.01, 0.03, 0.05, 0.07, 0.09])
    assert within(frames, tokens, 0.03).tolist() == [[True, True, True, False, False], [False, True, True, True, True]]
    assert within(frames, tokens, 0.0) is None


def test_patches_go_there_and_back():
    frames = small_batch()["frames"]
    patches = patchify(jnp.asarray(frames), 4)
    np.testing.assert_array_equal(unpatchify(patches, (16, 16), 4), frames)
    np.testing.assert_array_equal(patches[0, 0, 1].reshape(4, 4, 3), frames[0, 0, :4, 4:8])
    np.testing.assert_array_equal(pixels(scaled(jnp.asarray(frames))), frames)


def test_a_landmark_that_appears_has_no_velocity():
    points = jnp.array([[0.0, 0.0, 0.0], [0.5, 0.5, 1.0], [0.625, 0.5, 1.0], [0.0, 0.0, 0.0]])[None, :, None, :]
    values = np.asarray(landmark_values(points))[0]
    assert values.shape == (4, LANDMARK_VALUES)
    np.testing.assert_array_equal(values[:, 3:], [[0, 0], [0, 0], [2, 0], [0, 0]])
    np.testing.assert_array_equal(values[0], values[3])  # not seen is not seen
    np.testing.assert_array_equal(values[2, :3], [0.25, 0, 1])


def test_landmarks_alone_can_be_seen():
    model = small_model(use_frames=False, use_flow=False, use_landmarks=True, landmarks=3)
    points = np.random.default_rng(0).random((2, 10, 3, 3)).astype(np.float16)
    latents = model.video_latents({"landmarks": jnp.asarray(points)})
    assert latents.shape == (2, 10, SMALL.width)
    still = model.video_latents({"landmarks": jnp.asarray(np.zeros_like(points))})
    assert np.abs(latents - still).max() > 1e-2
    assert small_model(landmarks=3).encoder.video.landmarks is None  # what records hold is not seen unasked
