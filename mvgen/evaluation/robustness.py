"""How a checkpoint fares on held-out windows, and on the same windows with one thing changed (distribution shift).

Of each set of records: retrieval R@1 both ways among all windows, whether the offset between picture and sound is found
within one frame, and onset F and note F of the music generated for the silent picture against the known notes; each
with its chance level, a 95 % interval, its mean on every instrument, and its change from the plain set, window by
window.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from mvgen import clock
from mvgen.data.loader import window_frames
from mvgen.data.records import RecordSource
from mvgen.errors import UserError
from mvgen.evaluation.held_out import HeldOut, held_out_windows
from mvgen.evaluation.metrics.chance import bootstrap_interval, derangement
from mvgen.evaluation.metrics.clips import Clip, Heard
from mvgen.evaluation.metrics.notes import note_agreement
from mvgen.evaluation.metrics.onsets import moments, onset_agreement
from mvgen.evaluation.metrics.retrieval import belonging, offsets_right, ranks, similarities
from mvgen.evaluation.metrics.transcriber import Transcribers
from mvgen.evaluation.report.robustness import write_robustness
from mvgen.files import write_json
from mvgen.inference.embedding import Space
from mvgen.inference.inputs import load_codec
from mvgen.inference.sampling import Sampling
from mvgen.inference.video_to_music import generate_music
from mvgen.models.codec import Codec
from mvgen.models.mvgen import MVGen
from mvgen.training.checkpoint import load_model

PLAIN = "plain"
MAX_SHIFT = 25  # frames either way among which the offset is looked for
SHUFFLES = 3
TOGETHER = 16  # windows whose music is made at once


@dataclass(frozen=True)
class Measured:
    """One measure of a set of windows.

    Attributes:
        values: of each window, float ``[n]``, NaN where it does not apply.
        chance: the level of chance of each, float ``[n]``.
        ceiling: the same measure of the record's own tokens, decoded, float ``[n]``; ``None`` where there is none.
    """

    values: np.ndarray
    chance: np.ndarray
    ceiling: np.ndarray | None = None

    def summary(self, labels: Sequence[str], plain: Measured | None, seed: int = 0) -> dict[str, Any]:
        """What is told of it.

        Returns:
            ``mean``, its 95 % interval ``low`` to ``high``, ``chance``, ``ceiling``, and ``windows`` that count;
            ``instruments``: mean, chance and windows of each; ``gap``: the best instrument's mean less the worst's;
            ``change`` from ``plain``: mean and interval of the differences, window by window.
        """
        low, high = bootstrap_interval(self.values, seed)
        names = np.asarray(labels)
        instruments = {
            name: {
                "mean": _mean(self.values[names == name]),
                "chance": _mean(self.chance[names == name]),
                "windows": int(np.isfinite(self.values[names == name]).sum()),
            }
            for name in dict.fromkeys(labels)
        }
        means = [entry["mean"] for entry in instruments.values() if entry["mean"] is not None]
        found: dict[str, Any] = {
            "mean": _mean(self.values), "low": low, "high": high, "chance": _mean(self.chance),
            "ceiling": None if self.ceiling is None else _mean(self.ceiling),
            "windows": int(np.isfinite(self.values).sum()),
            "instruments": instruments, "gap": max(means) - min(means) if means else None, "change": None,
        }  # fmt: skip
        if plain is not None:
            differences = self.values - plain.values
            low, high = bootstrap_interval(differences, seed)
            found["change"] = {"mean": _mean(differences), "low": low, "high": high}
        return found


def measure_space(space: Space, held_out: HeldOut) -> dict[str, Measured]:
    """Whether each window's partner is ranked first among all, both ways, its offset found within one frame, and how
    often it is more alike than pairs of the same instrument that do not belong together."""
    count = len(held_out)
    z_video = np.stack([space.of_video({name: v[i] for name, v in held_out.video.items()}) for i in range(count)])
    z_audio = np.stack([space.of_tokens(tokens) for tokens in held_out.tokens])
    similarity = similarities(z_video, z_audio)
    found = {
        "video_to_music_r1": (ranks(similarity) == 1, 1 / count),
        "music_to_video_r1": (ranks(similarity.T) == 1, 1 / count),
        "offset": (offsets_right(z_video, z_audio, MAX_SHIFT, within=1), 3 / (2 * MAX_SHIFT + 1)),
        "belonging": (belonging(similarity, held_out.labels), 0.5),
    }
    return {name: Measured(right.astype(float), np.full(count, chance)) for name, (right, chance) in found.items()}


def played(model: MVGen, codec: Codec, video: Mapping[str, np.ndarray], sampling: Sampling, window: int, seed: int
           ) -> list[Heard]:  # fmt: skip
    """The music generated for silent windows ``[n, frames, ...]``, as it is heard; window ``i`` has its own key."""
    count = len(video["frames"])
    sounds: list[Heard] = []
    for first in tqdm(range(0, count, TOGETHER), desc="generating", unit="batch", leave=False):
        # Past the end the last one again, so that there is one shape, compiled once.
        index = np.minimum(first + np.arange(TOGETHER), count - 1)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), jnp.asarray(index))
        tokens = generate_music(model, {name: v[index] for name, v in video.items()}, keys, sampling, window)
        sounds += decoded(codec, tokens)[: count - first]
    return sounds


def decoded(codec: Codec, tokens: np.ndarray) -> list[Heard]:
    """Tokens ``[n, tokens, codebooks]`` as they are heard."""
    batches = (tokens[first : first + TOGETHER] for first in range(0, len(tokens), TOGETHER))
    return [
        Heard(sound, codec.sampling_rate) for batch in batches for sound in np.asarray(codec.decode(jnp.asarray(batch)))
    ]


def measure_music(
    clips: Sequence[Clip], sounds: Sequence[Heard], originals: Sequence[Heard], readers: Transcribers
) -> dict[str, Measured]:
    """Onset F and note F of sounds against the known notes of their windows.

    Args:
        clips: what is known of each window.
        sounds: what was made for each.
        originals: the records' own tokens, decoded: the ceiling.
        readers: of notes, by the window's number.
    """

    def scored(known: Clip, onsets: np.ndarray, notes: np.ndarray | None) -> tuple[float, float]:
        assert known.notes is not None
        onset_f = onset_agreement(moments(known.notes[:, 0]), onsets)["f"]
        return onset_f, float("nan") if notes is None else note_agreement(known.notes, notes)["f"]

    heard = [(sound.onsets, readers.read(number, sound)) for number, sound in enumerate(sounds)]
    true = [(sound.onsets, readers.read(number, sound)) for number, sound in enumerate(originals)]
    values, ceiling = (
        np.array([scored(clip, *sound) for clip, sound in zip(clips, these, strict=True)]) for these in (heard, true)
    )
    labels = [clip.instrument for clip in clips]
    shuffled = np.full((SHUFFLES, len(clips), 2), np.nan)
    for seed in range(SHUFFLES):
        for number, partner in enumerate(derangement(labels, seed)):
            if partner >= 0:
                shuffled[seed, number] = scored(clips[number], *heard[partner])
    counts = np.maximum(np.isfinite(shuffled).sum(axis=0), 1)
    chance = np.where(np.isfinite(shuffled).any(axis=0), np.nansum(shuffled, axis=0) / counts, np.nan)
    return {
        name: Measured(values[:, column], chance[:, column], ceiling[:, column])
        for column, name in enumerate(("onset_f", "note_f"))
    }


@dataclass(frozen=True)
class PlainSet:
    """What changed sets are measured beside: the plain windows, readers of notes fitted on them, and what they gave."""

    held_out: HeldOut
    readers: Transcribers
    sounds: list[Heard]
    measured: dict[str, Measured]


class Robustness:
    """Measures the plain set, and then each changed one beside it.

    Args:
        checkpoint: of the model.
        seconds: length of a window, at least the model's own.
        windows, generated: how many windows of a set are measured at most, and for how many of them music is made.
        sampling: how it is drawn.
        seed: of all draws.

    Raises:
        UserError: it is not a checkpoint, or the windows are too short.
    """

    def __init__(self, checkpoint: str, seconds: float, windows: int, generated: int, sampling: Sampling, seed: int):
        self.model, config, self.spec = load_model(checkpoint)
        self.codec = load_codec(self.spec)
        self.window = window_frames(config.data.window_seconds)
        self.frames = clock.whole_frames(seconds)
        least = max(self.window, 2 * MAX_SHIFT + 1) / clock.FRAME_RATE
        if self.frames < least * clock.FRAME_RATE:
            raise UserError(f"--seconds {seconds:g}: at least {least:g}, for this model and for the offsets")
        self.windows, self.generated, self.sampling, self.seed = windows, generated, sampling, seed
        self.space = Space(self.model, self.window)
        self.plain: PlainSet | None = None

    def source(self, folder: str, split: str) -> RecordSource:
        """Records of a folder. Raises ``UserError`` where the model was not trained on such."""
        source = RecordSource(folder, split)
        if not source.spec.serves(self.spec, self.model.config.sees_landmarks):
            raise UserError(f"{folder} holds {source.spec}, the model was trained on {self.spec}")
        return source

    def measure(self, name: str, source: RecordSource) -> dict[str, Any]:
        """One set; the first is the plain one. Raises ``UserError`` where a changed set holds other clips than that."""
        held_out = held_out_windows(source, self.model.config, self.frames, self.windows)
        plain = self.plain
        if plain:
            check_same_clips(name, source, held_out, plain.held_out)
        count = min(self.generated, len(held_out))
        clips = held_out.clips[:count]
        originals = decoded(self.codec, held_out.tokens[:count])
        # Fitted on the plain originals for every set: what is generated sounds as what the model has learned from.
        readers = plain.readers if plain else Transcribers(clips, originals)
        video = {part: values[:count] for part, values in held_out.video.items()}
        # Where nothing is seen to differ, the music is the same.
        same = plain is not None and all(
            np.array_equal(values, plain.held_out.video[part][:count]) for part, values in video.items()
        )
        if plain and same:
            sounds = plain.sounds
        else:
            sounds = played(self.model, self.codec, video, self.sampling, self.window, self.seed)
        measured = measure_space(self.space, held_out) | measure_music(clips, sounds, originals, readers)
        self.plain = plain or PlainSet(held_out, readers, sounds, measured)
        return {
            "records": str(source.folder),
            "windows": len(held_out),
            "generated": count,
            "same_pictures": same,
            "measures": {
                measure: found.summary(
                    held_out.labels[: len(found.values)], plain.measured[measure] if plain else None, self.seed
                )
                for measure, found in measured.items()
            },
        }


def check_same_clips(name: str, source: RecordSource, held_out: HeldOut, plain: HeldOut) -> None:
    """Raises ``UserError`` where a changed set's windows are not those of the plain set, in its order."""
    here, there = ([(clip.name, clip.instrument) for clip in found.clips] for found in (held_out, plain))
    if here != there:
        other = next((a for (a, _), (b, _) in zip(here, there, strict=False) if a != b), f"{len(here)} windows")
        raise UserError(
            f"--changed {name}={source.folder} holds other clips than the plain set ({other}); make both with the same "
            "--seed, --clips, --instruments and --seconds"
        )


def _mean(values: np.ndarray) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else None


def measure_sets(
    robustness: Robustness, sources: Mapping[str, RecordSource], out: Path, checkpoint: str, seconds: float
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measures each set, the plain one first, and gives it; writes OUT/robustness.json and .md anew after each."""
    results: dict[str, Any] = {
        "checkpoint": checkpoint, "seconds": seconds, "seed": robustness.seed,
        "sampling": vars(robustness.sampling), "sets": {},
    }  # fmt: skip
    for name, source in sources.items():
        results["sets"][name] = robustness.measure(name, source)
        write_json(out / "robustness.json", results)
        write_robustness(out / "robustness.md", results)
        yield name, results["sets"][name]


def named_folders(given: Sequence[str]) -> dict[str, str]:
    """``NAME=FOLDER`` as a dict. Raises ``UserError`` for anything else, and for a name given twice."""
    found: dict[str, str] = {}
    for word in given:
        name, mark, folder = word.partition("=")
        if not (name and mark and folder):
            raise UserError(f"--changed {word}: write NAME=RECORDS, for example camera=runs/camera")
        if name in found or name == PLAIN:
            raise UserError(f"--changed {word}: there is another set of that name")
        found[name] = folder
    return found
