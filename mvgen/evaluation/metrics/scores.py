"""All scores of a set of clips: of the sound, of the picture, and of how the two fit. Each beside its chance level."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from mvgen.clock import FRAME_RATE
from mvgen.evaluation.metrics import beats
from mvgen.evaluation.metrics.av_align import av_align, video_peaks
from mvgen.evaluation.metrics.clips import Clip, Heard, Seen
from mvgen.evaluation.metrics.foley import foley_scores
from mvgen.evaluation.metrics.movement import gain_over_still
from mvgen.evaluation.metrics.notes import note_agreement, pitch_right, transcribe
from mvgen.evaluation.metrics.onsets import moments, onset_agreement
from mvgen.evaluation.metrics.picture import flicker, psnr, ssim
from mvgen.evaluation.metrics.pitch import PitchReader
from mvgen.evaluation.metrics.places import Watched, fit_in_folds, places_right
from mvgen.evaluation.metrics.table import ScoreTable
from mvgen.evaluation.metrics.transcriber import Transcribers
from mvgen.evaluation.metrics.warp import warp_error
from mvgen.media.lag import lag, strength_at_frames

STILL_FLOW = 0.01
"""Pixels a frame below which a picture rests."""
FRAME_MS = 1000.0 / FRAME_RATE
UNKNOWN_PITCHES = np.arange(36, 97)
"""Candidate pitches where no notes are known: C2 to C7."""


def score_sound(
    clips: Sequence[Clip], reference: Sequence[Heard], generated: Sequence[Heard], seed: int = 0
) -> ScoreTable:
    """Onset F, note F, pitch right and beat scores of generated sounds.

    Against the known notes where a clip has them, and against the reference sounds. Each pair is compared over the
    shorter of the two lengths. Notes are read by a transcriber fitted on the originals of other clips of the
    instrument, or, where too few notes are known for that, by harmonic salience.

    Args:
        clips: what is known, ``[n]``.
        reference, generated: sounds of those clips, ``[n]`` each.
        seed: of the shuffled pairs that give the chance levels.
    """
    readers = pitch_readers(clips)
    transcribers = Transcribers(clips, reference)
    transcriptions: dict[int, np.ndarray | None] = {}

    def transcribed(number: int, heard: Heard) -> np.ndarray | None:
        """Notes heard in a sound of clip ``number``: true pairs come first, so it is that clip's own sound."""
        if id(heard) not in transcriptions:
            notes, clip = transcribers.read(number, heard), clips[number]
            if notes is None and clip.instrument in readers:
                notes = transcribe(heard.sound, heard.onsets, readers[clip.instrument], max(clip.voices, 1))
            transcriptions[id(heard)] = notes
        return transcriptions[id(heard)]

    def score(known: int, heard: Heard) -> dict[str, float]:
        clip, true = clips[known], reference[known]
        seconds = min(true.seconds, heard.seconds)
        onsets = heard.onsets[heard.onsets < seconds]
        values = {"onset_f_sound": onset_agreement(true.onsets[true.onsets < seconds], onsets)["f"]}
        whole = int(np.ceil(seconds))
        values["beat_coverage"], values["beat_hit"] = beats.loris_scores(
            beats.beat_bits(true.strength, whole, beats.LORIS_PICKER),
            beats.beat_bits(heard.strength, whole, beats.LORIS_PICKER),
        ).values()
        values["d2m_coverage"], values["d2m_hit"] = beats.d2m_scores(
            beats.beat_bits(true.strength, whole, beats.D2M_PICKER),
            beats.beat_bits(heard.strength, whole, beats.D2M_PICKER),
        ).values()
        values["foley_accuracy"], values["foley_ap"] = foley_scores(true.foley[0], *heard.foley).values()
        if clip.notes is not None:
            notes = clip.notes[clip.notes[:, 0] < seconds]
            values["onset_f"] = onset_agreement(moments(notes[:, 0]), onsets)["f"]
            estimated = transcribed(known, heard)
            if estimated is not None:
                estimated = estimated[estimated[:, 0] < seconds]
                values["note_f"] = note_agreement(notes, estimated)["f"]
                values["note_f_offsets"] = note_agreement(notes, estimated, offsets=True)["f"]
            if clip.pitched and clip.voices == 1:
                values["pitch_right"] = pitch_right(notes, heard.sound, onsets, readers[clip.instrument])
        elif (right := transcribed(known, true)) is not None and (estimated := transcribed(known, heard)) is not None:
            values["note_f_sound"] = note_agreement(right, estimated)["f"]
        return values

    table = _table(clips)
    table.add(lambda i, j: score(i, generated[j]), seed, lambda i: score(i, reference[i]))
    return table


def score_notes(
    clips: Sequence[Clip], written: Sequence[np.ndarray | None], lengths: Sequence[float], seed: int = 0
) -> ScoreTable:
    """Note F of MIDI files against known notes, with and without offsets.

    Args:
        clips: what is known, ``[n]``.
        written: of each clip what its file holds (:func:`mvgen.media.midi.midi_notes`), or ``None`` where it has none.
        lengths: seconds of each clip that were read; notes that start later are not asked for.
        seed: of the shuffled pairs that give the chance levels.
    """

    def score(known: int, notes: np.ndarray | None) -> dict[str, float]:
        clip = clips[known]
        if notes is None or clip.notes is None:
            return {}
        asked = clip.notes[clip.notes[:, 0] < lengths[known]]
        # A drum where a pitch is asked for, or the other way round, is wrong whatever its number.
        wrong = (notes[:, 3] > 0) == clip.pitched
        given = notes[:, :3] + wrong[:, None] * (0, 0, 128)
        return {
            "note_f_midi": note_agreement(asked, given)["f"],
            "note_f_midi_offsets": note_agreement(asked, given, offsets=True)["f"],
        }

    table = _table(clips)
    table.add(lambda i, j: score(i, written[j]), seed)
    return table


def score_picture(
    clips: Sequence[Clip], reference: Sequence[Seen], generated: Sequence[Seen], seed: int = 0
) -> ScoreTable:
    """Gain over a still, contact, PSNR, SSIM, steadiness, warp error and how much moves, of generated pictures.

    A reference of another size is brought to the generated one's; each pair is compared over the shorter length. For a
    shuffled pair the notes of one clip are looked for in the picture, and with the camera, of another.
    """

    originals, weights = readers_of_places(clips, reference)
    products = [_watched(clip, seen) for clip, seen in zip(clips, generated, strict=True)]

    def score(known: int, shown: int, seen: Seen, watched: Watched | None) -> dict[str, float]:
        true = reference[known].frames
        length = min(len(true), len(seen.frames))
        # The chance level of a mean over frames needs no more than some of them.
        step = 1 if known == shown else 5
        true, frames = _resized(true[:length:step], seen.frames.shape[1:3]), seen.frames[:length:step]
        values = {
            "gain_over_still": gain_over_still(true, frames),
            "psnr": psnr(true, frames),
            "ssim": ssim(true, frames),
        }
        notes = clips[known].notes
        if notes is not None and watched is not None and shown in weights:
            values["places_right"] = places_right(watched, weights[shown], notes)
        return values

    def plain(number: int, seen: Seen) -> dict[str, float]:
        moves, moved = float(seen.motion[1:].mean()), float(reference[number].motion[1:].mean())
        return {
            # Of the original itself it is 1; what rests has none.
            "speed_ratio": moves / moved if moved > STILL_FLOW else float("nan"),
            "flicker": flicker(seen.frames),
            "warp_error": warp_error(seen.frames),
            "flow_magnitude": moves,
        }

    table = _table(clips)
    table.add(
        lambda i, j: score(i, j, generated[j], products[j]),
        seed,
        lambda i: score(i, i, reference[i], originals[i]),
    )
    table.add_plain(lambda i: plain(i, generated[i]), lambda i: plain(i, reference[i]))
    return table


def score_sync(
    clips: Sequence[Clip],
    pictures: Sequence[Seen],
    sounds: Sequence[Heard],
    seed: int = 0,
    originals: tuple[Sequence[Seen], Sequence[Heard]] | None = None,
) -> ScoreTable:
    """How picture and sound of the same clip fit: AV-Align, beat alignment, lag. A shuffled pair takes another's sound.

    Args:
        clips: what is known, ``[n]``.
        pictures, sounds: what belongs together, ``[n]`` each.
        originals: the original pictures and sounds, whose own fit is put beside.
    """

    def score(seen: Seen, heard: Heard) -> dict[str, float]:
        strength = strength_at_frames(heard.strength, len(seen.motion))
        best = lag(seen.motion, strength)
        onsets = heard.onsets[heard.onsets < seen.seconds]
        native, rate = seen.native
        return {
            "av_align": av_align(onsets, video_peaks(native, rate), rate),
            "beat_alignment": beats.beat_alignment(onsets, seen.motion, FRAME_RATE),
            "lag_within_frame": _within_frame(best["ms"]),
            "change_lag_within_frame": _within_frame(lag(seen.change, strength)["ms"]),
            "lag_value": best["value"],
        }

    table = _table(clips)
    table.add(
        lambda i, j: score(pictures[i], sounds[j]),
        seed,
        (lambda i: score(originals[0][i], originals[1][i])) if originals else None,
    )
    return table


def _within_frame(milliseconds: float) -> float:
    return float(abs(milliseconds) <= FRAME_MS) if np.isfinite(milliseconds) else float("nan")


def _table(clips: Sequence[Clip]) -> ScoreTable:
    return ScoreTable([clip.name for clip in clips], [clip.instrument for clip in clips])


def pitch_readers(clips: Sequence[Clip]) -> dict[str, PitchReader]:
    """One reader an instrument: over the span of its known notes, or a wide one where no clip of it has any."""
    readers = {}
    for instrument in {clip.instrument for clip in clips}:
        known = [clip for clip in clips if clip.instrument == instrument and clip.notes is not None]
        pitched = [clip.notes[:, 2] for clip in known if clip.pitched and clip.notes is not None]
        if pitched:
            pitches = np.concatenate(pitched)
            readers[instrument] = PitchReader(np.arange(round(pitches.min()), round(pitches.max()) + 1))
        elif not known:
            readers[instrument] = PitchReader(UNKNOWN_PITCHES)
    return readers


def _watched(clip: Clip, seen: Seen) -> Watched | None:
    if clip.notes is None or clip.geometry is None:
        return None
    return Watched(clip.notes, clip.geometry, seen.deviation(clip.geometry))


def readers_of_places(
    clips: Sequence[Clip], reference: Sequence[Seen]
) -> tuple[list[Watched | None], dict[int, np.ndarray]]:
    """The originals as watched, and for each clip weights fitted on the originals of others of its instrument."""
    originals = [_watched(clip, seen) for clip, seen in zip(clips, reference, strict=True)]
    weights: dict[int, np.ndarray] = {}
    for instrument in dict.fromkeys(clip.instrument for clip in clips):
        members = {
            i: watched
            for i, watched in enumerate(originals)
            if watched is not None and clips[i].instrument == instrument
        }
        weights |= dict(zip(members, fit_in_folds(list(members.values())), strict=True))
    return originals, weights


def _resized(frames: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if frames.shape[1:3] == size:
        return frames
    height, width = size
    return np.stack([cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in frames])
