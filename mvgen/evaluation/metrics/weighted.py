"""Scores that need trained weights: run with those that the user names, and said to be left out otherwise.

FAD, the Frechet video distance and KL run on models in transformers' format (:mod:`mvgen.interop.judges`). ImageBind
and DeSync (Synchformer) exist only with their authors' own code, which is not part of this, and are never run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mvgen.errors import UserError
from mvgen.evaluation.metrics.clips import Clip, Heard, Seen
from mvgen.evaluation.metrics.frechet import divergence, frechet_distance
from mvgen.evaluation.metrics.table import ScoreTable

RUNNABLE = {
    "fad": "Frechet audio distance",
    "fvd": "Frechet video distance",
    "kl": "KL of sound classes",
}
OWN_CODE = {
    "imagebind": "ImageBind",
    "desync": "DeSync (Synchformer)",
}
"""What cannot be run here: transformers has no such model."""


def parse(text: Sequence[str]) -> dict[str, str]:
    """``NAME=FOLDER`` words by name. Raises ``UserError`` for a name that cannot be run, or one given twice."""
    named: dict[str, str] = {}
    for word in text:
        name, _, folder = word.partition("=")
        if name in OWN_CODE:
            raise UserError(
                f"--weights {name}: {OWN_CODE[name]} runs only with its authors' own code, which mvgen does not hold; "
                f"--weights takes {', '.join(RUNNABLE)}"
            )
        if name not in RUNNABLE or not folder:
            raise UserError(f"--weights {word}: it takes NAME=FOLDER, with a name of {', '.join(RUNNABLE)}")
        if name in named:
            raise UserError(f"--weights names {name} twice")
        named[name] = folder
    return named


def judges(weights: Mapping[str, str]) -> dict[str, Callable[[Any], np.ndarray]]:
    """The networks named, loaded. Raises ``UserError`` where one cannot be."""
    if not weights:
        return {}
    from mvgen.interop.judges import sound_classifier, sound_embedder, video_embedder

    loaders = {"fad": sound_embedder, "fvd": video_embedder, "kl": sound_classifier}
    return {name: loaders[name](folder) for name, folder in weights.items()}


def score_weighted(
    clips: Sequence[Clip],
    heard: Sequence[tuple[Heard, Heard]],
    seen: Sequence[tuple[Seen, Seen]],
    weights: Mapping[str, str],
    loaded: Mapping[str, Callable[[Any], np.ndarray]],
    seed: int = 0,
) -> tuple[ScoreTable, dict[str, Any]]:
    """What the named weights can say of (original, generated) pairs.

    A distance of two sets is one number, so shuffled pairs cannot give its chance level. Beside it stands its *floor*:
    the distance between two random halves of the originals, which the number would have if nothing told the sets apart
    (over half as many clips, hence biased upwards; ``None`` under four clips).

    Args:
        clips: ``[n]``. heard, seen: of the same clips, or empty where a part is missing. weights: folder by name.
        loaded: what :func:`judges` returned. seed: of shuffles and halves.

    Returns:
        A table with ``kl`` if it was run, and ``{"fad": {"value", "floor", "clips", "weights"}, ..., "lines": what was
        found and what was not run, in words}``.
    """
    table = ScoreTable([clip.name for clip in clips], [clip.instrument for clip in clips])
    found: dict[str, Any] = {}
    said: list[str] = []
    sources: dict[str, list[tuple[Any, Any]]] = {
        "fad": [(a.sound, b.sound) for a, b in heard],
        "fvd": [(a.frames, b.frames) for a, b in seen],
        "kl": [(a.sound, b.sound) for a, b in heard],
    }
    for name, title in RUNNABLE.items():
        if name not in loaded:
            said.append(f"{title}: not run, no weights named (--weights {name}=FOLDER)")
            continue
        pairs = sources[name]
        if len(pairs) < 2:
            said.append(
                f"{title}: not run, it needs at least two pairs with a {'picture' if name == 'fvd' else 'sound'}"
            )
            continue
        originals, products = (np.stack([loaded[name](pair[side]) for pair in pairs]) for side in (0, 1))
        if name == "kl":
            table.add(lambda i, j, a=originals, b=products: {"kl": divergence(a[i], b[j])}, seed)  # type: ignore[misc]
            said.append(f"{title}: with {weights[name]}, in the table above")
            continue
        entry = {
            "value": frechet_distance(originals, products),
            "floor": _floor(originals, seed),
            "clips": len(pairs),
            "dimensions": originals.shape[1],
            "weights": weights[name],
        }
        found[name] = entry
        floor = "-" if entry["floor"] is None else f"{entry['floor']:.4g}"
        said.append(
            f"{title}: {entry['value']:.4g} (two halves of the originals: {floor}) over {entry['clips']} clips and "
            f"{entry['dimensions']} dimensions of {entry['weights']}"
        )
    said += [f"{title}: not run, it needs its authors' own code" for title in OWN_CODE.values()]
    return table, {**found, "lines": said}


def _floor(originals: np.ndarray, seed: int) -> float | None:
    if len(originals) < 4:
        return None
    order = np.random.default_rng(seed).permutation(len(originals))
    half = len(order) // 2
    return frechet_distance(originals[order[:half]], originals[order[half : 2 * half]])
