"""Scores of many clips beside their chance level: means by instrument with intervals, and as lines of text."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from mvgen.evaluation.metrics.chance import bootstrap_interval, derangement

ROUNDS = 3
"""Shuffles over which a chance level is averaged."""
OVERALL = "overall"


class Metric(NamedTuple):
    """How a score is shown."""

    title: str
    meaning: str
    digits: int = 2


METRICS = {
    "onset_f": Metric("Onset F, known notes", "onsets heard against the onsets of the known notes, within 50 ms"),
    "onset_f_sound": Metric("Onset F, reference sound", "onsets heard against those heard in the reference sound"),
    "note_f": Metric("Note F, known notes", "onset within 50 ms and the right pitch or drum"),
    "note_f_offsets": Metric("Note F with offsets", "the same, and ends when it should; heard, it lasts to the next"),
    "note_f_midi": Metric("Note F of the MIDI", "of the .mid beside the generated video, against the known notes"),
    "note_f_midi_offsets": Metric("Note F of the MIDI with offsets", "the same, and ends when it should"),
    "note_f_sound": Metric("Note F, reference sound", "against a transcription of the reference sound"),
    "note_f_basic_pitch": Metric("Note F by basic-pitch", "known notes; the original's own is the reader's ceiling"),
    "note_f_swift_f0": Metric("Note F by swift-f0", "the same, by a reader of one voice"),
    "note_f_sound_basic_pitch": Metric("Note F by basic-pitch, reference", "against what it reads in the original"),
    "note_f_sound_swift_f0": Metric("Note F by swift-f0, reference", "the same, by a reader of one voice"),
    "sound_instrument": Metric("Same instrument heard", "musicnn's likeliest instrument is that of the original"),
    "picture_instrument": Metric("Same instrument seen", "EfficientNet's likeliest instrument is the original's"),
    "pitch_right": Metric("Pitch right, single voice", "share of known single-voice notes with the right pitch"),
    "beat_coverage": Metric("Beat coverage (LORIS)", "seconds with a beat in both over those with one generated"),
    "beat_hit": Metric("Beat hit (LORIS)", "seconds with a beat in both over those with one in the reference"),
    "d2m_coverage": Metric("Beat coverage (D2M-GAN)", "seconds with a beat, generated over reference; may exceed 1"),
    "d2m_hit": Metric("Beat hit (D2M-GAN)", "the same hits with D2M-GAN's picker"),
    "foley_accuracy": Metric("Onset accuracy (CondFoleyGen)", "onsets of the first 2 s answered within 100 ms"),
    "foley_ap": Metric("Onset AP (CondFoleyGen)", "average precision of those answers, ranked by loudness"),
    "kl": Metric("KL of sound classes", "divergence of the classes heard from the original's, nats; 0 is best", 3),
    "av_align": Metric("AV-Align (TempoTokens)", "onsets and motion peaks that meet within one frame, over all"),
    "beat_alignment": Metric("Beat alignment (Bailando)", "how near music onsets fall to minima of motion"),
    "lag_within_frame": Metric(
        "Lag within one frame", "share of clips whose motion and sound fit best at |lag| <= 40 ms"
    ),
    "change_lag_within_frame": Metric("Change lag within one frame", "the same with picture change in place of motion"),
    "lag_value": Metric("Lag correlation", "largest correlation of motion with onset strength over lags up to 1 s"),
    "places_right": Metric("Contact", "share of notes whose key, place or drum is read from the pixels at the onset"),
    "gain_over_still": Metric("Gain over a still, dB", "PSNR over what moves, above that of the first image held", 1),
    "speed_ratio": Metric("Speed ratio", "flow of the film over the original's; 1 is right, a still is 0"),
    "psnr": Metric("PSNR, dB", "against the reference picture", 1),
    "ssim": Metric("SSIM", "against the reference picture"),
    "flicker": Metric("Steadiness (VBench flicker)", "1 is steady; a frozen video scores 1: see flow magnitude", 3),
    "warp_error": Metric("Flow-warp error", "squared change from frame to frame that motion does not explain", 4),
    "flow_magnitude": Metric("Flow magnitude, px", "how much the picture moves, in pixels a frame at the scored size"),
}
"""Every score of a table, in the order in which they are shown."""


@dataclass
class ScoreTable:
    """Scores by clip.

    Attributes:
        names, instruments: of each clip, ``[n]``.
        values: by metric, float ``[n]``; NaN where it does not apply to the clip.
        shuffled: by metric, float ``[rounds, n]``: the score of clip ``i`` against another clip of its instrument.
        originals: by metric, float ``[n]``: the same score of the original itself, the ceiling of the measure.
    """

    names: list[str]
    instruments: list[str]
    values: dict[str, np.ndarray] = field(default_factory=dict)
    shuffled: dict[str, np.ndarray] = field(default_factory=dict)
    originals: dict[str, np.ndarray] = field(default_factory=dict)

    def add(
        self,
        score: Callable[[int, int], dict[str, float]],
        seed: int = 0,
        original: Callable[[int], dict[str, float]] | None = None,
    ) -> None:
        """Scores every clip, and every clip with shuffled partners of its own instrument.

        Args:
            score: ``score(i, j)``: what is known of clip ``i`` against what was generated for clip ``j``; ``j == i``
                is the true pair.
            seed: of the shuffles.
            original: ``original(i)``: the score of the original of clip ``i`` in place of what was generated.
        """
        count = len(self.names)
        self.values |= _columns([score(i, i) for i in range(count)])
        rounds = [
            _columns([score(i, int(j)) if j >= 0 else {} for i, j in enumerate(partners)])
            for partners in (derangement(self.instruments, seed + k) for k in range(ROUNDS))
        ]
        for metric in rounds[0]:
            self.shuffled[metric] = np.stack([columns[metric] for columns in rounds])
        if original:
            self.originals |= _columns([original(i) for i in range(count)])

    def add_plain(self, score: Callable[[int], dict[str, float]], original: Callable[[int], dict[str, float]]) -> None:
        """Scores that are no comparison of pairs, and so have no chance level."""
        count = len(self.names)
        self.values |= _columns([score(i) for i in range(count)])
        self.originals |= _columns([original(i) for i in range(count)])

    def merge(self, other: ScoreTable) -> ScoreTable:
        """This table with the scores of another one of the same clips added."""
        if (self.names, self.instruments) != (other.names, other.instruments):
            raise ValueError("tables of different clips cannot be merged")
        return ScoreTable(
            self.names,
            self.instruments,
            self.values | other.values,
            self.shuffled | other.shuffled,
            self.originals | other.originals,
        )

    def summary(self, seed: int = 0) -> dict[str, dict[str, dict[str, Any]]]:
        """``{"overall" or instrument: {metric: {"mean", "low", "high", "chance", "original", "clips"}}}``.

        ``low`` and ``high`` bound the 95 % bootstrap interval of the mean over clips. Metrics that apply to no clip of
        a group are left out of it; ``chance`` and ``original`` are ``None`` where there is none.
        """
        summary: dict[str, dict[str, dict[str, Any]]] = {}
        for group, chosen in self.groups().items():
            summary[group] = {}
            for metric in METRICS:
                values = self.values.get(metric, np.zeros(0))
                if not len(values) or not np.isfinite(values[chosen]).any():
                    continue
                low, high = bootstrap_interval(values[chosen], seed)
                summary[group][metric] = {
                    "mean": _mean(values[chosen]),
                    "low": low,
                    "high": high,
                    "chance": _mean(self.shuffled[metric][:, chosen]) if metric in self.shuffled else None,
                    "original": _mean(self.originals[metric][chosen]) if metric in self.originals else None,
                    "clips": int(np.isfinite(values[chosen]).sum()),
                }
        return summary

    def groups(self) -> dict[str, np.ndarray]:
        """Which clips belong to ``overall`` and, where there are several, to each instrument: bool ``[n]`` each."""
        groups = {OVERALL: np.ones(len(self.names), bool)}
        if len(set(self.instruments)) > 1:
            groups |= {name: np.asarray(self.instruments) == name for name in dict.fromkeys(self.instruments)}
        return groups

    def per_clip(self) -> list[dict[str, Any]]:
        """One entry a clip: name, instrument, scores, and of each its chance and the original's own.

        What does not apply is ``None``.
        """
        entries = []
        for i, (name, instrument) in enumerate(zip(self.names, self.instruments, strict=True)):
            entries.append(
                {
                    "name": name,
                    "instrument": instrument,
                    "scores": {metric: _number(values[i]) for metric, values in self.values.items()},
                    "chance": {metric: _mean(values[:, i]) for metric, values in self.shuffled.items()},
                    "original": {metric: _number(values[i]) for metric, values in self.originals.items()},
                }
            )
        return entries


def lines(summary: dict[str, dict[str, dict[str, Any]]]) -> list[str]:
    """The summary as lines of text: score, mean with interval, chance, the original's own, clips."""
    rows: list[Sequence[str]] = []
    for group, metrics in summary.items():
        rows.append((group, "mean", "95 % interval", "chance", "original", "clips"))
        for metric, entry in metrics.items():
            mean, low, high, chance, original = (
                shown(entry[key], metric) for key in ("mean", "low", "high", "chance", "original")
            )
            title = "  " + METRICS[metric].title
            rows.append((title, mean, f"{low} .. {high}", chance, original, str(entry["clips"])))
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    text: list[str] = []
    for row in rows:
        cells = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        if not row[0].startswith(" ") and text:
            text.append("")
        text.append("  ".join(cells))
    return text


def shown(value: float | None, metric: str) -> str:
    """A number with as many digits as its metric is worth; a dash where there is none."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.{METRICS[metric].digits}f}"


def _columns(entries: list[dict[str, float]]) -> dict[str, np.ndarray]:
    metrics = dict.fromkeys(metric for entry in entries for metric in entry)
    return {metric: np.array([entry.get(metric, np.nan) for entry in entries], float) for metric in metrics}


def _mean(values: np.ndarray) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else None


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
