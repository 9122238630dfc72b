"""Two plain ways to find how late a sound is, with nothing learned: what a model's way has to beat.

The strength of onsets is laid over how much the picture moves (mean optical flow), or over how fast its hands move
(landmarks), at every distance in time; where they correlate best, that is the answer. Hands are found by
:mod:`mvgen.interop.landmarks`, where its networks are here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from tqdm import tqdm

from mvgen.clock import CODEC_SAMPLE_RATE, FRAME_RATE
from mvgen.data.groups import Told, told_of
from mvgen.errors import UserError
from mvgen.evaluation.metrics.chance import bootstrap_interval, derangement
from mvgen.evaluation.synchronisation import moved, shift_of, videos_of
from mvgen.inference.inputs import MOST_SECONDS
from mvgen.interop.hands import MEDIAPIPE
from mvgen.interop.landmarks import LandmarkReader, landmarks_hash
from mvgen.media import probe, read_picture_and_flow, read_sound
from mvgen.media.lag import correlations, strength_at_frames
from mvgen.media.onsets import SAMPLE_RATE, onset_strength

FLOW, HANDS = "flow", "hands"
ALL = "all"
TOLERANCE_MS = 80.0
"""Two frames: what counts as found."""
SIDE, FLOW_SIDE = 64, 16
"""The whole picture's shorter side in pixels, and that of its flow."""
LONGEST = 4
"""Of a picture that is longer than so many times its height (or the reverse) the middle is looked at."""


def flow_speed(flow: np.ndarray) -> np.ndarray:
    """Mean length of the flow of each frame, float ``[T]``, of ``[T, h, w, 2]``: across the moment ``i / 25``."""
    flow = flow.astype(np.float32)
    return np.hypot(flow[..., 0], flow[..., 1]).mean(axis=(1, 2))


def hand_speed(landmarks: np.ndarray) -> np.ndarray:
    """Mean speed of the points seen before and after each moment ``i / 25``, in pictures a frame, float ``[T]``.

    Zero where none is, and at the first frame.

    Args:
        landmarks: ``[T, points, 3]``: x, y, confidence.
    """
    places, seen = landmarks[..., :2].astype(np.float64), landmarks[..., 2] > 0
    both = seen[1:] & seen[:-1]
    steps = np.linalg.norm(np.diff(places, axis=0), axis=-1)
    speed = np.where(both, steps, 0).sum(axis=1) / np.maximum(1, both.sum(axis=1))
    return np.concatenate([[0.0], speed])[: len(landmarks)]


def late(motion: np.ndarray, sound: np.ndarray, rate: int, reach: float) -> float:
    """How late a sound is in milliseconds, to the frame; NaN where nothing moves or nothing sounds.

    Args:
        motion: float ``[T]`` at 25 frames a second, value ``i`` across the moment ``i / 25``.
        sound: mono, at ``rate``.
        reach: the largest answer, seconds.
    """
    strength = onset_strength(soxr.resample(np.asarray(sound, np.float32), rate, SAMPLE_RATE))
    values = correlations(motion, strength_at_frames(strength, len(motion)), round(reach * FRAME_RATE))
    if np.isnan(values).all():
        return float("nan")
    return (int(np.nanargmax(values)) - len(values) // 2) * 1000.0 / FRAME_RATE


def offsets_near(motion: np.ndarray, strength: np.ndarray, max_shift: int, within: int) -> bool:
    """Whether the best shift of a window's strength against its motion is the true one, to ``within`` frames.

    As :func:`mvgen.evaluation.metrics.retrieval.offsets_right`: every shift is scored over the same middle frames of
    the picture, by correlation. Of a window in which nothing moves no shift is the best.

    Args:
        motion, strength: float ``[T]``, more than ``2 * max_shift`` frames.
    """
    middle = motion[max_shift : len(motion) - max_shift]
    shifted = np.lib.stride_tricks.sliding_window_view(strength, len(middle))
    apart = shifted - shifted.mean(axis=1, keepdims=True)
    spread = np.linalg.norm(apart, axis=1) * np.linalg.norm(middle - middle.mean())
    scores = apart @ (middle - middle.mean()) / np.maximum(spread, 1e-9)
    near = np.abs(np.arange(-max_shift, max_shift + 1)) <= within
    return bool(scores[near].max() > scores[~near].max())


class PlainWays:
    """What moves in films, for :func:`late`.

    Args:
        landmarks: what finds hands; "": MediaPipe's networks where they are here, and otherwise none.
        seconds: so much of a film is looked at.

    Attributes:
        names: of the ways: flow, and hands where they can be found.

    Raises:
        UserError: what finds hands is named, and is not here.
    """

    def __init__(self, landmarks: str = "", seconds: float = 60.0):
        self._seconds, self._landmarks = seconds, landmarks or MEDIAPIPE
        self.names: tuple[str, ...] = (FLOW, HANDS)
        try:
            landmarks_hash(self._landmarks)
        except UserError:
            if landmarks:
                raise
            self.names = (FLOW,)

    def see(self, path: str) -> Mapping[str, np.ndarray]:
        """How much moves in each frame of a file, float ``[T]`` by name. Raises ``UserError`` if it cannot be read."""
        info = probe(path)
        aspect = min(LONGEST, max(1 / LONGEST, info.width * info.aspect / max(1, info.height)))
        scale = max(1.0, 1 / aspect)
        size, flow_size = ((round(side * scale), round(side * scale * aspect)) for side in (SIDE, FLOW_SIDE))
        frames = round(self._seconds * FRAME_RATE)
        _, flow = read_picture_and_flow(path, size, flow_size, frames=frames)
        assert flow is not None
        found = {FLOW: flow_speed(flow)}
        if HANDS in self.names:
            found[HANDS] = hand_speed(LandmarkReader(self._landmarks, size).of_file(Path(path)))[:frames]
        return found


def prove_plainly(
    ways: PlainWays, folder: Path, count: int, seed: int, reach: float, progress: bool = True
) -> list[dict[str, Any]]:
    """Moves the sound of every video of a folder by the amounts that :func:`mvgen.evaluation.synchronisation.prove`
    moves it by, and looks how late each way takes it for.

    Returns:
        One dict a case: ``file``, ``true_ms``, and an answer in milliseconds by the name of each way (NaN: none).

    Raises:
        UserError: there are no videos, or one cannot be read.
    """
    files, rate = videos_of(folder), CODEC_SAMPLE_RATE
    rng = np.random.default_rng(seed)
    cases: list[dict[str, Any]] = []
    for path in tqdm(files, desc="plain ways", unit="clip", dynamic_ncols=True, disable=not progress):
        motions = ways.see(str(path))
        sound = read_sound(path, rate, limit=MOST_SECONDS)
        for _ in range(count):
            shift = shift_of(rng, reach, rate)
            told = {name: late(motion, moved(sound, shift), rate, reach) for name, motion in motions.items()}
            cases.append({"file": path.name, "true_ms": 1000 * shift / rate, **told})
    return cases


def shares(
    cases: Sequence[Mapping[str, Any]], names: Sequence[str], table: Mapping[str, Told], seed: int = 0
) -> dict[str, Any]:
    """How often each way is right to within two frames (80 ms), by family of instruments and over all.

    Args:
        cases: ``file``, ``true_ms`` and the answers of the ways, as of :func:`prove_plainly`.
        names: of the ways.
        table: what is known of the clips (:mod:`mvgen.data.groups`).
        seed: of the bootstrap, which draws whole groups.

    Returns:
        By family, "all" first: ``clips``, ``cases``, and of each way ``share``, ``low`` and ``high`` (95 % interval),
        ``chance`` (the same answers against the amounts of other cases of the family).
    """
    told = [told_of(Path(case["file"]).stem, table) for case in cases]
    true = np.array([case["true_ms"] for case in cases])
    found: dict[str, Any] = {}
    for family in (ALL, *sorted({one.family for one in told})):
        here = np.array([family in (ALL, one.family) for one in told])
        groups = [one.group for one, inside in zip(told, here, strict=True) if inside]
        partners = np.stack([derangement([ALL] * int(here.sum()), seed + turn) for turn in range(5)])
        entry: dict[str, Any] = {
            "clips": len({case["file"] for case, inside in zip(cases, here, strict=True) if inside})
        }
        entry["cases"] = int(here.sum())
        for name in names:
            answers = np.array([case[name] for case in cases], float)[here]
            right = np.abs(answers - true[here]) <= TOLERANCE_MS
            chance = np.abs(answers[None] - true[here][partners]) <= TOLERANCE_MS
            low, high = bootstrap_interval(right.astype(float), seed, groups=groups)
            entry[name] = {
                "share": float(right.mean()), "low": low, "high": high,
                "chance": float(chance.mean()) if (partners >= 0).all() else None,
            }  # fmt: skip
        found[family] = entry
    return found


def shares_told(found: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """:func:`shares` as lines of a table."""
    head = f"{'':12s} clips" + "".join(f"  {name:>24s}" for name in names)
    lines = ["within two frames (80 ms): share, 95 % interval over groups of clips, chance", head]
    for family, entry in found.items():
        line = f"{family:12s} {entry['clips']:5d}"
        for name in names:
            way = entry[name]
            chance = "-" if way["chance"] is None else f"{way['chance']:.2f}"
            line += f"  {way['share']:.2f} ({way['low']:.2f} to {way['high']:.2f}), {chance}"
        lines.append(line)
    return lines
