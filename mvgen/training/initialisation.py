"""Where parameters start: token embeddings and output layers from the codec's codebooks, or a whole MusicGen.

An entry of a codebook is a vector of the codec's latent space, and a token's sound the sum of its entries. Embeddings
that start as these vectors, turned at random into the model's width, know from the first step which tokens sound alike;
from a random start that is learned from the rare occurrences of each. Nothing but the start differs.

With ``config.init_from`` the token decoder is a MusicGen's instead, as it was trained; only what meets the video starts
anew.
"""

from __future__ import annotations

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mvgen.data.records import RecordSpec
from mvgen.errors import UserError
from mvgen.interop.encodec import load_codebooks
from mvgen.interop.musicgen import MusicgenFiles, Params, read_musicgen, start_from_musicgen
from mvgen.models.config import MVGenConfig

HEAD_SIZE = 0.3
"""Length of an average output vector at the start: small, so that no token seems likely before anything is seen."""


def read_codebooks(spec: RecordSpec) -> np.ndarray | None:
    """The codebooks of the codec that the records were made with, ``[codebooks, entries, dim]``, centred.

    ``None``, and a warning on stderr, where that codec is not at hand or is of another size.
    """
    try:
        codebooks = load_codebooks(spec.codec)[: spec.codebooks]
        if codebooks.shape[:2] != (spec.codebooks, spec.codebook_size):
            found = "x".join(map(str, codebooks.shape[:2]))
            asked = f"{spec.codebooks}x{spec.codebook_size}"
            raise UserError(f"{spec.codec} has codebooks of {found} entries, the records {asked}")
    except UserError as error:
        print(f"warning: token embeddings start at random: {error}", file=sys.stderr)
        return None
    return codebooks - codebooks.mean(axis=1, keepdims=True)


def start_from_codebooks(params: dict[Any, Any], codebooks: np.ndarray, key: jax.Array) -> dict[Any, Any]:
    """The parameters with embeddings and output layers that start from the codec's codebooks.

    All codebooks are turned by one random projection, so that the embeddings of a token's entries add up to that of its
    whole latent, whose components have unit variance on average. A token decoder of another width than the
    audio tower's has a projection of its own.

    Args:
        params: of a :class:`~mvgen.models.mvgen.MVGen`, nested dict.
        codebooks: ``[codebooks, entries, dim]``, centred.
        key: of the projection.
    """
    # Variances add: what one codebook holds, the next no longer does.
    spread = np.sqrt(codebooks.var(axis=1).sum())
    lengths = np.sqrt((codebooks**2).sum(axis=2).mean(axis=1))

    def projection(width: int, key: jax.Array) -> jax.Array:
        return jax.random.normal(key, (codebooks.shape[2], width)) / spread

    tower, decoder = params["encoder"]["audio"], params["decoder"]
    widths = [part["embeddings"][0]["embedding"].shape[1] for part in (tower, decoder)]
    heard = projection(widths[0], key)
    written = heard if widths[0] == widths[1] else projection(widths[1], jax.random.fold_in(key, 1))
    for number, entries in enumerate(codebooks):
        tower["embeddings"][number]["embedding"] = jnp.asarray(entries) @ heard
        turned = jnp.asarray(entries) @ written
        embedding = decoder["embeddings"][number]["embedding"]  # one row more, for pad
        decoder["embeddings"][number]["embedding"] = embedding.at[: len(turned)].set(turned)
        head = turned.T * (HEAD_SIZE * spread / lengths[number] / np.sqrt(widths[1]))
        for part in (decoder, decoder.get("token_head")):
            if part is not None:
                part["heads"][number]["kernel"] = head
    return params


def read_start(config: Any, spec: RecordSpec, decoder: Params) -> Params | None:
    """What the token decoder begins with where ``config.init_from`` names a MusicGen; else ``None``.

    Args:
        config: the whole configuration.
        spec: of the records.
        decoder: shapes of the token decoder's parameters, nested dict.

    Returns:
        The same nested dict: NumPy arrays, float32, and ``None`` for what MusicGen has not.

    Raises:
        UserError: the weights cannot be had, are of another architecture or size, or the records' tokens are not those
            of its codec.
    """
    if not config.init_from:
        return None
    files = read_musicgen(config.init_from)
    made = start_from_musicgen(decoder, MVGenConfig.from_config(config, spec).decoder, files)
    check_codec(files, spec)
    return jax.tree.map(lambda leaf: leaf if isinstance(leaf, np.ndarray) else None, made)


def check_codec(files: MusicgenFiles, spec: RecordSpec) -> None:
    """Compares the codebooks of the EnCodec beside a MusicGen with those of the records' codec.

    Says on stderr where there is nothing to compare: a decoder alone has no codec, or the records' is not at hand.

    Raises:
        UserError: they differ, so that the same tokens are other sounds.
    """
    unchecked = f"warning: whether the records' codec {spec.codec} is that of {files.source} cannot be told: "
    if files.codec is None:
        print(f"{unchecked}no codec lies beside its decoder", file=sys.stderr)
        return
    theirs = [files.codec[1].get(f"quantizer.layers.{k}.codebook.embed") for k in range(spec.codebooks)]
    try:
        ours = load_codebooks(spec.codec)[: spec.codebooks]
    except UserError as error:
        print(f"{unchecked}{error}", file=sys.stderr)
        return
    for one, other in zip(ours, theirs, strict=True):
        # Half precision holds three digits.
        if other is None or one.shape != other.shape or np.abs(one - other).max() > 5e-3 * np.abs(one).max():
            raise UserError(
                f"the records' tokens are of the codec {spec.codec}, and the EnCodec in {files.source} has other "
                "codebooks: convert the records again with that codec (encodec_32khz for the published MusicGens)"
            )
