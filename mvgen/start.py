"""Where the token embeddings and output layers start: from the codec's own codebooks.

An entry of a codebook is a vector of the codec's latent space, and a token's sound the sum of its entries. Embeddings
that start as these vectors, turned at random into the model's width, know from the first step which tokens sound alike;
from a random start that is learned from the rare occurrences of each. Nothing but the start differs.
"""

from __future__ import annotations

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mvgen.errors import UserError
from mvgen.interop.encodec import load_codebooks
from mvgen.records import RecordSpec

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
    whole latent, whose components have unit variance on average.

    Args:
        params: of a :class:`~mvgen.models.mvgen.MVGen`, nested dict.
        codebooks: ``[codebooks, entries, dim]``, centred.
        key: of the projection.
    """
    width = params["encoder"]["audio"]["embeddings"][0]["embedding"].shape[1]
    # Variances add: what one codebook holds, the next no longer does.
    spread = np.sqrt(codebooks.var(axis=1).sum())
    projection = jax.random.normal(key, (codebooks.shape[2], width)) / spread
    lengths = np.sqrt((codebooks**2).sum(axis=2).mean(axis=1))
    for number, entries in enumerate(codebooks):
        turned = jnp.asarray(entries) @ projection
        params["encoder"]["audio"]["embeddings"][number]["embedding"] = turned
        embedding = params["decoder"]["embeddings"][number]["embedding"]  # one row more, for pad
        params["decoder"]["embeddings"][number]["embedding"] = embedding.at[: len(turned)].set(turned)
        head = turned.T * (HEAD_SIZE * spread / lengths[number] / np.sqrt(width))
        for part in (params["decoder"], params["decoder"].get("prior")):
            if part is not None:
                part["heads"][number]["kernel"] = head
    return params
