"""What the networks are built from: one frozen description, made from the configuration and the records' spec."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp

from mvgen.errors import UserError
from mvgen.models.displacement import GRID, parents
from mvgen.models.positions import TIME_BIASES

POSITIONS = ("none", "sinusoid", "rotary", *TIME_BIASES)
CROSS_POSITIONS = ("none", "rotary", *TIME_BIASES)


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
    """Sizes and switches of the token decoder. With ``video_width`` 0 it is MusicGen's, number for number.

    ``hidden`` is the MLP's inner width. ``video_width`` and ``text_width`` are those of what it is conditioned on; 0:
    none. ``cross_attention``, ``frame_locked``, ``token_head``, ``rotary``, ``bias`` (one of ``TIME_BIASES``, or "")
    and ``window`` (seconds; 0 is all) say how it meets video. ``previous_timesteps``: how many timesteps the
    previous-timesteps convolution reads; 0: there is none.
    """

    codebooks: int
    codebook_size: int
    width: int
    heads: int
    layers: int
    hidden: int
    video_width: int = 0
    text_width: int = 0
    cross_attention: bool = True
    frame_locked: bool = False
    token_head: bool = False
    rotary: bool = False
    window: float = 0.0
    dtype: str = "float32"
    bias: str = ""
    previous_timesteps: int = 0

    @property
    def compute_dtype(self) -> jnp.dtype:
        """The type in which activations are computed."""
        return jnp.dtype(self.dtype)

    def beyond_musicgen(self) -> list[str]:
        """What of this decoder MusicGen's has not, in words; empty where both are the same."""
        parts = {
            "frame-locked addition": self.frame_locked,
            "per-frame token head": self.token_head,
            "previous-timesteps convolution": bool(self.previous_timesteps),
            "rotary cross-attention": self.cross_attention and self.rotary,
            "bias of cross-attention by time": self.cross_attention and bool(self.bias),
            "window of cross-attention": self.cross_attention and bool(self.window),
        }
        return [name for name, present in parts.items() if present]


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
    token_head: bool
    denoiser_width: int
    denoiser_layers: int
    denoiser_heads: int
    denoiser_patch: int
    denoiser_frames: int
    decoder_width: int = 0  # channels, heads and inner width of the token decoder; 0: width, heads, 4 * decoder_width
    decoder_heads: int = 0
    decoder_hidden: int = 0
    text_width: int = 0  # width of the text embeddings that the token decoder is given beside the video; 0: no text
    cross_positions: str = ""  # of the token decoder's cross-attention, one of CROSS_POSITIONS; "": as positions
    previous_timesteps: int = 0  # timesteps that the previous-timesteps convolution reads; 0: none
    window_mean: bool = True  # whether the video tower sees what sets each patch apart from its mean over the window
    landmarks: int = 0  # points that the records follow
    landmark_parents: tuple[int, ...] = ()  # for each the point that it hangs on; empty: none hangs on another
    movement_width: int = 128
    movement_heads: int = 4
    movement_layers: int = 2
    latent_shape: tuple[int, int, int] | None = None  # of a frame's latents, where the records hold them
    use_latents: bool = False  # film in them instead of pixels
    use_landmarks: bool = False
    cross_window: float = -1.0  # its window in seconds; 0: all; negative: as attention_window
    notes_width: int = 0  # hidden channels of the note head; 0: there is none

    @classmethod
    def from_config(cls, config: Any, spec: Any) -> MVGenConfig:
        """Joins ``config.model`` with a :class:`mvgen.data.records.RecordSpec`.

        Raises:
            UserError: a field that the records cannot serve, or sizes that do not divide.
        """
        if spec.frame_size is None and (config.model.use_frames or not config.model.use_latents):
            raise UserError(
                "the records hold latents and no frames: set config.model.use_latents=True and use_frames=False, or "
                "convert again with frames"
            )
        model = cls(
            codebooks=spec.codebooks,
            codebook_size=spec.codebook_size,
            frame_size=tuple(spec.frame_size or (0, 0)),
            flow_size=None if spec.flow_size is None else tuple(spec.flow_size),
            semantic_dim=spec.semantic_dim,
            codec=spec.codec,
            landmarks=len(spec.landmarks),
            landmark_parents=parents(spec.landmarks),
            latent_shape=spec.latent_shape,
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
        if self.use_latents and not self.latent_shape:
            raise UserError("config.model.use_latents is set, and the records hold no latents; convert with them")
        tall, wide = self.picture_size
        if tall % self.denoiser_patch or wide % self.denoiser_patch:
            what = "latents" if self.use_latents else "frames"
            raise UserError(
                f"{what} of {tall}x{wide} do not divide by config.model.denoiser_patch {self.denoiser_patch}"
            )
        for name, size, heads in (
            ("width", self.width, self.heads),
            ("denoiser_width", self.denoiser_width, self.denoiser_heads),
            ("movement_width", self.movement_width, self.movement_heads),
        ):
            if size % (2 * heads):
                raise UserError(f"config.model.{name} {size} does not split into {heads} heads of an even size")
        if self.cross_positions not in ("", *CROSS_POSITIONS):
            raise UserError(
                f"config.model.cross_positions is {self.cross_positions!r}; choose one of {', '.join(CROSS_POSITIONS)}"
            )
        if self.previous_timesteps < 0:
            raise UserError(
                f"config.model.previous_timesteps is {self.previous_timesteps}; it is a number of timesteps, or 0"
            )
        if self.notes_width < 0:
            raise UserError(f"config.model.notes_width is {self.notes_width}; it is a number of channels, or 0")
        decoder = self.decoder
        if decoder.width % (2 * decoder.heads):
            raise UserError(
                f"config.model.decoder_width {decoder.width} does not split into {decoder.heads} heads of an even size"
            )
        if decoder.text_width and not decoder.cross_attention:
            raise UserError("config.model.text_width is read by cross-attention: set config.model.cross_attention")
        if decoder.text_width and decoder.rotary:
            raise UserError(
                "text has no time: with config.model.text_width set config.model.cross_positions to time_bias "
                "(a time bias of the frames alone) or none, not rotary"
            )
        if self.use_landmarks and not self.landmarks:
            raise UserError("config.model.use_landmarks is set, and the records hold no landmarks; convert with them")
        if not (self.sees_flow or self.sees_semantic or self.sees_landmarks or self.use_frames):
            raise UserError(
                "the video tower sees nothing: set config.model.use_frames, use_flow, use_semantic or use_landmarks"
            )

    @property
    def decoder(self) -> DecoderConfig:
        """The token decoder's own sizes."""
        width = self.decoder_width or self.width
        positions = self.cross_positions or self.positions
        return DecoderConfig(
            codebooks=self.codebooks,
            codebook_size=self.codebook_size,
            width=width,
            heads=self.decoder_heads or self.heads,
            layers=self.decoder_layers,
            hidden=self.decoder_hidden or 4 * width,
            video_width=self.width,
            text_width=self.text_width,
            cross_attention=self.cross_attention,
            frame_locked=self.frame_locked,
            token_head=self.token_head,
            rotary=positions == "rotary",
            bias=positions if positions in TIME_BIASES else "",
            previous_timesteps=self.previous_timesteps,
            window=self.attention_window if self.cross_window < 0 else self.cross_window,
            dtype=self.dtype,
        )

    @property
    def sees_flow(self) -> bool:
        """Whether the video tower is given optical flow."""
        return self.use_flow and self.flow_size is not None

    @property
    def sees_semantic(self) -> bool:
        """Whether the video tower is given semantic embeddings."""
        return self.use_semantic and self.semantic_dim > 0

    @property
    def sees_landmarks(self) -> bool:
        """Whether the video tower is given landmarks."""
        return self.use_landmarks and self.landmarks > 0

    @property
    def picture_size(self) -> tuple[int, int]:
        """(height, width) of what the film part paints: frames, or their latents."""
        return self.latent_shape[:2] if self.use_latents and self.latent_shape else self.frame_size

    @property
    def picture_channels(self) -> int:
        """Values of one of its places."""
        return self.latent_shape[2] if self.use_latents and self.latent_shape else 3

    @property
    def hanging(self) -> tuple[int, ...]:
        """For each point that movement plans, the one that it hangs on, or itself (:mod:`mvgen.models.displacement`).

        The points are the records' landmarks, or those of a grid where there are none.
        """
        return self.landmark_parents or tuple(range(self.landmarks or GRID**2))

    @property
    def compute_dtype(self) -> jnp.dtype:
        """The type in which activations are computed; parameters stay float32."""
        return jnp.dtype(self.dtype)
