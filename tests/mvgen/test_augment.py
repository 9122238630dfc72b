"""Augmentation: what it moves, what it keeps, and that it moves it where a camera would."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from mvgen import augment
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


def test_refilmed_clips_are_as_a_camera_sees_them():
    """A smooth picture, filmed anew, is what OpenCV's exact turn, zoom and shift make of it; the others stay."""
    rng = np.random.default_rng(0)
    small = rng.uniform(0, 255, (3, 2, 6, 6, 3)).astype(np.float32)
    clips = np.stack([[cv2.resize(f, (48, 48), interpolation=cv2.INTER_CUBIC) for f in clip] for clip in small])
    clips = np.clip(clips, 0, 255).astype(np.uint8)
    key, amount = jax.random.key(1), 0.05
    made = np.asarray(augment.refilmed(jnp.asarray(clips), key, amount, share=2 / 3))
    np.testing.assert_array_equal(made[2], clips[2])
    draws = np.asarray(jax.random.uniform(key, (4, 3, 1, 1), minval=-amount, maxval=amount))[:, :, 0, 0]
    for clip in range(2):
        zoom, turn, down, right = draws[:, clip]
        # To a new pixel comes what was at this place: the inverse map, about the middle.
        middle, inner = 23.5, slice(8, 40)
        to_old = np.array([[1 / (1 + zoom), turn, 0], [-turn, 1 / (1 + zoom), 0]])
        to_old[:, 2] = middle - to_old[:, :2] @ [middle, middle] + [right * 48, down * 48]
        for frame in range(2):
            how = {"flags": cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, "borderMode": cv2.BORDER_REPLICATE}
            true = cv2.warpAffine(clips[clip, frame].astype(np.float32), to_old, (48, 48), **how)
            difference = np.abs(made[clip, frame] - true)[inner, inner].mean()
            assert difference < 0.25 * np.abs(clips[clip, frame] - true)[inner, inner].mean()


def test_nothing_is_filmed_anew_by_an_amount_of_nothing():
    frames = jnp.asarray(small_batch(batch=4)["frames"])
    np.testing.assert_allclose(augment.refilmed(frames, jax.random.key(0), 0.0), frames, atol=1e-3)
