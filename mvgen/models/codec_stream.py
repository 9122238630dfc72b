"""EnCodec's decoder in pieces, as tokens come: the same samples as decoding all of them at once.

Two stages. The first convolution and the LSTM go forward: the LSTM's state is carried from piece to piece. What follows
looks only a little way to either side, so a piece is decoded with a margin around it, which is cut off. A sample is
therefore given ``lag`` tokens after its own, when all that it hangs on is known.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from mvgen.models.codec import (
    Codec,
    Convolution,
    Decoder,
    EncodecNetwork,
    Recurrence,
    ResidualBlock,
    TransposedConvolution,
)


def margins(decoder: Decoder) -> tuple[int, int, int]:
    """Tokens before and after that the first convolution hangs on, and on either side all after the LSTM (bounds)."""
    first = decoder.layers[0]
    assert isinstance(first, Convolution)
    total = (first.kernel.shape[0] - 1) * first.dilation
    after = 0 if first.causal else total // 2
    reach, rate = 0.0, 1  # in tokens; steps a token
    for layer in list(decoder.layers)[2:]:
        if isinstance(layer, TransposedConvolution):
            reach += 1 / rate
            rate *= layer.stride
        parts = list(layer.block) if isinstance(layer, ResidualBlock) else [layer]
        for part in parts:
            if isinstance(part, Convolution):
                reach += (part.kernel.shape[0] - 1) * part.dilation / rate
    return total - after, after, int(reach) + 1


@partial(jax.jit, static_argnames=("graph", "begin", "count"))
def _advance(
    graph: nnx.GraphDef, state: nnx.State, codes: Array, memory: Array, begin: int, count: int
) -> tuple[Float[Array, "B count D"], Array]:
    """The first stage for ``count`` tokens from the ``begin``-th of ``codes`` on."""
    network: EncodecNetwork = nnx.merge(graph, state)
    first, recurrence = network.decoder.layers[0], network.decoder.layers[1]
    assert isinstance(recurrence, Recurrence)
    x = first(network.latents(codes))[:, begin : begin + count]
    return recurrence.advance(x, memory)


@partial(jax.jit, static_argnames=("graph", "begin", "count"))
def _finish(graph: nnx.GraphDef, state: nnx.State, x: Array, begin: int, count: int) -> Float[Array, "B samples"]:
    """The second stage, of ``count`` tokens from the ``begin``-th of ``x`` on."""
    network: EncodecNetwork = nnx.merge(graph, state)
    for layer in list(network.decoder.layers)[2:]:
        x = layer(x)
    hop = network.config.hop
    return x[:, begin * hop : (begin + count) * hop, 0]


class DecodeStream:
    """Decodes one batch of token sequences piece by piece.

    Pieces of equal size are compiled once; the first and the last are programs of their own.

    Args:
        codec: ready to use.
        batch: how many sequences.

    Attributes:
        lag: tokens that must be known beyond those whose sound is given.
    """

    def __init__(self, codec: Codec, batch: int = 1):
        self.codec, self.batch = codec, batch
        network: EncodecNetwork = nnx.merge(codec.graph, codec.state)
        self.before, self.after, self.reach = margins(network.decoder)
        self.lag = self.after + self.reach
        recurrence = network.decoder.layers[1]
        assert isinstance(recurrence, Recurrence)
        self._memory = recurrence.start(batch)
        self._codes = np.zeros((batch, 0, codec.codebooks), np.int32)
        self._hidden: Array | None = None
        # Where the buffers begin, how many tokens are through the first stage, and how many through the second.
        self._codes_from = self._hidden_from = self._advanced = self._given = 0

    def push(self, codes: Int[np.ndarray, "B n K"], last: bool = False) -> Float[np.ndarray, "B samples"]:
        """Takes further tokens (none, too), and gives the sound that is known by now; after ``last`` all of it.

        Raises:
            UserError: a token lies outside the codebook.
        """
        codes = np.asarray(codes, np.int32)
        if codes.shape[1]:
            self.codec.check(codes)
        self._codes = np.concatenate([self._codes, codes], axis=1)
        known = self._codes_from + self._codes.shape[1]
        # What a reflection at the beginning mirrors must be there before it is begun.
        ready = known if last else known - self.after
        if ready > self._advanced and (last or known > self.before + self.after):
            begin, count = self._advanced - self._codes_from, ready - self._advanced
            made, self._memory = _advance(
                self.codec.graph, self.codec.state, jnp.asarray(self._codes), self._memory, begin, count
            )
            self._hidden = made if self._hidden is None else jnp.concatenate([self._hidden, made], axis=1)
            self._advanced = ready
            drop = max(0, ready - self.before - self._codes_from)
            self._codes, self._codes_from = self._codes[:, drop:], self._codes_from + drop
        ready = self._advanced if last else self._advanced - self.reach
        if self._hidden is None or ready <= self._given or not (last or self._advanced > 2 * self.reach):
            return np.zeros((self.batch, 0), np.float32)
        begin, count = self._given - self._hidden_from, ready - self._given
        sound = _finish(self.codec.graph, self.codec.state, self._hidden, begin, count)
        self._given = ready
        drop = max(0, ready - self.reach - self._hidden_from)
        self._hidden, self._hidden_from = self._hidden[:, drop:], self._hidden_from + drop
        return np.asarray(sound)
