"""The model card of an export, in the hub's format: what the model is, of what it learned, how well, what licence.

It says what the checkpoint knows and what evaluations are given; what nobody measured it does not say.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from mvgen.data.records import RecordSpec
from mvgen.errors import UserError
from mvgen.interop.encodec import PACKAGED
from mvgen.interop.musicgen_folder import UNKNOWN, Origin

CHANCES = {"offset_right": "chance_offset", "offset_within_frame": "chance_offset_within_frame"}
"""Of retrieval's scores those whose chance has a name of its own; of ``..._r1`` it is ``chance_r1``."""

Row = tuple[str, float, float | None, float | None]
"""Score, its value, its chance level, the original's own; the latter two where there are any."""


def read_scores(path: str) -> list[Row]:
    """The scores in a file that ``mvgen.evaluate --out`` wrote, or with what ``mvgen.main --mode=eval`` printed.

    Raises:
        UserError: it is neither.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        if "summary" in found:
            overall = found["summary"]["overall"].items()
            return [(name, float(each["mean"]), each["chance"], each["original"]) for name, each in overall
                    if each["mean"] is not None]  # fmt: skip
        space = found["retrieval"]
        chances = {name: CHANCES.get(name, f"chance_{name.rsplit('_', 1)[-1]}") for name in space}
        return [
            (name, float(value), space.get(chances[name]), None)
            for name, value in space.items()
            if not name.startswith("chance") and name not in ("window_seconds", "clips")
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(
            f"--scores {path}: neither what `mvgen.evaluate --out` writes nor what `mvgen.main --mode=eval` prints"
        ) from None


def model_card(
    config: ConfigDict,
    records: dict[str, Any],
    origin: Origin,
    *,
    step: int,
    parameters: int,
    scores: dict[str, list[Row]],
    held_out: dict[str, float],
    use: str,
    goes_on: bool = False,
) -> str:
    """The card, Markdown with front matter.

    Args:
        config: of the run.
        records: their description.
        origin: where the weights came from, and their licence.
        step: training steps done.
        parameters: how many numbers the model has.
        scores: evaluations by name.
        held_out: the last losses on held-out records that the run noted, by name.
        use: how to use this folder, Markdown.
        goes_on: whether the run started from another run of mvgen.
    """
    spec = RecordSpec.from_json(records["spec"])
    front = f"license: {origin.licence}" if origin.licence != UNKNOWN else "license: other\nlicense_name: unknown"
    codec = f"`{spec.codec}`, which travels with mvgen" if spec.codec in PACKAGED else f"`{PurePath(spec.codec).name}`"
    size = f"{spec.frame_size[1]} x {spec.frame_size[0]} pixels" if spec.frame_size else "latents"
    silent = [name for name in ("align", "music", "video", "movement") if not config.loss.get(name)]
    untrained = f"\n\nIts parts {', '.join(silent)} had no weight in the loss of this run." if silent else ""
    return f"""---
{front}
library_name: mvgen
tags: [mvgen, jax, music, video-to-audio, image-to-video]
---
# An mvgen model: music from video, video from music

{parameters / 1e6:.1f} million parameters that play the music of a silent video of a performance, and film a performance
from one image and music. 25 frames and 50 audio tokens a second, any length; frames of {size}; tokens of
the codec {codec} ({spec.codebooks} codebooks of {spec.codebook_size} entries).{untrained}

## How to use it

{use}

## What it is for

Research on how movement and music belong together; sketches of music for a performance that was filmed without sound,
of a film for music, retrieval, and checks of synchrony. It knows instruments, cameras and rooms like those that it was
trained on, and nothing else. It is not for passing off what it makes as a recording of a person, and not for deciding
anything about a person.

## What it was trained on

{_data(records)}

## Training

{step} steps of {config.data.batch_size} windows of {config.data.window_seconds:g} s, seed {config.seed}.
{_start(origin, goes_on)} The whole configuration is in `config.json`.{_losses(held_out)}

## Scores

{_scores(scores)}

## Licences

Weights: **{origin.licence}**.{" Ask whoever trained them before you use them." if origin.licence == UNKNOWN else ""}
{"It forbids commercial use. " if origin.licence.startswith("cc-by-nc") else ""}What it was trained on has the licences
of its sources, above; mvgen's code is under Apache-2.0.
"""


def _start(origin: Origin, goes_on: bool) -> str:
    if not origin.start and goes_on:
        return "It went on from what other runs had learned, which is not told here."
    if not origin.start:
        return "It started from random weights."
    return f"It started from the weights of `{PurePath(origin.start).name}`, licence {origin.licence}."


def _data(records: dict[str, Any]) -> str:
    """What made the records, as far as they say; of paths only the last part."""
    made = {name: value for name, value in records.get("made_by", {}).get("settings", {}).items() if value is not None}
    if not made:
        return "The records do not say what made them."
    lines = [f"- {name.replace('_', ' ')}: {_shown(value)}" for name, value in made.items() if value != ""]
    recital = "Recital, performances composed, played and filmed by program: no person is in them.\n\n"
    return (recital if made.get("source") == "recital" else "") + "\n".join(lines)


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_shown, value))
    return PurePath(value).name if isinstance(value, str) and value.startswith(("/", "~")) else str(value)


def _losses(held_out: dict[str, float]) -> str:
    if not held_out:
        return ""
    told = ", ".join(f"{name} {value:.3f}" for name, value in held_out.items() if value is not None)
    return f"\nLosses on held-out records, as last noted: {told}."


def _scores(scores: dict[str, list[Row]]) -> str:
    """Tables; chance is the same score over shuffled pairs, the last column what the originals themselves reach."""
    if not scores:
        return "No evaluation was given when this folder was written: how well it plays and films is not said here."

    def number(value: float | None) -> str:
        return "" if value is None or not np.isfinite(value) else f"{value:.3f}"

    tables = []
    for title, rows in scores.items():
        head = [f"### {title}", "", "| score | value | chance | original |", "|---|---|---|---|"]
        lines = [f"| {name} | {number(value)} | {number(by)} | {number(own)} |" for name, value, by, own in rows]
        tables.append("\n".join(head + lines))
    return "\n\n".join(tables) + "\n\nWhat each score means, and how chance is found: mvgen's docs/metrics.md."
