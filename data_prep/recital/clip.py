"""One clip: a performance as an ordinary MP4 with sound, its MIDI file, and its line of the manifest.

The MP4 is written with PyAV (H.264, yuv420p, AAC) at the clip's own frame rate, exact as a fraction, and its own
sampling rate. One thread encodes, and nothing that depends on the machine or the hour is written into the file, so
the same clip gives the same bytes.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pretty_midi

from data_prep.recital.changes import shown_instead
from data_prep.recital.film import LANDMARKS, camera_knots, frames_of, landmarks_of, places
from data_prep.recital.play import play_stereo
from data_prep.recital.score import Score
from mvgen.clock import frame_centres, whole_frames
from mvgen.files import whole_file
from mvgen.media.write import REPRODUCIBLE

FRAME_RATES = tuple(Fraction(rate) for rate in ("24000/1001", "24", "25", "30000/1001", "30", "50", "60000/1001", "60"))
SAMPLE_RATES = (22_050, 32_000, 44_100, 48_000)
SIZES = ((120, 160), (180, 240), (240, 320), (144, 256), (180, 320), (128, 128), (192, 192), (240, 240))
"""(height, width) of the picture: 4:3, 16:9, square."""

FINE, PHONES = 19, (20, 35)
"""x264's constant rate factor on a stand, and its range in footage: from good to poor phones."""

LICENCE = "CC0-1.0 (synthetic; sound from TimGM6mb.sf2, GPL-2.0, by Tim Brechbill)"


@dataclass(frozen=True)
class Medium:
    """How a performance is recorded.

    Attributes:
        frame_rate, sample_rate: a second.
        channels: 1 or 2.
        size: (height, width).
        crf: x264's constant rate factor, which says how much compression takes.
    """

    frame_rate: Fraction
    sample_rate: int
    channels: int
    size: tuple[int, int]
    crf: int = FINE


def medium_of(score: Score) -> Medium:
    """The medium that a performance is recorded on, drawn from its seed and index."""
    rng = score.rng("medium")
    return Medium(
        FRAME_RATES[rng.integers(len(FRAME_RATES))],
        SAMPLE_RATES[rng.integers(len(SAMPLE_RATES))],
        int(rng.integers(1, 3)),
        SIZES[rng.integers(len(SIZES))],
        int(rng.integers(*PHONES)) if score.footage else FINE,
    )


def recorded(score: Score, times: np.ndarray) -> np.ndarray:
    """What frames of these moments (seconds, ``[T]``) show: these, or in the change ``dropped`` some older ones."""
    return shown_instead(times, score.rng("dropped")) if score.change == "dropped" else times


def write_clip(score: Score, folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Records a performance: ``CLIP_ID.mp4`` and ``CLIP_ID.mid`` in ``folder``, complete or not at all.

    Returns:
        The manifest's line for it, see :func:`manifest_line`.

    Raises:
        OSError: the folder cannot be written.
    """
    medium = medium_of(score)
    folder = Path(folder)
    # The picture covers the sound to its end, with a part of a frame more where the rate does not divide it.
    frames = math.ceil(Fraction(score.seconds).limit_denominator(10**6) * medium.frame_rate)
    # A frame shows the middle of the time for which it stands.
    times = recorded(score, (np.arange(frames) + 0.5) / float(medium.frame_rate))
    sound = play_stereo(score, medium.sample_rate)
    if medium.channels == 1:
        sound = sound.mean(axis=1, keepdims=True, dtype=np.float32)
    path = folder / f"{score.clip_id}.mp4"
    with whole_file(path) as partial:
        write_mp4(partial, frames_of(score, times, medium.size), medium, sound)
    with whole_file(path.with_suffix(".mid")) as partial:
        score_as_midi(score).write(str(partial))
    return manifest_line(score, path.name) | {
        "frame_rate": round(float(medium.frame_rate), 6),
        "sample_rate": medium.sample_rate,
        "channels": medium.channels,
        "size": list(medium.size),
        "landmarks": landmark_paths(score),
    }


def landmark_paths(score: Score) -> dict[str, list[list[float] | None]]:
    """For each landmark that is ever in sight its (x, y), 25 times a second; None where it is not in sight.

    As records have them: x and y in 0..1 of the picture's centred square.
    """
    points = landmarks_of(score, recorded(score, frame_centres(whole_frames(score.seconds)).astype(np.float64)))
    return {
        name: [[round(float(x), 4), round(float(y), 4)] if sure else None for x, y, sure in points[:, place]]
        for place, name in enumerate(LANDMARKS)
        if points[:, place, 2].any()
    }


def write_mp4(path: str | os.PathLike[str], frames: Iterable[np.ndarray], medium: Medium, sound: np.ndarray) -> None:
    """Encodes frames (uint8 RGB, sizes even) and sound (float32 ``[n, channels]``) into one MP4."""
    height, width = medium.size
    with av.open(os.fspath(path), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        options = {"preset": "veryfast", "crf": str(medium.crf), "x264-params": REPRODUCIBLE}
        picture = container.add_stream("libx264", rate=medium.frame_rate, options=options)
        picture.width, picture.height, picture.pix_fmt = width, height, "yuv420p"
        picture.codec_context.time_base = 1 / medium.frame_rate
        picture.codec_context.thread_count = 1
        picture.codec_context.flags |= av.codec.context.Flags.bitexact
        voice = container.add_stream("aac", rate=medium.sample_rate, layout="mono" if sound.shape[1] == 1 else "stereo")
        voice.bit_rate = 96_000 * sound.shape[1]
        voice.codec_context.thread_count = 1
        voice.codec_context.flags |= av.codec.context.Flags.bitexact
        done = 0

        def sing(until: int) -> None:
            """Encodes the sound up to this sample, so that sound and picture lie side by side in the file."""
            nonlocal done
            for start in range(done, until, 1024):
                block = np.ascontiguousarray(sound[start : min(start + 1024, len(sound))].T)
                samples = av.AudioFrame.from_ndarray(block, format="fltp", layout=voice.layout.name)
                samples.sample_rate, samples.pts = medium.sample_rate, start
                samples.time_base = Fraction(1, medium.sample_rate)
                container.mux(voice.encode(samples))
                done = start + block.shape[1]

        for number, pixels in enumerate(frames):
            planes = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2YUV_I420), np.uint8)
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = number, 1 / medium.frame_rate
            container.mux(picture.encode(frame))
            # Whole encoder blocks only, except at the end.
            sing(min(len(sound), int((number + 1) / medium.frame_rate * medium.sample_rate)) // 1024 * 1024)
        sing(len(sound))
        container.mux(picture.encode(None))
        container.mux(voice.encode(None))


def score_as_midi(score: Score) -> pretty_midi.PrettyMIDI:
    """The score as MIDI: one track for each voice, with tempo, metre and key."""
    midi = pretty_midi.PrettyMIDI(resolution=960, initial_tempo=score.tempo)
    midi.time_signature_changes.append(pretty_midi.TimeSignature(score.beats_per_bar, 4, 0.0))
    if score.key[1] != "none":
        midi.key_signature_changes.append(
            pretty_midi.KeySignature(score.key[0] + (12 if score.key[1] == "minor" else 0), 0.0)
        )
    for voice in sorted({note.voice for note in score.notes}):
        track = pretty_midi.Instrument(score.program, is_drum=score.instrument == "drums", name=f"voice {voice + 1}")
        track.notes = [
            pretty_midi.Note(note.velocity, note.pitch, note.onset, note.offset)
            for note in score.notes
            if note.voice == voice
        ]
        midi.instruments.append(track)
    return midi


def manifest_line(score: Score, path: str | None) -> dict[str, Any]:
    """What the manifest says of a performance, as a dict for JSON.

    ``notes`` are (onset s, offset s, MIDI pitch, velocity). ``film`` says where in the picture each pitch is played:
    a place (pitch, x0, y0, x1, y1) in scene coordinates is seen, through the camera's row (t, a, b, tx, c, d, ty, g, h)
    interpolated linearly, at ((a x + b y + tx) / w, (c x + d y + ty) / w), w = g x + h y + 1, in 0..1 of the picture's
    centred square.
    """
    line: dict[str, Any] = {
        "clip_id": score.clip_id,
        "source_id": score.source_id,
        "labels": [score.instrument],
        "licence": LICENCE,
        "seconds": score.seconds,
        "notes": [[note.onset, note.offset, note.pitch, note.velocity] for note in score.notes],
        "voices": score.voices,
        "instrument": score.instrument,
        "program": score.program,
        "tempo": score.tempo,
        "beats_per_bar": score.beats_per_bar,
        "key": list(score.key),
        "seed": score.seed,
        "film": {
            "places": [[pitch, *(round(edge, 5) for edge in box)] for pitch, *box in places(score)],
            "camera": [[round(float(value), 6) for value in knot] for knot in camera_knots(score)],
        },
    }
    if score.change:
        line["change"] = score.change
    if score.lamps:
        line["lamps"] = True
    if score.footage:
        line["footage"] = True
        line["gestures"] = [[round(begins, 4), round(ends, 4)] for begins, ends in score.gestures]
    if score.piece:
        line["piece"] = score.piece
    if score.partner:
        line["partner"] = score.partner
    if path is not None:
        line["path"] = path
    return line
