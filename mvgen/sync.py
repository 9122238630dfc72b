"""Estimates how many milliseconds late the sound of a video is against its picture, and how sure that is.

    python -m mvgen.sync --checkpoint DIR --video FILE [--reach 1.0] [--json FILE]
    python -m mvgen.sync --checkpoint DIR --prove CLIPS [--shifts N] [--seed S]

A positive figure says that the sound comes LATE: it is to be moved that much earlier to fit. A negative one says that
it comes early. `--prove` moves the sound of every video in a folder by known random amounts, whole frames or not, and
says how well they are found, beside chance; and how sure it is of another video's sound, which fits nowhere.

The picture is compared with the sound at every distance in time up to `--reach`, in steps of 10 ms: the sound is
given to the codec four times, each time begun a quarter of a frame later. Every stretch of half a window votes.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from mvgen import clock
from mvgen.checkpoint import load_model, write_json
from mvgen.errors import UserError, run_command
from mvgen.film import FilmReader, add_semantic
from mvgen.generate import load_codec, window_frames
from mvgen.media import read_sound
from mvgen.metrics.chance import derangement
from mvgen.models.codec import Codec
from mvgen.space import Space, check_length

PHASES = 4  # the sound is heard at so many sub-frame delays
STEP_SECONDS = 1 / (clock.FRAME_RATE * PHASES)
NEAR_SECONDS = 1 / clock.FRAME_RATE  # within a frame: what counts as found, and what the confidence is of
TEMPERATURE = 3.4  # by which the joint vote is divided; measured with --prove on 2.4 s of each video (docs/space.md)
ENDINGS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")


@dataclass(frozen=True)
class Offset:
    """How late the sound is.

    Attributes:
        milliseconds: positive: the sound is late.
        confidence: how likely the truth is within one frame (40 ms) of that.
        votes: stretches that voted.
        agreeing: share of them whose own best is within one frame of it.
    """

    milliseconds: float
    confidence: float
    votes: int
    agreeing: float


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

    Each stretch votes with the softmax over shifts that the contrast over time shifts has taught
    (:func:`mvgen.losses.contrast_shifts`); votes are multiplied, as if each were made alone, and tempered, because they
    are not: neighbouring stretches are of the same music. The best shift is refined by a parabola.

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
    return Offset(1000 * late, float(probability[near].sum()), len(votes), float(agreeing.mean()))


class Synchroniser:
    """Estimates offsets with the model of a checkpoint.

    Args:
        checkpoint: a training folder or one of its steps.
        reach: the largest offset that is looked for either way, in seconds.
        seconds: so much of a video is looked at.
        encoder: see :class:`mvgen.film.FilmReader`.

    Raises:
        UserError: it is none, or so little cannot be looked at.
    """

    def __init__(self, checkpoint: str, reach: float, seconds: float = 60.0, encoder: str = ""):
        self.model, config, self.spec = load_model(checkpoint)
        self.codec = load_codec(self.spec)
        self.films = FilmReader(checkpoint, self.model.config, encoder)
        self.space = Space(self.model, window_frames(config))
        self.shifts, self.most = shifts_of(reach), clock.whole_frames(seconds)
        if self.most < self.space.window:
            least = self.space.window / clock.FRAME_RATE
            raise UserError(f"--seconds {seconds:g}: the model sees windows of {least:g} s, so no less will do")
        # As in training: the learned scale has a largest value.
        self.scale = float(np.exp(min(float(self.model.encoder.log_scale[...]), np.log(100.0))))

    def see(self, path: str) -> np.ndarray:
        """The picture of a file in the coordinated space. Raises ``UserError`` where it cannot be read."""
        film = self.films.read(path)
        check_length(path, len(film["frames"]), self.space.window)
        return self.space.of_video({name: values[: self.most] for name, values in film.items()})

    def hear(self, path: str) -> np.ndarray:
        """The sound of a file at the codec's rate. Raises ``UserError`` where there is none."""
        sound = read_sound(path, self.codec.sampling_rate)
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
        return estimate(self.votes(self.see(path), self.hear(path)), self.shifts, self.scale)


def moved(sound: np.ndarray, late: int) -> np.ndarray:
    """The sound, ``late`` samples later (earlier where negative), as long as before; silence where there is none."""
    if late >= 0:
        return np.concatenate([np.zeros(late, sound.dtype), sound])[: len(sound)]
    return np.concatenate([sound[-late:], np.zeros(-late, sound.dtype)])


def prove(synchroniser: Synchroniser, folder: Path, count: int, seed: int, progress: bool = True) -> dict[str, Any]:
    """Moves the sound of every video of a folder by known amounts and looks whether they are found.

    Amounts are drawn evenly from -0.8 to 0.8 of the reach, to the sample, so that hardly one is a whole frame.

    Returns:
        ``clips``, ``cases``; ``within_frame`` and ``within_half_frame``, the shares found to 40 and 20 ms, with
        ``chance_`` of both (the same estimates against the amounts of other cases); ``median_error_ms``, ``bias_ms``
        (median of estimate less truth); ``mean_confidence``; ``foreign_confidence``: the same where the sound is that
        of another video; ``by_confidence``: share found among the surest half and the other; ``temperature``: what
        :func:`calibrated` makes of all cases; ``each``.

    Raises:
        UserError: there are no videos.
    """
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS) if folder.is_dir() else []
    if not files:
        raise UserError(f"--prove {folder}: no videos ({', '.join(ENDINGS)}) in there")
    rng = np.random.default_rng(seed)
    rate, shifts = synchroniser.codec.sampling_rate, synchroniser.shifts
    cases: list[dict[str, Any]] = []
    kept: list[np.ndarray] = []
    foreign: list[np.ndarray] = []
    before = None
    with tqdm(total=len(files) * count, desc="prove", unit="shift", dynamic_ncols=True, disable=not progress) as bar:
        for path in files:
            video, sound = synchroniser.see(str(path)), synchroniser.hear(str(path))
            if before is not None and len(before) >= len(sound):
                foreign.append(synchroniser.votes(video, before[: len(sound)]))
            before = sound
            for _ in range(count):
                late = round(rng.uniform(-0.8, 0.8) * shifts[-1] * rate)
                votes = synchroniser.votes(video, moved(sound, late))
                found = estimate(votes, shifts, synchroniser.scale)
                cases.append({"file": path.name, "true_ms": 1000 * late / rate, **asdict(found)})
                kept.append(votes)
                bar.update()
    elsewhere = [estimate(votes, shifts, synchroniser.scale).confidence for votes in foreign]
    true = np.array([case["true_ms"] for case in cases])
    told = np.array([case["milliseconds"] for case in cases])
    sure = np.array([case["confidence"] for case in cases])
    error = np.abs(told - true)
    partners = np.stack([derangement(["all"] * len(cases), seed) for seed in range(3)])
    chance = np.abs(told[None] - true[partners]) if (partners >= 0).all() else np.full((1, 1), np.nan)
    near = error <= 1000 * NEAR_SECONDS
    order = np.argsort(-sure, kind="stable")
    half = max(1, len(cases) // 2)
    return {
        "clips": len(files),
        "cases": len(cases),
        "within_frame": float(near.mean()),
        "chance_within_frame": float(np.mean(chance <= 1000 * NEAR_SECONDS)),
        "within_half_frame": float(np.mean(error <= 500 * NEAR_SECONDS)),
        "chance_within_half_frame": float(np.mean(chance <= 500 * NEAR_SECONDS)),
        "median_error_ms": float(np.median(error)),
        "bias_ms": float(np.median(told - true)),
        "mean_confidence": float(sure.mean()),
        "foreign_confidence": float(np.mean(elsewhere)) if elsewhere else None,
        "by_confidence": [
            float(near[order[:half]].mean()),
            float(near[order[half:]].mean() if len(order) > 1 else 0.0),
        ],
        "temperature": calibrated(
            [*kept, *foreign], np.append(near, np.zeros(len(foreign), bool)), shifts, synchroniser.scale
        ),
        "each": cases,
    }


def calibrated(votes: list[np.ndarray], found: np.ndarray, shifts: np.ndarray, scale: float) -> float:
    """The temperature that makes it likeliest that what was found was found and the rest was not (Guo et al. 2017).

    Args:
        votes: of each case.
        found: whether its estimate was right, bool ``[cases]``; no temperature changes that.
        shifts, scale: as for :func:`estimate`.
    """
    least, best = math.inf, 1.0
    for temperature in np.geomspace(0.25, 64, 65):
        sure = np.array([estimate(vote, shifts, scale, float(temperature)).confidence for vote in votes])
        sure = np.clip(sure, 1e-6, 1 - 1e-6)
        loss = -np.mean(np.where(found, np.log(sure), np.log1p(-sure)))
        if loss < least:
            least, best = loss, float(temperature)
    return best


def parser() -> argparse.ArgumentParser:
    """The options."""
    words = argparse.ArgumentParser(
        prog="python -m mvgen.sync", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("--checkpoint", required=True, metavar="DIR", help="a training folder or one of its steps")
    given = words.add_mutually_exclusive_group(required=True)
    given.add_argument("--video", metavar="FILE", help="a video with sound")
    given.add_argument("--prove", metavar="CLIPS", help="a folder of videos whose sound is known to fit")
    words.add_argument("--reach", type=float, default=1.0, metavar="S", help="look so far either way (%(default)s s)")
    words.add_argument("--seconds", type=float, default=60.0, metavar="S", help="look at so much (%(default)s s)")
    add_semantic(words)
    words.add_argument("--shifts", type=int, default=2, metavar="N", help="with --prove: for each video (%(default)s)")
    words.add_argument("--seed", type=int, default=0, help="with --prove: of the amounts (%(default)s)")
    words.add_argument("--json", metavar="FILE", help="also write the answer there")
    return words


def main(argv: list[str] | None = None) -> int:
    """Reads the arguments and listens."""
    arguments = parser().parse_args(argv)
    if not STEP_SECONDS <= arguments.reach <= 10 or arguments.shifts < 1 or arguments.seed < 0:
        raise UserError("--reach lies between 0.01 and 10 s, --shifts is at least 1, --seed not negative")
    if not 0 < arguments.seconds <= 3600:
        raise UserError(f"--seconds {arguments.seconds:g}: above 0 and at most 3600")
    out = Path(arguments.json) if arguments.json else None
    if out and not out.parent.is_dir():
        raise UserError(f"--json {out}: the folder {out.parent} does not exist")
    synchroniser = Synchroniser(arguments.checkpoint, arguments.reach, arguments.seconds, arguments.semantic)
    if arguments.prove:
        proof = prove(synchroniser, Path(arguments.prove), arguments.shifts, arguments.seed)
        print("\n".join(told(proof)))
        if out:
            write_json(out, proof)
        return 0
    found = synchroniser(arguments.video)
    side = "late" if found.milliseconds >= 0 else "early"
    print(f"the sound is {abs(found.milliseconds):.0f} ms {side} ({found.milliseconds:+.0f} ms), confidence "
          f"{found.confidence:.2f}; {found.agreeing:.0%} of {found.votes} stretches agree")  # fmt: skip
    if out:
        write_json(out, {"video": arguments.video, **asdict(found)})
    return 0


def told(proof: dict[str, Any]) -> list[str]:
    """The figures of :func:`prove`, as lines."""
    surest, rest = proof["by_confidence"]
    foreign = proof["foreign_confidence"]
    return [
        f"{proof['cases']} known offsets on {proof['clips']} videos",
        f"within one frame (40 ms)   {proof['within_frame']:.3f}  (chance {proof['chance_within_frame']:.3f})",
        f"within half a frame        {proof['within_half_frame']:.3f}  "
        f"(chance {proof['chance_within_half_frame']:.3f})",
        f"median error               {proof['median_error_ms']:.1f} ms, bias {proof['bias_ms']:+.1f} ms",
        f"mean confidence            {proof['mean_confidence']:.3f}"
        + (f" (another video's sound: {foreign:.3f})" if foreign is not None else ""),
        f"found                      {surest:.3f} of the surer half, {rest:.3f} of the other",
        f"calibrated temperature     {proof['temperature']:.2f}",
    ]


if __name__ == "__main__":
    run_command(main)
