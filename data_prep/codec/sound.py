"""The sound that the codec is trained and measured on: Recital, played by program, and real recordings.

Everything is at the codec's own rate and mono. Training crops are a pure function of (seed, step), so that a run that
was stopped goes on with exactly the crops it would have had.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import numpy as np
import soundfile
import soxr
from tqdm import tqdm

from data_prep.codec.network import LEVEL
from mvgen.clock import CODEC_SAMPLE_RATE
from mvgen.errors import UserError

SUFFIXES = (".ogg", ".mp3", ".wav", ".flac")
"""Kinds of sound file that a music folder is searched for."""

WITHHELD_FILES = ("vibe_ace.ogg",)
"""Recordings that training never hears; measured on only."""
LEFT_OUT_FILES = ("bach.mp3", "bolero_ravel.mp3")
"""Recordings whose own licence is unclear; never used."""
TRAINING_SHARE = 0.75
"""Of every other recording, the first part that is trained on; the rest is measured on."""


@dataclass(frozen=True)
class Sound:
    """One stretch of sound.

    Attributes:
        name: a clip's id or a file's name.
        kind: "keyboard", "strings", "drums", or "music" for a recording.
        samples: float32 ``[n]`` at 32 kHz.
        notes: ``[k, 3]`` onset s, offset s, MIDI pitch; ``[0, 3]`` where unknown.
        voices: how many notes can begin together; 0 where unknown.
    """

    name: str
    kind: str
    samples: np.ndarray
    notes: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), np.float32))
    voices: int = 0


def recital_sound(
    seed: int, clips: int, instruments: tuple[str, ...], seconds: float = 6.0, voices: int | None = None
) -> list[Sound]:
    """Plays Recital clips ``0 .. clips`` of each instrument; ``voices`` asks for so many voices where it is given."""
    # Imported here: the SoundFont synthesizer is needed by nothing else in this module.
    from data_prep.recital.compose import compose
    from data_prep.recital.play import play

    sounds = []
    for index in tqdm(range(clips), desc="playing Recital", unit="clip", disable=None):
        for instrument in instruments:
            score = compose(seed, index, instrument, seconds, voices)
            notes = np.array([(n.onset, n.offset, n.pitch) for n in score.notes], np.float32).reshape(-1, 3)
            sounds.append(Sound(score.clip_id, instrument, play(score, CODEC_SAMPLE_RATE), notes, score.voices))
    return sounds


def music_sound(folder: str, part: str) -> list[Sound]:
    """Reads the recordings of a folder.

    Args:
        folder: holds sound files (:data:`SUFFIXES`), not searched deeper.
        part: "train": the first :data:`TRAINING_SHARE` of every file but :data:`WITHHELD_FILES`; "held-out": all of
            those, and the rest of the others.

    Raises:
        UserError: no such folder, or no sound in it.
    """
    if not os.path.isdir(folder):
        raise UserError(f"no such folder of music: {folder}")
    names = sorted(n for n in os.listdir(folder) if n.lower().endswith(SUFFIXES) and n not in LEFT_OUT_FILES)
    if not names:
        raise UserError(f"no sound file ({', '.join(SUFFIXES)}) in {folder}")
    sounds = []
    for name in names:
        samples = read_sound_file(os.path.join(folder, name))
        cut = 0 if name in WITHHELD_FILES else round(len(samples) * TRAINING_SHARE)
        samples = samples[:cut] if part == "train" else samples[cut:]
        if len(samples) > CODEC_SAMPLE_RATE:
            sounds.append(Sound(os.path.splitext(name)[0], "music", samples))
    return sounds


def read_sound_file(path: str) -> np.ndarray:
    """A sound file as float32 ``[n]`` at 32 kHz, channels averaged; :class:`UserError` if it is not one."""
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise UserError(f"not a sound file: {path} ({error})") from error
    return soxr.resample(samples.mean(axis=1), rate, CODEC_SAMPLE_RATE, quality="HQ").astype(np.float32)


def level_of(samples: np.ndarray) -> float:
    """RMS over the louder half of 50 ms blocks: how loud a source is while it sounds."""
    block = CODEC_SAMPLE_RATE // 20
    power = np.square(samples[: len(samples) // block * block].reshape(-1, block)).mean(axis=1)
    return float(np.sqrt(np.sort(power)[len(power) // 2 :].mean())) if len(power) else 0.0


class TrainingCrops:
    """Batches of short crops, each a pure function of (seed, step).

    Args:
        sounds: what to draw from; each kind's sounds should be about as long as each other.
        shares: how much of a batch each kind gets; kinds that are absent are left out.
        seconds: length of a crop, a whole number of tokens.
        at_onset: probability that a crop of a source with known notes is laid around one of its onsets, so that
            attacks are heard more often than they happen.
        gain_db: range of the random gain, in decibels relative to
            :data:`~data_prep.codec.network.LEVEL`, to which every source is brought first.
    """

    def __init__(
        self,
        sounds: list[Sound],
        shares: dict[str, float],
        seed: int,
        seconds: float = 0.5,
        at_onset: float = 0.5,
        gain_db: tuple[float, float] = (-9.0, 4.0),
    ):
        self.samples = round(seconds * CODEC_SAMPLE_RATE)
        self.seed, self.at_onset, self.gain_db = seed, at_onset, gain_db
        self.by_kind: dict[str, list[Sound]] = {}
        for sound in sounds:
            if len(sound.samples) >= self.samples and level_of(sound.samples) > 1e-4:
                self.by_kind.setdefault(sound.kind, []).append(sound)
        self.kinds = sorted(kind for kind in self.by_kind if shares.get(kind, 0) > 0)
        if not self.kinds:
            raise UserError("there is no sound to train on")
        self.shares = np.array([shares[kind] for kind in self.kinds])
        self.shares = self.shares / self.shares.sum()
        # A long recording is drawn as often as its length deserves.
        self.weights = {}
        for kind in self.kinds:
            lengths = np.array([len(sound.samples) for sound in self.by_kind[kind]], np.float64)
            self.weights[kind] = lengths / lengths.sum()
        self.levels = {id(s): level_of(s.samples) for kind in self.kinds for s in self.by_kind[kind]}

    def batch(self, step: int, size: int) -> np.ndarray:
        """The batch of a step: float32 ``[size, 1, samples]``."""
        rng = np.random.default_rng([self.seed, step])
        return np.stack([self._crop(rng) for _ in range(size)])[:, None, :]

    def _crop(self, rng: np.random.Generator) -> np.ndarray:
        kind = self.kinds[rng.choice(len(self.kinds), p=self.shares)]
        sound = self.by_kind[kind][rng.choice(len(self.by_kind[kind]), p=self.weights[kind])]
        last = len(sound.samples) - self.samples
        start = int(rng.integers(last + 1))
        if len(sound.notes) and rng.random() < self.at_onset:
            onset = sound.notes[rng.integers(len(sound.notes)), 0] * CODEC_SAMPLE_RATE
            start = int(np.clip(onset - rng.uniform(0.05, 0.9) * self.samples, 0, last))
        crop = sound.samples[start : start + self.samples]
        gain = LEVEL / self.levels[id(sound)] * 10 ** (rng.uniform(*self.gain_db) / 20)
        gain = min(gain, 1.0 / max(float(np.abs(crop).max()), 1e-6))
        return crop * np.float32(gain)
