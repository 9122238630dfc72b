"""What training minimises: how far two sounds are apart in the waveform and in spectra of three window lengths.

Long windows tell pitches apart, short ones place attacks. At each length: L1 between log magnitudes (mel bands at the
longer windows, plain bins at the shortest) and spectral convergence, ``|S - S'| / |S|`` in the Frobenius norm
(Arik et al., "Fast Spectrogram Inversion", 2018); and L1 between the steps that the log magnitudes take from frame to
frame, by which onsets are heard: a soft attack over what still sounds moves them little, noise of the codec's own moves
them as much. Everything is relative to the sound's own size, so that loud sources do not rule quiet ones.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mvgen.clock import CODEC_SAMPLE_RATE
from mvgen.media.mel import mel_bands

FLOOR = 3e-4
"""Magnitude (of a sine of that amplitude, halved) below which differences are not heard."""
QUIET = 1e-3
"""Mean magnitude of a waveform below which it counts as silence."""

Scales = tuple[tuple[int, int, int], ...]


def _power(sound: Tensor, window: Tensor, hop: int) -> Tensor:
    """Squared magnitudes of sound ``[B, n]`` under a window, ``[B, bins, frames]``."""
    spectrum = torch.stft(sound, len(window), hop, window=window, return_complex=True)
    return torch.view_as_real(spectrum).square().sum(-1)


class SpectralLoss(nn.Module):
    """Multi-scale spectral distance.

    Args:
        scales: (FFT length, hop, mel bands or 0 for plain bins).
    """

    def __init__(self, scales: Scales = ((2048, 512, 96), (512, 128, 48), (128, 64, 0))):
        super().__init__()
        self.scales = scales
        for length, _, bands in scales:
            self.register_buffer(f"window_{length}", torch.hann_window(length))
            if bands:
                # Without Slaney's area normalisation: a band holds the sum of its bins, so that FLOOR means the same.
                mel = mel_bands(CODEC_SAMPLE_RATE, length, bands, 30.0, CODEC_SAMPLE_RATE / 2)
                self.register_buffer(f"mel_{length}", torch.from_numpy(mel))

    def magnitudes(self, sound: Tensor, length: int, hop: int, bands: int) -> Tensor:
        """Magnitudes of sound ``[B, n]``, ``[B, bands or bins, frames]``; a full-scale sine has 0.5 in its bin."""
        window = getattr(self, f"window_{length}")
        # abs() of a complex zero has no gradient; the tiny constant gives it one.
        size = (_power(sound, window, hop) + 1e-12).sqrt() / window.sum()
        return getattr(self, f"mel_{length}") @ size if bands else size

    def forward(self, made: Tensor, true: Tensor) -> dict[str, Tensor]:
        """Scalar distances of the made sound from the true one, both ``[B, n]``: "log", "convergence" and "flux"."""
        log_distance, convergence, flux = made.new_zeros(()), made.new_zeros(()), made.new_zeros(())
        for scale in self.scales:
            made_size, true_size = self.magnitudes(made, *scale), self.magnitudes(true, *scale)
            apart = (made_size + FLOOR).log() - (true_size + FLOOR).log()
            log_distance = log_distance + apart.abs().mean()
            flux = flux + apart.diff(dim=-1).abs().mean()
            difference = (made_size - true_size).flatten(1).norm(dim=1)
            size = true_size.flatten(1).norm(dim=1) + FLOOR * true_size[0].numel() ** 0.5
            convergence = convergence + (difference / size).mean()
        losses = {"log": log_distance, "convergence": convergence, "flux": flux}
        return {name: loss / len(self.scales) for name, loss in losses.items()}


class OnsetLoss(nn.Module):
    """How far two sounds are apart in the rises that onsets are picked from.

    The rises are those of librosa's onset strength (128 mel bands up to 11 kHz in decibels, down to 80 dB below the
    loudest, windows of 93 ms, steps of 23 ms; Boeck and Widmer, "Maximum filter vibrato suppression for onset
    detection", 2013, without the filter), taken twice as often, so that it does not matter where a step begins.
    All bands count alike there, and one 60 dB below the loudest that does not fall silent after an attack hides the
    next, which spectra compared by their size hardly see. Compared are the rises' mean over bands, and the rises
    themselves, band by band, both relative to the true sound's own.
    """

    LENGTH, HOP, BANDS, HIGHEST, RANGE_DB = 2970, 371, 128, 11_025.0, 80.0
    BY_BAND = 0.3
    """Weight of the comparison band by band."""

    def __init__(self) -> None:
        super().__init__()
        mel = mel_bands(CODEC_SAMPLE_RATE, self.LENGTH, self.BANDS, 0.0, self.HIGHEST, equal_area=True)
        self.register_buffer("mel", torch.from_numpy(mel))
        self.register_buffer("window", torch.hann_window(self.LENGTH))
        self.mel: Tensor
        self.window: Tensor

    def _power(self, sound: Tensor) -> Tensor:
        return self.mel @ _power(sound, self.window, self.HOP)

    def _rises(self, power: Tensor, floor: Tensor) -> Tensor:
        decibels = 10 * torch.log10(torch.maximum(power, floor) + 1e-12)
        return (decibels[..., 2:] - decibels[..., :-2]).relu()

    def forward(self, made: Tensor, true: Tensor) -> Tensor:
        """A scalar, 0 for the same sound; both ``[B, n]``, at least half a window long."""
        true_power = self._power(true)
        floor = true_power.amax((1, 2), keepdim=True) * 10 ** (-self.RANGE_DB / 10)
        true_rises, made_rises = self._rises(true_power, floor), self._rises(self._power(made), floor)
        heard = _relative(made_rises.mean(1), true_rises.mean(1))
        return heard + self.BY_BAND * _relative(made_rises.flatten(1), true_rises.flatten(1))


def _relative(made: Tensor, true: Tensor) -> Tensor:
    """Mean difference of rises ``[B, n]`` in dB over their mean; half a decibel's rise is none."""
    return ((made - true).abs().mean(1) / (true.mean(1) + 0.5)).mean()


def waveform_loss(made: Tensor, true: Tensor) -> Tensor:
    """Root mean square difference over the true sound's root mean square, ``[B, n]`` to a scalar: 1 for silence."""
    error = (made - true).square().mean(1).add(1e-12).sqrt()
    return (error / (true.square().mean(1).sqrt() + QUIET)).mean()


class Balancer:
    """Gives each loss on the made sound a fixed share of its gradient, whatever the losses' own sizes.

    As in EnCodec (Defossez et al., 2022, section 3.4): each loss's gradient at the network's output is divided by a
    moving average of its norm and multiplied by its weight. Without it the logarithmic terms, whose gradients grow
    where it is quiet, drown the waveform's, and the network learns loudness over time and frequency but no pitch.

    Args:
        size: norm of the sum, should all losses pull the same way.
        decay: of the moving averages.
    """

    def __init__(self, size: float = 0.1, decay: float = 0.98):
        self.size, self.decay = size, decay
        self.norms: dict[str, float] = {}
        self.seen = 0.0  # the averages' total weight, which is less than 1 in the beginning

    def gradient(self, losses: dict[str, Tensor], shares: dict[str, float], made: Tensor) -> Tensor:
        """The balanced gradient at ``made``, a leaf that the losses were computed from; shares by the losses' names;
        what has none costs nothing."""
        total = torch.zeros_like(made)
        self.seen = self.decay * self.seen + (1 - self.decay)
        for name, share in ((name, share) for name, share in shares.items() if share > 0):
            (gradient,) = torch.autograd.grad(losses[name], made, retain_graph=True)
            norm = float(gradient.norm())
            if norm != norm or norm == float("inf"):  # one bad batch must not end the run
                continue
            self.norms[name] = self.decay * self.norms.get(name, 0.0) + (1 - self.decay) * norm
            part = self.size * share / sum(shares.values())
            total += gradient * (part * self.seen / max(self.norms[name], 1e-12))
        return total
