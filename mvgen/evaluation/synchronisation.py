"""How well known offsets between picture and sound are found, beside chance and two plain ways, and how sure it is of
what fits nowhere."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mvgen.errors import UserError
from mvgen.evaluation.metrics.chance import derangement
from mvgen.evaluation.metrics.retrieval import area_under_roc
from mvgen.inference.synchronisation import NEAR_SECONDS, Synchroniser, estimate

ENDINGS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")


def moved(sound: np.ndarray, late: int) -> np.ndarray:
    """The sound, ``late`` samples later (earlier where negative), as long as before; silence where there is none."""
    if late >= 0:
        return np.concatenate([np.zeros(late, sound.dtype), sound])[: len(sound)]
    return np.concatenate([sound[-late:], np.zeros(-late, sound.dtype)])


def videos_of(folder: Path) -> list[Path]:
    """The videos of a folder, in order. Raises ``UserError`` where there are none."""
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS) if folder.is_dir() else []
    if not files:
        raise UserError(f"--prove {folder}: no videos ({', '.join(ENDINGS)}) in there")
    return files


def shift_of(rng: np.random.Generator, reach: float, rate: int) -> int:
    """Samples by which a sound is moved: evenly from -0.8 to 0.8 of the reach, so that hardly one is a whole frame."""
    return round(rng.uniform(-0.8, 0.8) * reach * rate)


def prove(synchroniser: Synchroniser, folder: Path, count: int, seed: int, progress: bool = True) -> dict[str, Any]:
    """Moves the sound of every video of a folder by known amounts and looks whether they are found.

    Amounts are drawn evenly from -0.8 to 0.8 of the reach, to the sample, so that hardly one is a whole frame.

    Returns:
        ``clips``, ``cases``; ``within_frame`` and ``within_half_frame``, the shares found to 40 and 20 ms, with
        ``chance_`` of both (the same estimates against the amounts of other cases); ``median_error_ms``, ``bias_ms``
        (median of estimate less truth); ``mean_confidence``; ``foreign_confidence``: the same where the sound is that
        of another video; ``belongs`` and ``foreign_belongs``: the mean probability that picture and sound belong
        together, of each, and ``belonging_auc``: the area under the ROC curve of the two (chance 0.5);
        ``by_confidence``: share found among the surest half and the other; ``temperature``: what :func:`calibrated`
        makes of all cases; ``each``.

    Raises:
        UserError: there are no videos.
    """
    files = videos_of(folder)
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
                late = shift_of(rng, shifts[-1], rate)
                votes = synchroniser.votes(video, moved(sound, late))
                found = synchroniser.offset(votes)
                told_of = {name: value for name, value in asdict(found).items() if name != "video"}
                cases.append({"file": path.name, "true_ms": 1000 * late / rate, **told_of})
                kept.append(votes)
                bar.update()
    elsewhere = [synchroniser.offset(votes) for votes in foreign]
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
        "foreign_confidence": float(np.mean([other.confidence for other in elsewhere])) if elsewhere else None,
        "belongs": float(np.mean([case["belongs"] for case in cases])),
        "foreign_belongs": float(np.mean([other.belongs for other in elsewhere])) if elsewhere else None,
        "belonging_auc": area_under_roc([case["similarity"] for case in cases], [o.similarity for o in elsewhere]),
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
        f"belong together            {proof['belongs']:.3f}"
        + (
            f" (another video's sound: {proof['foreign_belongs']:.3f}; area under the ROC curve "
            f"{proof['belonging_auc']:.3f}, chance 0.5)"
            if foreign is not None
            else ""
        ),
        f"found                      {surest:.3f} of the surer half, {rest:.3f} of the other",
        f"calibrated temperature     {proof['temperature']:.2f}",
    ]
