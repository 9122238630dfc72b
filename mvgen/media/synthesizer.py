"""Notes to sound: the samples of a General MIDI SoundFont, through tinysoundfont, sample-accurate and deterministic."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from mvgen.errors import UserError

DRUM_CHANNEL = 9


class Event(NamedTuple):
    """Something that happens at a sample: ``rank`` orders what happens together, lower first.

    ``kind`` is "off" (pitch), "control" (number, value), "bend" (0 to 16383) or "on" (pitch, velocity). The library
    follows volume (7), pan (10) and expression (11); it knows no pedal.
    """

    sample: int
    rank: int
    kind: str
    first: int
    second: int = 0


def general_midi() -> str:
    """The SoundFont that pretty_midi carries, TimGM6mb. Raises ``UserError`` where it is not installed."""
    try:
        import pretty_midi
    except ModuleNotFoundError:
        raise UserError(
            "notes are played with pretty_midi's SoundFont; pip install 'mvgen[prep]', or name a --soundfont"
        ) from None
    return os.path.join(os.path.dirname(pretty_midi.__file__), "TimGM6mb.sf2")


class Synthesizer:
    """One synthesizer at one rate; silent and in the same state before every use.

    Args:
        sample_rate: samples a second.
        soundfont: a file (.sf2, .sf3); empty: :func:`general_midi`.

    Raises:
        UserError: tinysoundfont is not installed, or the file is not a SoundFont.
    """

    def __init__(self, sample_rate: int, soundfont: str = ""):
        try:
            import tinysoundfont
        except ModuleNotFoundError:
            raise UserError("notes are played by tinysoundfont; pip install --no-deps tinysoundfont") from None
        file = soundfont or general_midi()
        self.sample_rate = sample_rate
        self.synth = tinysoundfont.Synth(gain=0, samplerate=sample_rate)
        try:
            self.soundfont = self.synth.sfload(file)
        except Exception as error:  # noqa: BLE001 - whatever the library makes of a file that is not one
            raise UserError(f"--soundfont {file} cannot be read as a SoundFont (.sf2, .sf3): {error}") from None

    def begin(self, program: int, drums: bool) -> int:
        """Silences what still rings and selects a General MIDI program, or a drum kit; returns the channel."""
        channel = DRUM_CHANNEL if drums else 0
        for used in (0, DRUM_CHANNEL):
            self.synth.sounds_off(used)
        self.generate(self.sample_rate // 5)
        self.synth.program_select(channel, self.soundfont, 128 if drums else 0, program, drums)
        return channel

    def generate(self, samples: int) -> np.ndarray:
        """The next samples, float32 ``[samples, 2]``."""
        if samples <= 0:
            return np.zeros((0, 2), np.float32)
        return np.frombuffer(self.synth.generate_simple(samples), np.float32).reshape(-1, 2).copy()

    def play(self, events: Sequence[Event], program: int, drums: bool, samples: int) -> np.ndarray:
        """Plays one part from its beginning, float32 ``[samples, 2]``. What lies beyond ``samples`` is left out."""
        channel = self.begin(program, drums)
        blocks, now = [], 0
        for event in sorted(events):
            at = min(event.sample, samples)
            blocks.append(self.generate(at - now))
            now = at
            if event.kind == "on":
                self.synth.noteon(channel, event.first, event.second)
            elif event.kind == "off":
                self.synth.noteoff(channel, event.first)
            elif event.kind == "bend":
                self.synth.pitchbend(channel, event.first)
            else:
                self.synth.control_change(channel, event.first, event.second)
        blocks.append(self.generate(samples - now))
        return np.concatenate(blocks)


@lru_cache(maxsize=8)
def synthesizer(sample_rate: int, soundfont: str = "", controlled: bool = False) -> Synthesizer:
    """As :class:`Synthesizer`, kept: loading a large SoundFont takes seconds.

    One whose controllers are moved (``controlled``) is another than one whose never are, and cannot leave them moved.
    """
    return Synthesizer(sample_rate, soundfont)
