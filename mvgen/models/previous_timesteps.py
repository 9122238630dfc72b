"""The previous-timesteps convolution: the last few timesteps of sound, given to each step of the token decoder."""

from __future__ import annotations

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from mvgen.models.linear import Linear


class PreviousTimesteps(nnx.Module):
    """A causal convolution over the last few timesteps, each gathered from the columns over which the delay spreads it.

    A codec's latent of a held note turns by much the same angle from timestep to timestep, so the next one is close to
    a linear function of the few before. Attention has to find these among all columns, and in each column codebooks of
    different timesteps are summed. Here the codebooks of one timestep are summed, as the codec sums them to its latent,
    and one matrix for each of the last timesteps reads them: a convolution in front of the layers, as in Conformers
    (Gulati et al. 2020) and Canon layers (Allen-Zhu 2025), but along the delay's diagonals.

    How far the latent turns is the pitch, which can be seen: the latent of a step's own frame scales what is read,
    channel by channel, since no sum of the two would say what their product says.

    The newest timestep has its first codebook alone, the one before it two, and so on. All matrices start at zero,
    where the decoder is the one without them.
    """

    def __init__(self, timesteps: int, width: int, video: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.timesteps = timesteps
        zeros = nnx.initializers.zeros
        self.scale = (
            Linear(video, timesteps * width, use_bias=False, dtype=dtype, kernel_init=zeros, rngs=rngs)
            if video
            else None
        )
        self.read = Linear(timesteps * width, width, use_bias=False, dtype=dtype, kernel_init=zeros, rngs=rngs)

    def __call__(
        self,
        embedded: list[Float[Array, "batch before_and_steps dim"]],
        steps: int,
        scales: Float[Array, "batch steps values"] | None = None,
    ) -> Float[Array, "batch steps dim"]:
        """What to add to the last ``steps`` columns.

        Args:
            embedded: a codebook each, the columns' embeddings, zero where a column holds no token; ``timesteps - 1``
                columns more than ``steps``, in front.
            steps: how many columns.
            scales: of each of them, from the frame whose tokens it predicts.
        """
        gathered = []
        for age in range(self.timesteps):
            known = range(min(age, len(embedded) - 1) + 1)
            ends = [embedded[k].shape[1] - (age - k) for k in known]
            gathered.append(sum((embedded[k][:, end - steps : end] for k, end in zip(known, ends, strict=True)),
                                jnp.zeros((), embedded[0].dtype)))  # fmt: skip
        values = jnp.concatenate(gathered, axis=-1)
        return self.read(values if scales is None else values * (1 + scales))
