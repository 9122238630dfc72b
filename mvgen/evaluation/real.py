"""How well a configuration learns from real performances: trained on folds of records, measured on the groups left out.

Of every window of every group while it was left out: whether the offset between picture and sound is found to within
two frames of 51, retrieval among the windows of its fold, how often picture and sound are more alike than of pairs that
do not belong together, and onset F of the music generated for the silent picture against the original's through the
codec. Beside them two plain ways to find the offset that learn nothing (:mod:`mvgen.evaluation.plain_sync`). All by
family of instruments, each with its chance and an interval over whole groups.
"""

from __future__ import annotations

import ast
import math
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from mvgen import clock
from mvgen.data.loader import used_features, window_frames
from mvgen.data.records import RecordSource
from mvgen.errors import UserError
from mvgen.evaluation.metrics.chance import bootstrap_interval, derangement
from mvgen.evaluation.metrics.clips import Heard
from mvgen.evaluation.metrics.onsets import onset_agreement
from mvgen.evaluation.metrics.retrieval import belonging, offsets_right, ranks, similarities
from mvgen.evaluation.plain_sync import flow_speed, hand_speed, offsets_near
from mvgen.evaluation.robustness import decoded, played
from mvgen.files import write_json, write_text
from mvgen.inference.embedding import Space
from mvgen.inference.inputs import load_codec
from mvgen.inference.sampling import Sampling
from mvgen.media.lag import strength_at_frames
from mvgen.training.checkpoint import load_model
from mvgen.training.loop import train

MAX_SHIFT, WITHIN = 25, 2
"""Frames either way among which the offset is looked for, and of error that are forgiven."""
FEWEST_ONSETS, QUIET = 2, 0.01
"""Windows in which fewer onsets are heard, or whose sound stays below this share of full scale, such as silence between
takes, are left out: nothing tells their time."""
TITLES = {
    "offset": "offset within 2 frames of 51",
    "flow_offset": "the same, by flow against onset strength",
    "hands_offset": "the same, by hand speed against onset strength",
    "video_to_music_r1": "R@1 in the fold, picture to music",
    "music_to_video_r1": "R@1 in the fold, music to picture",
    "belonging": "belonging, ROC area",
    "onset_f": "onset F of generated music",
}
"""Every measure, in the order of the rows."""
ALL = "all"

Values = dict[str, np.ndarray]
"""Of each measure the value of every window and, under ``NAME_chance``, its level of chance; NaN: does not apply."""


@dataclass(frozen=True)
class Held:
    """The windows of the groups that a fold leaves out.

    Attributes:
        features: as records hold them, each ``[windows, frames or tokens, ...]``.
        groups, families: of each window.
        sounds: of each, its own tokens decoded.
        left_out: windows in which hardly anything is heard.
    """

    features: dict[str, np.ndarray]
    groups: list[str]
    families: list[str]
    sounds: list[Heard]
    left_out: int


def fold_folders(folder: str) -> list[Path]:
    """The folds in a folder, as ``python -m data_prep folds`` writes them. Raises ``UserError`` for none."""
    found = sorted(path for path in Path(folder).glob("fold-*") if path.is_dir())
    if not found:
        raise UserError(f"--real {folder}: no fold-0, fold-1 ... in there; make them with `python -m data_prep folds`")
    return found


def changed_config(config: ConfigDict, changes: Sequence[str]) -> ConfigDict:
    """A configuration with fields changed by words such as ``model.use_landmarks=True``.

    Raises:
        UserError: a word names no field of it, or a value of another kind.
    """
    config = config.copy_and_resolve_references()
    for word in changes:
        field, _, text = word.partition("=")
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            value = text
        try:
            config.update_from_flattened_dict({field: value})
        except (KeyError, AttributeError, TypeError, ValueError) as error:
            raise UserError(f"--change {word}: {str(error).splitlines()[0]}") from None
    return config


def held_windows(fold: Path, frames: int) -> Held:
    """Every window of the test split, one after another, none overlapping, that something is heard in.

    Raises:
        UserError: the split holds none.
    """
    source = RecordSource(fold, "test")
    wanted = [name for name in ("frames", "flow", "semantic", "landmarks") if name in source.spec.features()]
    parts: dict[str, list[np.ndarray]] = defaultdict(list)
    groups, families = [], []
    for number in range(len(source)):
        record = source[number]
        for turn in range(clock.frames_of(len(record["tokens"])) // frames):
            span = slice(turn * frames, (turn + 1) * frames)
            for name in wanted:
                parts[name].append(record[name][span])
            tokens = slice(clock.tokens_of(span.start), clock.tokens_of(span.stop))
            parts["tokens"].append(record["tokens"][tokens].astype(np.int32))
            groups.append(record["source_id"])
            families.append(record["labels"].partition(",")[0])
    if not groups:
        raise UserError(f"{fold}: no record of its test split lasts {frames / clock.FRAME_RATE:g} s")
    features = {name: np.stack(values) for name, values in parts.items()}
    sounds = decoded(load_codec(source.spec), features["tokens"])
    kept = [number for number, sound in enumerate(sounds) if _tells_time(sound)]
    return Held(
        {name: values[kept] for name, values in features.items()},
        [groups[number] for number in kept],
        [families[number] for number in kept],
        [sounds[number] for number in kept],
        len(sounds) - len(kept),
    )


def _tells_time(sound: Heard) -> bool:
    return float(np.abs(sound.sound).max(initial=0.0)) >= QUIET and len(sound.onsets) >= FEWEST_ONSETS


def measure_plainly(held: Held) -> Values:
    """The offset by the two plain ways; by hands where landmarks are held, and where any is seen in the window."""
    frames = held.features["tokens"].shape[1] // clock.tokens_of(1)
    strengths = [strength_at_frames(sound.strength, frames) for sound in held.sounds]
    motions = {}
    if "flow" in held.features:
        motions["flow_offset"] = [flow_speed(flow) for flow in held.features["flow"]]
    if "landmarks" in held.features:
        motions["hands_offset"] = [hand_speed(points) for points in held.features["landmarks"]]
    found: Values = {}
    for name, speeds in motions.items():
        right = [
            float(offsets_near(speed, strength, MAX_SHIFT, WITHIN)) if speed.any() else math.nan
            for speed, strength in zip(speeds, strengths, strict=True)
        ]
        found |= _with_chance(name, np.array(right), _offset_chance())
    return found


def measure_checkpoint(checkpoint: str, held: Held, sampling: Sampling | None, seed: int) -> Values:
    """Everything that a model is measured by; music is made where it has learned that and ``sampling`` is given."""
    model, config, spec = load_model(checkpoint)
    window = window_frames(config.data.window_seconds)
    space = Space(model, window)
    video = {name: held.features[name] for name in used_features(spec, model.config) if name != "tokens"}
    count = len(held.groups)
    z_video = np.stack([space.of_video({name: values[i] for name, values in video.items()}) for i in range(count)])
    z_audio = np.stack([space.of_tokens(tokens) for tokens in held.features["tokens"]])
    similarity = similarities(z_video, z_audio)
    found = _with_chance("offset", offsets_right(z_video, z_audio, MAX_SHIFT, WITHIN), _offset_chance())
    found |= _with_chance("video_to_music_r1", ranks(similarity) == 1, 1 / count)
    found |= _with_chance("music_to_video_r1", ranks(similarity.T) == 1, 1 / count)
    found |= _with_chance("belonging", belonging(similarity, held.families), 0.5)
    if sampling is None or not config.loss.music:
        return found
    made = [sound.onsets for sound in played(model, load_codec(spec), video, sampling, window, seed)]
    true = [sound.onsets for sound in held.sounds]
    partners = derangement(held.families, seed)
    found["onset_f"] = np.array([onset_agreement(a, b)["f"] for a, b in zip(true, made, strict=True)])
    found["onset_f_chance"] = np.array(
        [onset_agreement(true[i], made[j])["f"] if j >= 0 else math.nan for i, j in enumerate(partners)]
    )
    return found


def _offset_chance() -> float:
    return (2 * WITHIN + 1) / (2 * MAX_SHIFT + 1)


def _with_chance(name: str, right: np.ndarray, chance: float) -> Values:
    values = np.asarray(right, float)
    return {name: values, f"{name}_chance": np.where(np.isfinite(values), chance, math.nan)}


def run_folds(
    folds: Sequence[Path],
    out: Path,
    config: ConfigDict | None,
    seconds: float,
    sampling: Sampling | None,
    seed: int = 0,
) -> tuple[int, dict[str, Any]]:
    """Trains on each fold what is not trained yet, measures it on the groups left out, and pools all windows.

    Args:
        folds: folders of records.
        out: OUT/runs keeps the trainings, OUT/real.json and OUT/real.md what was measured.
        config: what is trained; ``None``: the plain ways alone are measured.
        seconds: length of a window that is measured.
        sampling: how music is drawn; ``None``: none is made.
        seed: of draws and intervals.

    Returns:
        The status of a training that was stopped, or 0, and what was written.

    Raises:
        UserError: windows are too short for the offsets or the model, or a fold cannot be trained on.
    """
    frames = clock.whole_frames(seconds)
    least = 2 * MAX_SHIFT + 1
    if config is not None:
        least = max(least, window_frames(config.data.window_seconds))
    if frames < least:
        raise UserError(f"--seconds {seconds:g}: at least {least / clock.FRAME_RATE:g}, for the offsets and the model")
    pooled: dict[str, list[np.ndarray]] = defaultdict(list)
    groups: list[str] = []
    families: list[str] = []
    left_out, taken = 0, 0.0
    for fold in folds:
        held = held_windows(fold, frames)
        values = measure_plainly(held)
        if config is not None:
            ours = config.copy_and_resolve_references()
            ours.data.path = str(fold)
            workdir = out / "runs" / fold.name
            began = time.monotonic()
            if status := train(ours, workdir):
                return status, {}
            taken += time.monotonic() - began
            values |= measure_checkpoint(str(workdir), held, sampling, seed)
            jax.clear_caches()
        for name, measured in values.items():
            pooled[name].append(measured)
        groups += held.groups
        families += held.families
        left_out += held.left_out
    found = {
        "folds": len(folds), "windows": len(groups), "groups": len(set(groups)), "left_out": left_out,
        "seconds": seconds, "training_seconds": taken, "seed": seed,
        "measures": pool({name: np.concatenate(parts) for name, parts in pooled.items()}, groups, families, seed),
    }  # fmt: skip
    write_json(out / "real.json", found)
    write_text(out / "real.md", "\n".join(lines(found)) + "\n")
    return 0, found


def pool(values: Values, groups: Sequence[str], families: Sequence[str], seed: int) -> dict[str, Any]:
    """By measure and family ("all" first): ``mean``, ``low`` and ``high`` (95 %, whole groups drawn), ``chance``,
    ``windows`` and ``groups`` that count."""
    of_group, of_family = np.array(groups), np.array(families)
    found: dict[str, Any] = {}
    for name in TITLES:
        if name not in values or not np.isfinite(values[name]).any():
            continue
        found[name] = {}
        for family in (ALL, *sorted(set(families))):
            here = np.isfinite(values[name]) & ((family == ALL) | (of_family == family))
            if not here.any():
                continue
            low, high = bootstrap_interval(values[name][here], seed, groups=of_group[here].tolist())
            chance = values[f"{name}_chance"][here]
            found[name][family] = {
                "mean": float(values[name][here].mean()), "low": low, "high": high,
                "chance": float(np.nanmean(chance)) if np.isfinite(chance).any() else None,
                "windows": int(here.sum()), "groups": len(set(of_group[here])),
            }  # fmt: skip
    return found


def lines(found: Mapping[str, Any]) -> list[str]:
    """What was measured, as a table in Markdown."""
    families = list(dict.fromkeys(family for entry in found["measures"].values() for family in entry))
    told = [
        f"{found['windows']} windows of {found['seconds']:g} s of {found['groups']} groups in {found['folds']} folds; "
        f"{found['left_out']} more were left out, in which hardly anything is heard. Mean, in "
        "brackets the 95 % interval (bootstrap over whole groups), then chance.",
        "",
        "| | " + " | ".join(families) + " |",
        "|---|" + "---|" * len(families),
    ]
    for name, entry in found["measures"].items():
        cells = []
        for family in families:
            one = entry.get(family)
            chance = "" if one is None or one["chance"] is None else f"; {one['chance']:.2f}"
            cells.append("-" if one is None else f"{one['mean']:.2f} ({one['low']:.2f} to {one['high']:.2f}){chance}")
        told.append(f"| {TITLES[name]} | " + " | ".join(cells) + " |")
    sizes = [next((e[family] for e in found["measures"].values() if family in e), None) for family in families]
    told.append(
        "| windows; groups | " + " | ".join(f"{s['windows']}; {s['groups']}" if s else "-" for s in sizes) + " |"
    )
    return told
