"""Given notes that music is to follow: played with a SoundFont, and added to what the picture says of each token."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float

from mvgen.errors import UserError, in_range
from mvgen.inference.inputs import read_tokens
from mvgen.inference.sampling import Following
from mvgen.media.midi import SUFFIXES, is_midi
from mvgen.models.codec import Codec

STRENGTH = 4.0
"""Nats by which an entry of usual distance is behind that of the notes; docs/notes.md has what others give."""
MOST_STRENGTH = 100.0


def following(path: str, codec: Codec, soundfont: str = "", strength: float = STRENGTH) -> Following:
    """What a MIDI file asks of the tokens.

    The file is played and encoded. An entry of a codebook is the less likely the farther it lies from the entry that is
    heard there, as a Gaussian around that has it: their squared distance over the mean one of that codebook, times
    ``strength``. Added to the decoder's logits it decides where these leave it open.

    Args:
        path: a MIDI file.
        codec: the model's.
        soundfont: plays it (.sf2, .sf3); empty: the one that pretty_midi carries.
        strength: 0: the notes are not heard.

    Raises:
        UserError: it is no MIDI file, cannot be played, or the strength cannot be.
    """
    if not is_midi(path):
        raise UserError(f"--notes {path}: notes to follow are a MIDI file ({', '.join(SUFFIXES)})")
    in_range("--follow-notes", strength, 0, MOST_STRENGTH)
    tokens = read_tokens(path, codec, soundfont)
    entries = np.asarray(nnx.merge(codec.graph, codec.state).entries[...], np.float32)
    return Following(jnp.asarray(tokens), jnp.asarray(-strength * distances(entries)))


def distances(
    entries: Float[np.ndarray, "codebooks size dim"],
) -> Float[np.ndarray, "codebooks size size"]:
    """Squared distances between the entries of each codebook, over their mean."""
    lengths = np.sum(entries**2, axis=2)
    products = np.einsum("kad,kbd->kab", entries, entries)
    squared = np.maximum(lengths[:, :, None] + lengths[:, None, :] - 2 * products, 0.0)
    return squared / np.maximum(squared.mean(axis=(1, 2), keepdims=True), 1e-12)
