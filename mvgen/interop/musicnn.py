"""musicnn (Pons & Serra 2019, "musicnn: pre-trained convolutional neural networks for music audio tagging"): what a
sound is tagged with, and the features behind that. The network trained on MagnaTagATune, with weights in the package.

Its TensorFlow checkpoint is read as a file (:mod:`mvgen.interop.tensor_bundle`) and runs in JAX.
"""

from __future__ import annotations

from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import soxr
from jaxtyping import Array, Float

from mvgen.errors import UserError
from mvgen.interop.litert import package_files
from mvgen.interop.tensor_bundle import read_bundle
from mvgen.media.mel import mel_bands, spectra

RATE, HOP, WINDOW, BANDS = 16_000, 256, 512, 96
PATCH = 187
"""Frames of spectrogram that the network takes: three seconds."""
FILES = ("musicnn/MTT_musicnn/.index", "musicnn/MTT_musicnn/.data-00000-of-00001")
MISSING = "musicnn's weights are not here: `make setup-weights` fetches its wheel, which is read and not installed"
TAGS = (
    "guitar", "classical", "slow", "techno", "strings", "drums", "electronic", "rock", "fast", "piano", "ambient",
    "beat", "violin", "vocal", "synth", "female", "indian", "opera", "male", "singing", "vocals", "no vocals",
    "harpsichord", "loud", "quiet", "flute", "woman", "male vocal", "no vocal", "pop", "soft", "sitar", "solo", "man",
    "classic", "choir", "voice", "new age", "dance", "male voice", "female vocal", "beats", "harp", "cello", "no voice",
    "weird", "country", "metal", "female voice", "choral",
)  # fmt: skip
"""What it knows, in its order."""
INSTRUMENTS = (
    "guitar", "strings", "drums", "piano", "violin", "synth", "harpsichord", "flute", "sitar", "harp", "cello",
)  # fmt: skip
"""Those of them that are instruments."""
EPSILON = 1e-3  # of batch normalisation

Weights = dict[str, Array]


class Musicnn:
    """Tags and features of sounds.

    Args:
        location: of the weights; see :func:`mvgen.interop.litert.package_files`.

    Raises:
        UserError: they are not here, or cannot be read.
    """

    def __init__(self, location: str = ""):
        index, data = package_files("musicnn", FILES, location, MISSING)
        try:
            read = read_bundle(index, data)
        except (ValueError, IndexError) as error:
            raise UserError(f"musicnn's weights cannot be read: {error}; {MISSING}") from None
        self._weights = {name: array for name, array in read.items() if "Adam" not in name}

    @cached_property
    def _run(self) -> Any:
        return jax.jit(partial(_network, {name: jnp.asarray(array) for name, array in self._weights.items()}))

    def __call__(self, sound: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
        """Of each three seconds of a sound the probabilities of :data:`TAGS`, float ``[n, 50]``, and the features
        before them, float ``[n, 200]``.

        A shorter sound is repeated until it fills three seconds; a rest shorter than that is left out.

        Args:
            sound: mono, ``[samples]``, at ``rate``.
        """
        sound = soxr.resample(np.asarray(sound, np.float32), rate, RATE)
        least = PATCH * HOP
        if len(sound) < least:
            sound = np.resize(sound, least) if len(sound) else np.zeros(least, np.float32)
        bands = mel_bands(RATE, WINDOW, BANDS, 0, RATE / 2, equal_area=True)
        power = np.concatenate([np.abs(some) ** 2 @ bands.T for some in spectra(sound, WINDOW, HOP)])
        frames = np.log10(10_000 * power.astype(np.float16).astype(np.float32) + 1)
        patches = frames[: len(frames) // PATCH * PATCH].reshape(-1, PATCH, BANDS)
        # One at a time: one compiled program, and little memory, for sounds of any length.
        found = [self._run(jnp.asarray(patch[None])) for patch in patches]
        tags, features = (np.concatenate([np.asarray(one[part]) for one in found]) for part in (0, 1))
        return tags, features


def _network(weights: Weights, x: Float[Array, "batch time bands"]) -> tuple[Array, Array]:
    def norm(x: Array, number: int) -> Array:
        name = "batch_normalization" + (f"_{number}" if number else "")
        beta, gamma, mean, variance = (
            weights[f"{name}/{part}"] for part in ("beta", "gamma", "moving_mean", "moving_variance")
        )
        return (x - mean) * gamma / jnp.sqrt(variance + EPSILON) + beta

    def convolved(x: Array, number: int, padding: Any) -> Array:
        name = "conv2d" + (f"_{number}" if number else "")
        y = jax.lax.conv_general_dilated(
            x, weights[f"{name}/kernel"], (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return norm(jax.nn.relu(y + weights[f"{name}/bias"]), number + 1)

    along_time = ((3, 3), (0, 0))
    x = norm(x[..., None], 0)
    # Timbre: filters over time and bands; rhythm: long ones over time. Each is pooled over the bands.
    front = [convolved(x, number, along_time).max(axis=2) for number in (0, 1)]
    front += [convolved(x, number, "SAME").max(axis=2) for number in (2, 3, 4)]
    features = [jnp.concatenate(front, axis=2)]
    middle = convolved(features[0][..., None], 5, along_time)[:, :, 0]
    features.append(middle)
    for number in (6, 7):
        middle = convolved(middle[..., None], number, along_time)[:, :, 0] + middle
        features.append(middle)
    pooled = jnp.concatenate(features, axis=2)
    pooled = jnp.stack([pooled.max(axis=1), pooled.mean(axis=1)], axis=2).reshape(len(x), -1)
    dense = norm(jax.nn.relu(norm(pooled, 9) @ weights["dense/kernel"] + weights["dense/bias"]), 10)
    return jax.nn.sigmoid(dense @ weights["dense_1/kernel"] + weights["dense_1/bias"]), dense
