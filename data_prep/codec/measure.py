"""What a codec keeps of a sound: figures of a round trip, with the untouched sound's figure and chance beside them.

Every measure compares a sound with what encoding and decoding made of it:

- **codebook use**: share of entries that occur, and perplexity ``exp(H)`` of how often, for each codebook;
- **pitch told by one code**: for each codebook, the share of tokens inside notes of single-voice clips whose code alone
  tells the pitch: its most frequent one in the other half of the clips (:func:`pitch_told`);
- **log-mel distance**: mean absolute difference of 80 mel bands in dB (FFT 2048, hop 512, 32 kHz, floor -80 dB);
- **SI-SDR**: scale-invariant signal-to-distortion ratio in dB (Le Roux et al., "SDR - half-baked or well done?", 2019);
- **onset F**: onsets as librosa picks them (:mod:`mvgen.media.onsets`) against the known notes' moments, matched
  one to one within 50 ms (mir_eval); also against the untouched sound's own detected onsets;
- **pitch**: the share of known notes of single-voice clips whose pitch is read right (:func:`read_pitch`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import mir_eval
import numpy as np
import soxr
import torch
from tqdm import tqdm
from transformers import EncodecModel

from data_prep.codec.sound import Sound
from data_prep.extract.tokens import codec_location
from mvgen.clock import CODEC_SAMPLE_RATE, TOKEN_RATE
from mvgen.errors import UserError
from mvgen.media.mel import mel_bands, spectra
from mvgen.media.onsets import SAMPLE_RATE as ONSET_RATE
from mvgen.media.onsets import onset_strength, pick_onsets

TOLERANCE = 0.05
"""Seconds within which two onsets are the same."""
TOGETHER = 0.03
"""Seconds within which notes begin together: one moment."""

PITCHES = np.arange(36, 85)
"""MIDI pitches among which a note's is read, an octave beyond Recital's range on either side."""
SKIP, LONGEST, SHORTEST = 0.02, 0.35, 0.06
"""Seconds of a note left out at its start (the attack is noise), read at most, and needed at least."""
HARMONICS = 10
SPECTRUM = 16_384


def load_model(codec: str) -> EncodecModel:
    """The codec in torch, by preset, folder or hub name; :class:`UserError` if there is none."""
    try:
        return EncodecModel.from_pretrained(codec_location(codec), dtype=torch.float32).eval().requires_grad_(False)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"cannot load the codec {codec!r}: {str(error).splitlines()[0]}") from error


@torch.inference_mode()
def round_trip(model: EncodecModel, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes int64 ``[codebooks, T]`` of a sound ``[n]``, and the sound ``[n]`` decoded from them."""
    codec: Any = model  # takes and gives more than its annotations say
    sound = torch.from_numpy(samples)[None, None]
    codes = codec.encode(sound, bandwidth=model.config.target_bandwidths[-1]).audio_codes
    made = codec.decode(codes, [None]).audio_values[0, 0]
    return codes[0, 0].numpy(), made[: len(samples)].numpy()


def codebook_use(codes: np.ndarray, entries: int) -> list[dict[str, float]]:
    """For each codebook of codes ``[codebooks, T]``: the share of its entries that occur, and their perplexity."""
    figures = []
    for level in codes:
        counts = np.bincount(level, minlength=entries)
        share = counts[counts > 0] / counts.sum()
        perplexity = float(np.exp(-(share * np.log(share)).sum()))
        figures.append({"used": float((counts > 0).mean()), "perplexity": perplexity})
    return figures


def pitch_told(groups: list[np.ndarray], entries: int) -> tuple[float, float]:
    """How well one code tells the pitch.

    Args:
        groups: of each clip the tokens inside its notes, ``[k, 2]`` code and MIDI pitch. Codes learn their pitch from
            the clips of even place and are asked in the others, and the other way round.
        entries: how many codes there are.

    Returns:
        The share that is told right, and the share that is had by always naming the most frequent pitch; NaN without
        tokens on both sides.
    """
    halves = [np.concatenate(groups[side::2]) if groups[side::2] else np.zeros((0, 2), int) for side in (0, 1)]
    if not all(map(len, halves)):
        return float("nan"), float("nan")
    right = by_chance = 0
    for known, asked in (halves, halves[::-1]):
        counts = np.zeros((entries, 128), int)
        np.add.at(counts, (known[:, 0], known[:, 1]), 1)
        common = int(counts.sum(0).argmax())
        told = np.where(counts.any(1), counts.argmax(1), common)
        right += int((told[asked[:, 0]] == asked[:, 1]).sum())
        by_chance += int((asked[:, 1] == common).sum())
    total = sum(map(len, halves))
    return right / total, by_chance / total


def _single_voice(notes: np.ndarray, until: float) -> list[tuple[float, float, float]]:
    """Onset, end and pitch of a single voice's notes ``[k, 3]``, sorted by onset: each ends where the next begins."""
    ends = np.minimum(np.append(notes[:, 0], until)[1:], notes[:, 1])
    return list(zip(notes[:, 0], ends, notes[:, 2], strict=True))


def tokens_in_notes(codes: np.ndarray, notes: np.ndarray) -> np.ndarray:
    """Which tokens of a single voice lie wholly inside its notes ``[k, 3]``: ``[k', 2]``, place and MIDI pitch."""
    inside = [
        (place, int(pitch))
        for onset, end, pitch in _single_voice(notes, np.inf)
        for place in range(int(np.ceil(onset * TOKEN_RATE)), min(int(end * TOKEN_RATE), codes.shape[1]))
    ]
    return np.array(inside, int).reshape(-1, 2)


def log_mel(samples: np.ndarray) -> np.ndarray:
    """Log-mel spectrogram in dB, ``[80, frames]``; a full-scale sine is near -6 dB in its band."""
    size = np.abs(np.concatenate(list(spectra(samples, 2048, 512)))).T / 1024
    bands = mel_bands(CODEC_SAMPLE_RATE, 2048, 80, 30.0, CODEC_SAMPLE_RATE / 2) @ size
    return 20 * np.log10(np.maximum(bands, 1e-4))


def si_sdr(made: np.ndarray, true: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio in dB of two sounds ``[n]``; NaN for silence."""
    true, made = true - true.mean(), made - made.mean()
    power = float(true @ true)
    if power < 1e-9:
        return float("nan")
    target = (float(made @ true) / power) * true
    return float(10 * np.log10(max(float(target @ target), 1e-12) / max(float(np.square(made - target).sum()), 1e-12)))


def detect_onsets(samples: np.ndarray) -> np.ndarray:
    """Onset times in seconds of a sound ``[n]`` at 32 kHz."""
    sound = soxr.resample(samples, CODEC_SAMPLE_RATE, ONSET_RATE, quality="HQ")
    return pick_onsets(onset_strength(sound))


def moments(notes: np.ndarray) -> np.ndarray:
    """The distinct moments in seconds at which notes ``[k, 3]`` begin."""
    onsets = np.sort(notes[:, 0].astype(float))
    return onsets[np.diff(onsets, prepend=-np.inf) > TOGETHER]


def onset_f(reference: np.ndarray, found: np.ndarray) -> float:
    """F-measure of found onsets; NaN where there is nothing to find and nothing was found."""
    if not len(reference) and not len(found):
        return float("nan")
    return float(mir_eval.onset.f_measure(reference, found, window=TOLERANCE)[0])


def read_pitch(samples: np.ndarray, onset: float, until: float) -> int:
    """The MIDI pitch that sounds from ``onset`` to ``until`` seconds, 0 for silence.

    Salience by harmonic summation (Klapuri, "Multiple fundamental frequency estimation by summing harmonic amplitudes",
    2006) on the spectrum in dB above its floor (50 dB below its peak): each candidate's harmonics count for it, what
    stands halfway between them counts against it, for it belongs to the octave below.
    """
    start = round((onset + SKIP) * CODEC_SAMPLE_RATE)
    stretch = samples[start : round(min(until, onset + LONGEST) * CODEC_SAMPLE_RATE)]
    if len(stretch) < 0.5 * SHORTEST * CODEC_SAMPLE_RATE or np.abs(stretch).max() < 1e-3:
        return 0
    size = np.abs(np.fft.rfft(stretch * np.hanning(len(stretch)), SPECTRUM))
    height = np.maximum(0, 1 + 20 * np.log10(np.maximum(size / size.max(), 1e-9)) / 50)
    fundamentals = 440.0 * 2 ** ((PITCHES - 69) / 12)
    numbers = np.arange(1, HARMONICS + 1)
    weights = 0.85 ** (numbers - 1)
    salience = [
        weights @ (_peaks(height, fundamental * numbers) - 0.5 * _peaks(height, fundamental * (numbers - 0.5)))
        for fundamental in fundamentals
    ]
    return int(PITCHES[int(np.argmax(salience))])


def _peaks(height: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """Largest value of a spectrum within a third of a semitone of each frequency."""
    places = frequencies * SPECTRUM / CODEC_SAMPLE_RATE
    reach = np.maximum(1.0, places * (2 ** (1 / 36) - 1))
    spans = zip(np.floor(places - reach).astype(int), np.ceil(places + reach).astype(int) + 1, strict=True)
    return np.array([height[low:high].max() for low, high in spans])


def note_pitches(samples: np.ndarray, notes: np.ndarray) -> np.ndarray:
    """The pitch read at each of a single voice's notes ``[k, 3]`` that is long enough, ``[k', 2]`` true and read."""
    spans = _single_voice(notes, len(samples) / CODEC_SAMPLE_RATE)
    read = [(pitch, read_pitch(samples, on, off)) for on, off, pitch in spans if off - on >= SKIP + SHORTEST]
    return np.array(read, int).reshape(-1, 2)


@dataclass
class Measured:
    """One sound's figures; see the module's text. Pitches are ``[k, 2]``, true and read; ``inside`` is of
    :func:`tokens_in_notes`."""

    kind: str
    codes: np.ndarray
    mel: float
    mel_chance: float
    sdr: float
    known: np.ndarray
    before: np.ndarray
    after: np.ndarray
    pitches_before: np.ndarray
    pitches_after: np.ndarray
    inside: np.ndarray


def measure_sound(model: EncodecModel, sound: Sound, other: Sound) -> Measured:
    """Measures a round trip of one sound; ``other``, unrelated, gives the distance that chance has."""
    codes, made = round_trip(model, sound.samples)
    true_mel, length = log_mel(sound.samples), min(len(sound.samples), len(other.samples))
    single = sound.voices == 1 and sound.kind != "drums"
    none = np.zeros((0, 2), int)
    return Measured(
        kind=sound.kind,
        codes=codes,
        mel=float(np.abs(log_mel(made) - true_mel).mean()),
        mel_chance=float(np.abs(log_mel(other.samples[:length]) - log_mel(sound.samples[:length])).mean()),
        sdr=si_sdr(made, sound.samples),
        known=moments(sound.notes),
        before=detect_onsets(sound.samples),
        after=detect_onsets(made),
        pitches_before=note_pitches(sound.samples, sound.notes) if single else none,
        pitches_after=note_pitches(made, sound.notes) if single else none,
        inside=tokens_in_notes(codes, sound.notes) if single else none,
    )


def measure_codec(model: EncodecModel, sounds: list[Sound]) -> dict[str, Any]:
    """All figures: ``{"kinds": {kind: figures}, "codebooks": {"recital" or "music": [per codebook]}}``."""
    by_kind: dict[str, list[Measured]] = {}
    for kind in dict.fromkeys(sound.kind for sound in sounds):
        group = [sound for sound in sounds if sound.kind == kind]
        for index, sound in enumerate(tqdm(group, desc=f"measuring {kind}", unit="sound", disable=None)):
            by_kind.setdefault(kind, []).append(measure_sound(model, sound, group[index - 1]))
    books: dict[str, list[dict[str, float]]] = {}
    for part, wanted in (("music", True), ("recital", False)):
        codes = [one.codes for kind, group in by_kind.items() if (kind == "music") == wanted for one in group]
        if codes:
            books[part] = codebook_use(np.concatenate(codes, axis=1), model.config.codebook_size)
    single = [one for group in by_kind.values() for one in group if len(one.inside)]
    for level, book in enumerate(books.get("recital", [])):
        tokens = [np.stack([one.codes[level, one.inside[:, 0]], one.inside[:, 1]], axis=1) for one in single]
        book["pitch_told"], book["pitch_told_chance"] = pitch_told(tokens, model.config.codebook_size)
    return {"kinds": {kind: _summary(group) for kind, group in by_kind.items()}, "codebooks": books}


def _summary(group: list[Measured]) -> dict[str, float]:
    figures = {
        "sounds": float(len(group)),
        "log_mel_db": _mean([one.mel for one in group]),
        "log_mel_db_chance": _mean([one.mel_chance for one in group]),
        "si_sdr_db": _mean([one.sdr for one in group]),
        "onset_f_to_untouched": _mean([onset_f(one.before, one.after) for one in group]),
        "onset_f_to_untouched_chance": _mean(
            [onset_f(group[index - 1].before, one.after) for index, one in enumerate(group)]
        ),
    }
    if any(len(one.known) for one in group):
        figures["onset_f_untouched"] = _mean([onset_f(one.known, one.before) for one in group])
        figures["onset_f"] = _mean([onset_f(one.known, one.after) for one in group])
        figures["onset_f_chance"] = _mean([onset_f(group[i - 1].known, one.after) for i, one in enumerate(group)])
    before = np.concatenate([one.pitches_before for one in group])
    after = np.concatenate([one.pitches_after for one in group])
    if len(before):
        right_before, right_after = before[:, 0] == before[:, 1], after[:, 0] == after[:, 1]
        figures["notes"] = float(len(before))
        figures["pitch_right_untouched"] = float(right_before.mean())
        figures["pitch_right"] = float(right_after.mean())
        figures["pitch_survival"] = float(right_after[right_before].mean())
        # The same readings laid beside the notes of a random order.
        true, read = Counter(after[:, 0].tolist()), Counter(after[:, 1].tolist())
        figures["pitch_chance"] = sum(true[pitch] * read[pitch] for pitch in true) / len(after) ** 2
    return figures


def _mean(values: list[float]) -> float:
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")


def table(figures: dict[str, Any]) -> str:
    """The figures as two Markdown tables."""
    kinds = figures["kinds"]
    names = list(dict.fromkeys(name for group in kinds.values() for name in group))
    lines = ["| | " + " | ".join(kinds) + " |", "|---|" + "---|" * len(kinds)]
    for name in names:
        digits = 0 if name in ("sounds", "notes") else 1 if name.endswith(("_db", "_db_chance")) else 3
        cells = [f"{group[name]:.{digits}f}" if name in group else "" for group in kinds.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", "| codebook | sound | entries used | perplexity | pitch told by one code (chance) |",
              "|---|---|---|---|---|"]  # fmt: skip
    for part, books in figures["codebooks"].items():
        for level, book in enumerate(books):
            told = f"{book['pitch_told']:.3f} ({book['pitch_told_chance']:.3f})" if "pitch_told" in book else ""
            lines.append(f"| {level + 1} | {part} | {book['used']:.3f} | {book['perplexity']:.0f} | {told} |")
    return "\n".join(lines)
