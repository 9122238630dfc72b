"""How late the sound of a video is against its picture, estimated in the coordinated space.

The picture is compared with the sound at every distance in time up to a reach, in steps of 10 ms: the sound is given to
the codec four times, each time begun a quarter of a frame later. Every stretch of half a window votes.
"""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass, replace
from html import escape

import jax.numpy as jnp
import numpy as np

from mvgen import clock
from mvgen.errors import UserError, in_range
from mvgen.files import write_json
from mvgen.inference.embedding import Space, check_length
from mvgen.inference.inputs import MOST_SECONDS
from mvgen.inference.loaded import Loaded
from mvgen.media import read_sound
from mvgen.models.codec import Codec

PHASES = 4  # the sound is heard at so many sub-frame delays
STEP_SECONDS = 1 / (clock.FRAME_RATE * PHASES)
NEAR_SECONDS = 1 / clock.FRAME_RATE  # within a frame: what counts as found, and what the confidence is of
TEMPERATURE = 3.4  # by which the joint vote is divided; measured with --prove on 2.4 s of each video (docs/space.md)
REACH_SECONDS = 1.0
"""How large an offset is looked for unless told."""
LOOKED_AT_SECONDS = 60.0
"""How much of a video is looked at unless told."""
ENDINGS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")


@dataclass(frozen=True)
class Offset:
    """How late the sound is.

    Attributes:
        milliseconds: positive: the sound is late.
        confidence: how likely the truth is within one frame (40 ms) of that.
        votes: stretches that voted.
        agreeing: share of them whose own best is within one frame of it.
        similarity: mean dot product of picture and sound in the coordinated space, so moved.
        belongs: probability that picture and sound belong together at all; the confidence takes for granted that they
            do.
        video: the file that was asked of.
    """

    milliseconds: float
    confidence: float
    votes: int
    agreeing: float
    similarity: float
    belongs: float = math.nan
    video: str = ""

    def __str__(self) -> str:
        side = "late" if self.milliseconds >= 0 else "early"
        return (
            f"the sound is {abs(self.milliseconds):.0f} ms {side} ({self.milliseconds:+.0f} ms), confidence "
            f"{self.confidence:.2f}; {self.agreeing:.0%} of {self.votes} stretches agree; picture and sound belong "
            f"together with probability {self.belongs:.2f}"
        )

    def _repr_html_(self) -> str:
        return f"<p>{escape(self.video)}: {escape(str(self))}</p>"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes all of it as JSON. Raises ``UserError`` where it cannot be written."""
        write_json(path, asdict(self))


def shifts_of(reach: float) -> np.ndarray:
    """The lags that are tried, in seconds, ascending: every ``STEP_SECONDS`` from ``-reach`` to ``reach``."""
    count = math.floor(reach / STEP_SECONDS + 1e-9)
    return np.arange(-count, count + 1) * STEP_SECONDS


def heard_at_phases(space: Space, codec: Codec, sound: np.ndarray, frames: int) -> np.ndarray:
    """The sound in the coordinated space, begun 0, 1/4, 2/4 and 3/4 of a frame later, ``[phases, frames, latent]``.

    Args:
        space: of the model.
        codec: what the model's tokens belong to.
        sound: at the codec's rate, at least as long as the frames.
        frames: how many.
    """
    found = []
    for phase in range(PHASES):
        delay = round(phase * STEP_SECONDS * codec.sampling_rate)
        later = np.concatenate([np.zeros(delay, sound.dtype), sound])[: clock.samples_of(frames, codec.sampling_rate)]
        tokens = np.asarray(codec.encode(jnp.asarray(later)[None]))[0, : clock.tokens_of(frames)]
        found.append(space.of_tokens(tokens))
    return np.stack(found)


def similarities(video: np.ndarray, phases: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Dot product of every frame with the sound that is ``shifts`` seconds later, ``[frames, shifts]``; NaN where there
    is none.

    Args:
        video: ``[frames, latent]``.
        phases: of :func:`heard_at_phases`.
        shifts: multiples of ``STEP_SECONDS``.
    """
    frames = len(video)
    table = np.einsum("td,pud->ptu", video, phases)
    steps = np.rint(shifts / STEP_SECONDS).astype(int)
    # A sound begun p quarters later has at its frame u what the film hears at u - p/4.
    phase = -steps % PHASES
    partner = np.arange(frames)[:, None] + (steps + phase)[None, :] // PHASES
    inside = (partner >= 0) & (partner < frames)
    values = table[phase[None, :], np.arange(frames)[:, None], np.clip(partner, 0, frames - 1)]
    return np.where(inside, values, np.nan)


def vote(similarity: np.ndarray, stretch: int) -> np.ndarray:
    """Mean similarity of each stretch of the film at each shift, ``[stretches, shifts]``.

    Frames that meet no sound at some shift count there with the stretch's mean; a shift at which fewer than half of a
    stretch meets sound gets the stretch's mean over all shifts, which speaks neither for nor against it.
    """
    count = max(1, len(similarity) // stretch)
    votes = []
    for piece in np.array_split(similarity, count):
        met = np.isfinite(piece)
        sums, meets = np.where(met, piece, 0.0).sum(axis=0), met.sum(axis=0)
        usual = sums.sum() / max(1, meets.sum())
        votes.append(np.where(2 * meets >= len(piece), sums / np.maximum(meets, 1), usual))
    return np.stack(votes)


def estimate(votes: np.ndarray, shifts: np.ndarray, scale: float, temperature: float = TEMPERATURE) -> Offset:
    """The offset that the votes speak for.

    Each stretch votes with the softmax over shifts that InfoNCE over time shifts has taught
    (:func:`mvgen.training.losses.contrast_shifts`). Votes are multiplied, as if they were independent, and tempered,
    because they are not: neighbouring stretches are of the same music. The best shift is refined by a parabola.

    Args:
        votes: of :func:`vote`.
        shifts: in seconds.
        scale: the model's learned inverse temperature.
        temperature: by which the joint vote is divided.
    """
    together = votes.sum(axis=0) * scale / temperature
    best = int(np.argmax(together))
    probability = np.exp(together - together[best])
    probability /= probability.sum()
    near = np.abs(shifts - shifts[best]) <= NEAR_SECONDS + 1e-9
    late = float(shifts[best])
    if 0 < best < len(shifts) - 1:
        before, top, after = together[best - 1 : best + 2]
        if (curve := before - 2 * top + after) < 0:
            late += 0.5 * (before - after) / curve * STEP_SECONDS
    agreeing = np.abs(shifts[np.argmax(votes, axis=1)] - late) <= NEAR_SECONDS
    similarity = float(votes[:, best].mean())
    return Offset(1000 * late, float(probability[near].sum()), len(votes), float(agreeing.mean()), similarity)


class Synchroniser:
    """Estimates offsets with the model of a checkpoint.

    Args:
        loaded: the checkpoint.
        reach: the largest offset that is looked for either way, in seconds.
        seconds: so much of a video is looked at.

    Raises:
        UserError: so little cannot be looked at.
    """

    def __init__(self, loaded: Loaded, reach: float = REACH_SECONDS, seconds: float = LOOKED_AT_SECONDS):
        in_range("reach", reach, STEP_SECONDS, 10)
        if not 0 < seconds <= MOST_SECONDS:
            raise UserError(f"seconds {seconds}: it must be a number above 0 and at most {MOST_SECONDS:g}")
        self.loaded, self.codec, self.space = loaded, loaded.codec, loaded.space
        self.shifts, self.most = shifts_of(reach), clock.whole_frames(seconds)
        if self.most < self.space.window:
            least = self.space.window / clock.FRAME_RATE
            raise UserError(f"seconds {seconds:g}: the model sees windows of {least:g} s, so no less will do")
        # As in training: the learned scale has a largest value.
        self.scale = float(np.exp(min(float(loaded.model.encoder.log_scale[...]), np.log(100.0))))

    def see(self, path: str) -> np.ndarray:
        """The picture of a file in the coordinated space. Raises ``UserError`` where it cannot be read."""
        film = self.loaded.read_film(path)
        check_length(path, len(film["frames"]), self.space.window)
        return self.space.of_video({name: values[: self.most] for name, values in film.items()})

    def hear(self, path: str) -> np.ndarray:
        """The sound of a file at the codec's rate. Raises ``UserError`` where there is none."""
        sound = read_sound(path, self.codec.sampling_rate, limit=MOST_SECONDS)
        if not np.isfinite(sound).all():
            raise UserError(f"{path}: its sound holds samples that are not finite numbers")
        if not np.abs(sound).max(initial=0.0) > 0:
            raise UserError(f"{path}: its sound is silent, so nothing can be said of its time")
        return sound

    def votes(self, video: np.ndarray, sound: np.ndarray) -> np.ndarray:
        """What each stretch of a film says of each shift. Raises ``UserError`` where too little of both meets."""
        rate = self.codec.sampling_rate
        frames = min(len(video), clock.whole_frames(len(sound) / rate))
        if frames < self.space.window:
            raise UserError(
                f"picture and sound meet for {frames / clock.FRAME_RATE:g} s only; at least "
                f"{self.space.window / clock.FRAME_RATE:g} s are needed"
            )
        phases = heard_at_phases(self.space, self.codec, sound, frames)
        return vote(similarities(video[:frames], phases, self.shifts), max(1, self.space.window // 2))

    def __call__(self, path: str) -> Offset:
        """The offset of a video. Raises ``UserError`` where it has no picture, no sound or is too short."""
        return replace(self.offset(self.votes(self.see(path), self.hear(path))), video=path)

    def offset(self, votes: np.ndarray) -> Offset:
        """What votes speak for, and whether picture and sound belong together."""
        found = estimate(votes, self.shifts, self.scale)
        return replace(found, belongs=self.space.belongs(found.similarity))
