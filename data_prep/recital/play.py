"""Plays a score: real instrument samples of a General MIDI SoundFont, sample-accurate and deterministic.

The SoundFont is TimGM6mb, which pretty_midi carries; tinysoundfont renders it at any sampling rate. Notes are started
between blocks of samples, so that an onset falls on its sample; the sound begins within a few samples of it.

Two liberties are taken so that what is seen can be heard. Levels are balanced over instruments and drums (as they
come, a snare is seven times louder than a piano). Bowed notes are played one by one with the slow rise of the sample
left out and an accent put at the start, as with a bow set on the string (martele): the SoundFont's own legato has no
audible onset.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data_prep.recital.score import CRASH, HAT, KICK, SNARE, TOM, Note, Score
from mvgen.media.synthesizer import Event, Synthesizer, synthesizer

GAINS = {("keyboard", 0): 4.2, ("keyboard", 5): 3.0, ("keyboard", 6): 4.6,
         ("strings", 40): 1.25, ("strings", 41): 1.3, ("strings", 42): 1.1,
         ("drums", 0): 1.0, ("drums", 16): 1.0, ("drums", 32): 1.0,
         ("keyboard", 2): 4.1, ("keyboard", 4): 1.75, ("keyboard", 7): 3.5,
         ("strings", 110): 1.4, ("strings", 48): 3.5, ("strings", 43): 1.35,
         ("drums", 8): 0.57, ("drums", 24): 0.86, ("drums", 25): 0.65,
         ("guitar", 24): 1.64, ("guitar", 25): 2.68, ("guitar", 27): 3.23,
         ("guitar", 107): 1.42, ("guitar", 105): 1.27, ("guitar", 26): 1.27,
         ("marimba", 12): 2.28, ("marimba", 13): 2.47, ("marimba", 11): 1.13,
         ("marimba", 108): 1.15, ("marimba", 9): 1.89, ("marimba", 8): 4.04}  # fmt: skip
"""Factor by instrument and program that brings each to about the same loudness while it sounds (0.1 RMS)."""
DRUM_GAINS = {KICK: 1.5, SNARE: 0.8, HAT: 3.6, TOM: 0.9, CRASH: 1.6}
"""Further factor by piece, so that none drowns another's onset."""

CEILING = 0.97
"""A clip whose peak would pass this is turned down as a whole; nothing is ever clipped."""

PRE_ROLL = {40: 0.05, 41: 0.055, 42: 0.03, 110: 0.03, 48: 0.06, 43: 0.02}
"""Seconds of a bowed sample that are left out: its slow rise."""
BOW_ATTACK, BOW_ACCENT, BOW_DECAY, BOW_RELEASE = 0.004, 0.75, 0.09, 0.035
"""Seconds of rise, extra level of the accent, seconds in which it fades by 1/e, seconds of fall after the offset."""


def play(score: Score, sample_rate: int) -> np.ndarray:
    """The sound of a score.

    Args:
        score: what to play.
        sample_rate: samples a second.

    Returns:
        float32 ``[round(seconds * sample_rate)]``, mono, within +-:data:`CEILING`.
    """
    return play_stereo(score, sample_rate).mean(axis=1, dtype=np.float32)


def play_stereo(score: Score, sample_rate: int) -> np.ndarray:
    """As :func:`play`, float32 ``[n, 2]``, left and right; their mean is the mono sound."""
    samples = round(score.seconds * sample_rate)
    if score.instrument == "strings":
        sound = _bowed(score, sample_rate, samples)
    elif score.instrument == "drums":
        sound = np.zeros((samples, 2), np.float32)
        for piece, gain in DRUM_GAINS.items():
            hits = [note for note in score.notes if note.pitch == piece]
            sound += gain * _struck(hits, score, sample_rate, samples)
    else:
        sound = _struck(score.notes, score, sample_rate, samples)
    sound *= np.float32(_level_of(sound) if score.soundfont else GAINS[score.instrument, score.program])
    peak = float(np.abs(sound).max(initial=0.0))
    return sound * np.float32(min(1.0, CEILING / max(peak, 1e-9)))


def _level_of(sound: np.ndarray) -> float:
    """The factor that brings a sound to 0.1 RMS while it sounds, of samples whose levels are not known before."""
    power = np.convolve(sound.mean(axis=1) ** 2, np.full(1024, 1 / 1024), "same")
    sounding = power[power > 0.01 * power.max(initial=0.0)]
    return 0.1 / max(float(np.sqrt(sounding.mean())), 1e-4) if len(sounding) else 1.0


def _struck(notes: Sequence[Note], score: Score, sample_rate: int, samples: int) -> np.ndarray:
    if not notes:
        return np.zeros((samples, 2), np.float32)
    # Offsets before onsets at the same sample, so that a repeated note is struck again.
    events = [Event(round(n.onset * sample_rate), 1, "on", n.pitch, n.velocity) for n in notes]
    events += [Event(round(n.offset * sample_rate), 0, "off", n.pitch) for n in notes]
    synth = synthesizer(sample_rate, score.soundfont)
    return synth.play(events, score.program, score.instrument == "drums", samples)


def _bowed(score: Score, sample_rate: int, samples: int) -> np.ndarray:
    synth = synthesizer(sample_rate, score.soundfont)
    sound = np.zeros((samples, 2), np.float32)
    for note in score.notes:
        tone = _bowed_note(synth, note, score.program)
        start = round(note.onset * sample_rate)
        tone = tone[: max(0, samples - start)]
        sound[start : start + len(tone)] += tone
    return sound


def _bowed_note(synth: Synthesizer, note: Note, program: int) -> np.ndarray:
    rate = synth.sample_rate
    channel = synth.begin(program, False)
    synth.synth.noteon(channel, note.pitch, note.velocity)
    synth.generate(round(PRE_ROLL[program] * rate))
    tone = synth.generate(round((note.offset - note.onset + BOW_RELEASE) * rate))
    time = np.arange(len(tone), dtype=np.float32) / rate
    rise = np.minimum(1, time / BOW_ATTACK)
    fall = np.clip((note.offset - note.onset + BOW_RELEASE - time) / BOW_RELEASE, 0, 1)
    accent = 1 + BOW_ACCENT * np.exp(-time / BOW_DECAY)
    return tone * (rise * fall * accent)[:, None]
