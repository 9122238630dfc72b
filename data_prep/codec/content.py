"""What the first codebook is asked to say: what sounds in a token's time, whatever its phase.

A codec trained on the waveform alone spends every codebook on the waveform: the same note gives another first code for
every phase at which a token happens to cut it, one such code tells a single voice's pitch in 0.57 of cases, and whoever
predicts codes must guess the phase of a note before its pitch. Here the first codebook sees only some channels of the
latents, and these are trained to tell a description of the sound without phase, and nothing else: one code then tells
the pitch in 0.96 of cases. So SpeechTokenizer (Zhang et al., 2024) and Mimi (Defossez et al., "Moshi", 2024) teach the
first of their codebooks; their teacher is a speech model, this one is a spectrum.

The description of a token, centred on its 640 samples:

- magnitudes at 72 semitones (MIDI 40 to 111, 82 Hz to 5 kHz) of a window of 64 ms, their roots (partials that are
  weaker count too) scaled to a norm of ``SHAPE``: what sounds, however loud;
- logarithms of the magnitude in four bands over the token's own 20 ms, times ``LOUDNESS``: how loud, and when it
  begins.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from data_prep.extract.tokens import SAMPLES_PER_TOKEN
from mvgen.clock import CODEC_SAMPLE_RATE

LOWEST, SEMITONES = 40, 72
"""MIDI number of the first of the spectrum's bands, and how many there are."""
WINDOW, FFT = 2048, 8192
"""Samples of the spectrum's window, and its length padded with zeros: finer steps between the bins."""
NARROWEST = 12.0
"""Half a band's width in Hz at least: at lower pitches a semitone is less than the window resolves."""
EDGES = (30.0, 300.0, 1200.0, 4800.0, 16000.0)
"""Hz between the bands in which loudness is told."""
SHAPE, LOUDNESS = 4.0, 0.3
"""How much the spectrum's shape and the loudness weigh in the description."""
QUIET_SHAPE, QUIET_LOUDNESS = 1e-4, 3e-4
"""Magnitudes below which there is silence."""
CUT_SHORT = 2
"""Tokens at either end of a crop whose windows reach beyond it; they are not learned from."""


class Content(nn.Module):
    """Tells the description from some channels of the latents, by a linear map that is not kept.

    Args:
        channels: how many.
    """

    def __init__(self, channels: int):
        super().__init__()
        frequencies = torch.arange(FFT // 2 + 1) * (CODEC_SAMPLE_RATE / FFT)
        centres = 440.0 * 2 ** ((LOWEST + torch.arange(SEMITONES) - 69) / 12)
        widths = (centres * (2 ** (1 / 12) - 1)).clamp_min(NARROWEST)
        semitones = (1 - (frequencies - centres[:, None]).abs() / widths[:, None]).clamp_min(0)
        edges = torch.tensor(EDGES)[:, None]
        self.register_buffer("semitones", semitones / semitones.sum(1, keepdim=True), persistent=False)
        bands = (frequencies >= edges[:-1]) & (frequencies < edges[1:])
        self.register_buffer("bands", bands.float(), persistent=False)
        self.register_buffer("long", torch.hann_window(WINDOW), persistent=False)
        self.register_buffer("short", torch.hann_window(SAMPLES_PER_TOKEN), persistent=False)
        self.semitones: Tensor
        self.bands: Tensor
        self.long: Tensor
        self.short: Tensor
        self.told = nn.Linear(channels, SEMITONES + len(EDGES) - 1)
        nn.init.orthogonal_(self.told.weight, gain=0.1)

    @torch.no_grad()
    def describe(self, sound: Tensor) -> Tensor:
        """Sound ``[B, 640 T]`` to its description ``[B, T, 76]``; silence beyond both ends."""
        before = (WINDOW - SAMPLES_PER_TOKEN) // 2
        pieces = nn.functional.pad(sound, (before, before)).unfold(1, WINDOW, SAMPLES_PER_TOKEN)
        size = torch.fft.rfft(pieces * self.long, FFT).abs() / self.long.sum()
        shape = (size @ self.semitones.T + QUIET_SHAPE).sqrt()
        own = pieces[..., before : before + SAMPLES_PER_TOKEN] * self.short
        power = torch.fft.rfft(own, FFT).abs().div(self.short.sum()).square() @ self.bands.T
        loudness = ((4 / FFT * power).sqrt() + QUIET_LOUDNESS).log()
        return torch.cat([SHAPE * shape / shape.norm(dim=-1, keepdim=True), LOUDNESS * loudness], dim=-1)

    @torch.no_grad()
    def start_at(self, sound: Tensor) -> None:
        """Lets the map begin at the mean description of sound ``[B, 640 T]``, which is far from zero."""
        self.told.bias.copy_(self.describe(sound).mean((0, 1)))

    def forward(self, channels: Tensor, sound: Tensor) -> Tensor:
        """Share of the description's variance that the channels do not tell, a scalar.

        Args:
            channels: ``[B, channels, T]``.
            sound: ``[B, 640 T]``.
        """
        whole = slice(CUT_SHORT, -CUT_SHORT)
        true = self.describe(sound)[:, whole]
        missed = (self.told(channels.transpose(1, 2))[:, whole] - true).square().mean()
        return missed / (true - true.mean((0, 1))).square().mean().clamp_min(1e-6)
