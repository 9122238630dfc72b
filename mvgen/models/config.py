"""What the networks are built from: one frozen description, made from the configuration and the records' spec."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp

from mvgen.errors import UserError

POSITIONS = ("none", "sinusoid", "rotary")


@dataclasses.dataclass(frozen=True)
class MVGenConfig:
    """Sizes and choices of every network: fields of ``configs/base.py``, and what the records say."""

    codebooks: int
    codebook_size: int
    frame_size: tuple[int, int]
    flow_size: tuple[int, int] | None
    semantic_dim: int
    codec: str
    dtype: str
    width: int
    heads: int
    video_layers: int
    audio_layers: int
    fusion_layers: int
    latent_dim: int
    patch: int
    use_frames: bool
    use_flow: bool
    use_semantic: bool
    positions: str
    attention_window: float
    decoder_layers: int
    cross_attention: bool
    frame_locked: bool
    frame_prior: bool
    denoiser_width: int
    denoiser_layers: int
    denoiser_heads: int
    denoiser_patch: int
    denoiser_frames: int

    @classmethod
    def from_config(cls, config: Any, spec: Any) -> MVGenConfig:
        """Joins ``config.model`` with a :class:`mvgen.records.RecordSpec`.

        Raises:
            UserError: a field that the records cannot serve, or sizes that do not divide.
        """
        if spec.frame_size is None:
            raise UserError(
                "the records hold no frames (latents only): the pixel denoiser needs `frames`; convert again"
            )
        model = cls(
            codebooks=spec.codebooks,
            codebook_size=spec.codebook_size,
            frame_size=tuple(spec.frame_size),
            flow_size=None if spec.flow_size is None else tuple(spec.flow_size),
            semantic_dim=spec.semantic_dim,
            codec=spec.codec,
            **config.model.to_dict(),
        )
        model.check()
        return model

    def check(self) -> None:
        """Raises ``UserError`` where choices contradict each other."""
        height, width = self.frame_size
        if self.positions not in POSITIONS:
            raise UserError(f"config.model.positions is {self.positions!r}; choose one of {', '.join(POSITIONS)}")
        if self.dtype not in ("float32", "bfloat16"):
            raise UserError(f"config.model.dtype is {self.dtype!r}; choose float32 or bfloat16")
        if height % (2 * self.patch) or width % (2 * self.patch):
            raise UserError(f"frames of {height}x{width} do not divide into pairs of config.model.patch {self.patch}")
        if height % self.denoiser_patch or width % self.denoiser_patch:
            raise UserError(
                f"frames of {height}x{width} do not divide by config.model.denoiser_patch {self.denoiser_patch}"
            )
        for name, size, heads in (
            ("width", self.width, self.heads),
            ("denoiser_width", self.denoiser_width, self.denoiser_heads),
        ):
            if size % (2 * heads):
                raise UserError(f"config.model.{name} {size} does not split into {heads} heads of an even size")
        if not (self.sees_flow or self.sees_semantic or self.use_frames):
            raise UserError("the video tower sees nothing: set config.model.use_frames, use_flow or use_semantic")

    @property
    def sees_flow(self) -> bool:
        """Whether the video tower is given optical flow."""
        return self.use_flow and self.flow_size is not None

    @property
    def sees_semantic(self) -> bool:
        """Whether the video tower is given semantic embeddings."""
        return self.use_semantic and self.semantic_dim > 0

    @property
    def compute_dtype(self) -> jnp.dtype:
        """The type in which activations are computed; parameters stay float32."""
        return jnp.dtype(self.dtype)
