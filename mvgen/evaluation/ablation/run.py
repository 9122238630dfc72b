"""Trains and measures variants one after another, keeps each result, and writes the page anew after each."""

from __future__ import annotations

import json
import os
import runpy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from flax import nnx
from ml_collections import ConfigDict
from tqdm import tqdm

from mvgen.data.records import RecordSource, RecordSpec, read_description
from mvgen.errors import UserError
from mvgen.evaluation.ablation.measures import measure
from mvgen.evaluation.ablation.page import write_page
from mvgen.evaluation.ablation.variants import Variant, variants
from mvgen.files import preset, write_json
from mvgen.models.config import MVGenConfig
from mvgen.training.checkpoint import load_model
from mvgen.training.loop import check_config, train

PLAIN = "plain"


@dataclass(frozen=True)
class Settings:
    """What an ablation is made with.

    Attributes:
        config: the base.
        spec: of the records.
        train: folder of records to learn from.
        sets: folders of records to measure on, by name, ``plain`` first.
        seconds: length of a window measured.
        windows, generated: how many windows of a set, and for how many of them music is made.
    """

    config: ConfigDict
    spec: RecordSpec
    train: str
    sets: Mapping[str, str]
    seconds: float
    windows: int
    generated: int

    def kept(self) -> dict[str, Any]:
        """What may not differ among results of one folder, for JSON."""
        config = {name: value for name, value in self.config.to_dict().items() if name != "seed"}
        config["data"] = {name: value for name, value in config["data"].items() if name != "path"}
        records = {"train": read_description(self.train)["splits"].get("train", 0), "codec": self.spec.codec}
        records |= {name: read_description(folder)["splits"].get("test", 0) for name, folder in self.sets.items()}
        measured = {"seconds": self.seconds, "windows": self.windows, "generated": self.generated}
        return {**config, "records": records, "measured": measured}


def base_config(name: str, data: str, steps: int | None) -> ConfigDict:
    """The base with the steps asked for, not evaluated meanwhile. Raises ``UserError``."""
    path = preset(name)
    try:
        config = runpy.run_path(str(path))["get_config"]()
    except (OSError, SyntaxError, KeyError, ImportError) as error:
        raise UserError(f"--config {path} is not a configuration that can be read ({error})") from None
    if steps is not None:
        if steps < 2:
            raise UserError(f"--steps {steps}: at least 2")
        config.train.steps = steps
    config.data.path = data
    config.train.eval_every = 0  # measured at the end, on fixed windows
    return config


def chosen(config: ConfigDict, spec: RecordSpec, only: Sequence[str] = ()) -> list[Variant]:
    """The variants asked for, each checked. Raises ``UserError``."""
    found = variants(spec)
    unknown = sorted(set(only) - {variant.name for variant in found})
    if unknown:
        names = ", ".join(variant.name for variant in found)
        raise UserError(f"--only {unknown[0]}: no such variant of these records; there are {names}")
    if only:
        found = [variant for variant in found if variant.name in only]
    for variant in found:
        changed = variant.apply(config)
        check_config(changed)
        MVGenConfig.from_config(changed, spec)
    return found


def check_settings(out: Path, settings: dict[str, Any]) -> None:
    """Writes what the results of a folder are made with. Raises ``UserError`` where it holds others."""
    path = out / "settings.json"
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not path.is_file():
            write_json(path, settings)
            return
        before = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"--out {out}: {error}") from None
    for section, now in settings.items():
        was = before.get(section)
        was, now = (value if isinstance(value, dict) else {"": value} for value in (was, now))
        for field in sorted({*was, *now}):
            if was.get(field) != now.get(field):
                raise UserError(
                    f"{out} holds an ablation with {section}.{field} = {was.get(field)!r}, now it is "
                    f"{now.get(field)!r}; use another --out"
                )


def run_one(variant: Variant, seed: int, settings: Settings, out: Path) -> tuple[int, dict[str, Any]]:
    """Trains (or goes on training) one variant and measures it. Returns the training's status and the result."""
    changed = variant.apply(settings.config)
    changed.seed = seed
    workdir = out / "runs" / f"{variant.name}-{seed}"
    status = train(changed, workdir)
    if status:
        return status, {}
    history = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    began = time.monotonic()
    sources = {name: RecordSource(folder, "test") for name, folder in settings.sets.items()}
    scores = measure(workdir, sources, settings.seconds, settings.windows, settings.generated)
    parameters = sum(x.size for x in jax.tree.leaves(nnx.state(load_model(workdir)[0], nnx.Param)))
    jax.clear_caches()  # the next variant is another program
    seconds = {"train": history[-1]["seconds"], "measure": time.monotonic() - began}
    return 0, {
        "variant": variant.name, "seed": seed, "steps": settings.config.train.steps, "changes": dict(variant.changes),
        "parameters": parameters, "seconds": seconds, "scores": scores,
    }  # fmt: skip


def read_results(out: Path) -> list[dict[str, Any]]:
    """All results of a folder."""
    return [json.loads(path.read_text()) for path in sorted((out / "results").glob("*.json"))]


def facts(settings: Settings, results: Sequence[Mapping[str, Any]], config_name: str) -> str:
    """How the figures of a page were made, in Markdown."""
    kept = settings.kept()
    records, seeds = kept["records"], sorted({result["seed"] for result in results})
    hours = sum(result["seconds"]["train"] for result in results) / 3600
    sets = ", ".join(f"{name} ({records[name]} records)" for name in settings.sets)
    return (
        f"Written by `python -m mvgen.ablate --config={config_name} --steps={settings.config.train.steps}`: "
        f"{len(results)} trainings of {settings.config.train.steps} steps, seeds {', '.join(map(str, seeds))}, "
        f"{hours:.1f} hours of training in all, on {os.cpu_count()} cores.\n\n"
        f"{records['train']} training records, codec {records['codec']}; measured on at most {settings.windows} "
        f"windows of {settings.seconds:g} s of each set, with music made for {settings.generated}: {sets}. "
        "Each figure is the mean over seeds, in brackets the smallest and the largest. **Gain**: of the base over the "
        "variant, in note F, "
        "and in brackets the spread over seeds, the larger of the two ranges. **Verdict**: ahead where the base gains "
        "more than that spread in onset F or note F of the plain set and loses in neither; level where it gains no "
        "more; behind where it loses. What is not ahead has not earned its place."
    )


def run(
    settings: Settings, tried: Sequence[Variant], seeds: Sequence[int], out: Path, page: Path, config_name: str
) -> int:
    """Trains and measures what is missing, and writes the page after each.

    Returns:
        0, or the status of a training that was stopped.
    """
    check_settings(out, settings.kept())
    (out / "results").mkdir(exist_ok=True)

    def publish() -> None:
        results = read_results(out)
        write_page(page, variants(settings.spec), results, facts(settings, results, config_name))

    jobs = [(variant, seed) for seed in seeds for variant in tried]
    with tqdm(total=len(jobs), desc="ablation", unit="run", dynamic_ncols=True) as bar:
        for variant, seed in jobs:
            path = out / "results" / f"{variant.name}-{seed}.json"
            if path.is_file():
                bar.total -= 1  # done before: the time left is told from those that train now
                bar.refresh()
                continue
            bar.set_postfix_str(f"{variant.name}, seed {seed}")
            status, result = run_one(variant, seed, settings, out)
            if status:
                tqdm.write("stopped; the same command goes on from here")
                return status
            write_json(path, result)
            publish()
            bar.update()
    publish()
    return 0
