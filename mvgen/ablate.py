"""Tries the model's choices one at a time on records whose notes are known, and writes a page of what each did.

    python -m mvgen.ablate --data RECORDS --out DIR [--steps N] [--seeds 0 1 2] [--page docs/alignment.md]

Every variant is the configuration with a few fields changed (`--list` shows them), trained from the same seed on the
same examples and measured on the same held-out windows. Each result is kept in DIR/results; started again, the same
command goes on where it stopped, in the middle of a training if need be, and more `--seeds` may be added later. The
page is written anew after each result, so that it can be read while the rest is still training. Of an existing page
only what stands between its two marks is replaced.
"""

from __future__ import annotations

import argparse
import json
import runpy
import time
from pathlib import Path
from typing import Any

import jax
from flax import nnx
from ml_collections import ConfigDict
from tqdm import tqdm

from mvgen import clock
from mvgen.ablation.measures import HeldOut, held_out_windows, measure, onset_scores
from mvgen.ablation.page import write_page
from mvgen.ablation.variants import Variant, variants
from mvgen.checkpoint import load_model, write_json
from mvgen.data import window_frames
from mvgen.errors import UserError, run_command
from mvgen.generate import load_codec
from mvgen.models.codec import Codec
from mvgen.models.config import MVGenConfig
from mvgen.records import RecordSource, RecordSpec, read_description
from mvgen.train import check_config, train


def parser() -> argparse.ArgumentParser:
    """The options."""
    words = argparse.ArgumentParser(
        prog="python -m mvgen.ablate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("--data", required=True, metavar="DIR", help="records to learn from (split train)")
    words.add_argument(
        "--held-out", metavar="DIR", help="records to measure on (split test); by default those of --data"
    )
    words.add_argument("--out", required=True, metavar="DIR", help="trainings and results are kept here")
    words.add_argument("--page", default="docs/alignment.md", metavar="FILE", help="the page to write (%(default)s)")
    words.add_argument("--config", default="configs/ablation.py", metavar="FILE", help="the base (%(default)s)")
    words.add_argument("--steps", type=int, metavar="N", help="training steps of each variant, if not the base's")
    words.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="S", help="each variant from each (0)")
    words.add_argument("--only", nargs="+", metavar="NAME", help="only these variants")
    words.add_argument("--windows", type=int, default=96, metavar="N", help="held-out windows scored (%(default)s)")
    words.add_argument("--generated", type=int, default=48, metavar="N", help="of them with music made (%(default)s)")
    words.add_argument("--list", action="store_true", help="say what would be tried, and stop")
    return words


def read_config(path: str) -> ConfigDict:
    """What ``get_config`` of a configuration file gives. Raises ``UserError`` where there is none."""
    try:
        config = runpy.run_path(path)["get_config"]()
    except (OSError, SyntaxError, KeyError, ImportError) as error:
        raise UserError(f"--config {path} is not a configuration that can be read ({error})") from None
    return config


def base_config(arguments: argparse.Namespace) -> ConfigDict:
    """The base with the steps asked for. Raises ``UserError``."""
    config = read_config(arguments.config)
    if arguments.steps is not None:
        if arguments.steps < 2:
            raise UserError(f"--steps {arguments.steps}: at least 2")
        config.train.steps = arguments.steps
    config.data.path = arguments.data
    config.train.eval_every = 0  # measured at the end, on fixed windows
    return config


def chosen(arguments: argparse.Namespace, config: ConfigDict, spec: RecordSpec) -> list[Variant]:
    """The variants asked for, each checked. Raises ``UserError``."""
    found = variants(config, spec)
    if arguments.only:
        unknown = sorted(set(arguments.only) - {variant.name for variant in found})
        if unknown:
            names = ", ".join(variant.name for variant in found)
            raise UserError(f"--only {unknown[0]}: no such variant of these records; there are {names}")
        found = [variant for variant in found if variant.name in arguments.only]
    for variant in found:
        changed = variant.apply(config)
        check_config(changed)
        MVGenConfig.from_config(changed, spec)
    return found


def keep_settings(out: Path, settings: dict[str, Any]) -> None:
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
        was = before.get(section) or {}
        for field in sorted({*was, *now}):
            if was.get(field) != now.get(field):
                raise UserError(
                    f"{out} holds an ablation with {section}.{field} = {was.get(field)!r}, now it is "
                    f"{now.get(field)!r}; use another --out"
                )


def run_one(
    variant: Variant, seed: int, config: ConfigDict, out: Path, codec: Codec, held_out: HeldOut, generated: int
) -> tuple[int, dict[str, Any]]:
    """Trains (or goes on training) one variant and measures it. Returns the training's status and the result."""
    changed = variant.apply(config)
    changed.seed = seed
    workdir = out / "runs" / f"{variant.name}-{seed}"
    status = train(changed, workdir)
    if status:
        return status, {}
    history = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    began = time.monotonic()
    model = load_model(workdir)[0]
    scores = measure(model, codec, held_out, generated)
    jax.clear_caches()  # the next variant is another program
    parameters = sum(x.size for x in jax.tree.leaves(nnx.state(model, nnx.Param)))
    seconds = {"train": history[-1]["seconds"], "measure": time.monotonic() - began}
    return 0, {"variant": variant.name, "seed": seed, "seconds": seconds, "parameters": parameters, "scores": scores}


def read_results(out: Path, tried: list[Variant]) -> list[dict[str, Any]]:
    """All results of a folder that belong to these variants."""
    names = {variant.name for variant in tried}
    found = [json.loads(path.read_text()) for path in sorted((out / "results").glob("*.json"))]
    return [result for result in found if result["variant"] in names]


def main(argv: list[str] | None = None) -> int:
    """Trains and measures what is missing, and writes the page."""
    arguments = parser().parse_args(argv)
    if min(arguments.windows, arguments.generated) < 2 or min(arguments.seeds) < 0:
        raise UserError("--windows and --generated must be at least 2, --seeds not negative")
    config = base_config(arguments)
    description = read_description(arguments.data)
    spec = RecordSpec.from_json(description["spec"])
    tried = chosen(arguments, config, spec)
    if arguments.list:
        for variant in tried:
            changes = ", ".join(f"{name}={value}" for name, value in variant.changes.items())
            print(f"{variant.name:20s} {variant.question}: {variant.told}{f' ({changes})' if changes else ''}")
        return 0
    page = Path(arguments.page)
    if not page.parent.is_dir():
        raise UserError(f"--page {page}: the folder {page.parent} does not exist")
    source = RecordSource(arguments.held_out or arguments.data, "test")
    if source.spec != spec:
        raise UserError(f"{source.folder} holds {source.spec}, {arguments.data} holds {spec}")
    codec = load_codec(spec)
    held_out = held_out_windows(source, config.model, window_frames(config.data.window_seconds), arguments.windows)
    out = Path(arguments.out)
    kept = {name: value for name, value in config.to_dict().items() if name != "seed"}
    kept["data"] = {name: value for name, value in kept["data"].items() if name != "path"}
    records = {"train": description["splits"].get("train", 0), "held_out": len(source), "codec": spec.codec}
    keep_settings(
        out, {**kept, "records": records, "measured": {"windows": len(held_out), "generated": arguments.generated}}
    )
    (out / "results").mkdir(exist_ok=True)
    ceiling_file = out / "ceiling.json"
    if not ceiling_file.is_file():
        ceiling = onset_scores(codec, held_out.tokens[: arguments.generated], held_out)
        write_json(ceiling_file, {name: ceiling[name] for name in ("f", "chance")})
    facts = {
        "records": records,
        "seconds": float(clock.token_start(held_out.tokens.shape[1])),
        "config": arguments.config,
    }

    jobs = [(variant, seed) for seed in arguments.seeds for variant in tried]
    with tqdm(total=len(jobs), desc="ablation", unit="run", dynamic_ncols=True) as bar:
        for variant, seed in jobs:
            path = out / "results" / f"{variant.name}-{seed}.json"
            if path.is_file():
                bar.total -= 1  # done before: the time left is told from those that train now
                bar.refresh()
                continue
            bar.set_postfix_str(f"{variant.name}, seed {seed}")
            status, result = run_one(variant, seed, config, out, codec, held_out, arguments.generated)
            if status:
                tqdm.write("stopped; the same command goes on from here")
                return status
            write_json(path, result)
            _publish(page, out, config, spec, facts)
            bar.update()
    _publish(page, out, config, spec, facts)
    print(page)
    return 0


def _publish(page: Path, out: Path, config: ConfigDict, spec: RecordSpec, facts: dict[str, Any]) -> None:
    tried = variants(config, spec)
    ceiling = json.loads((out / "ceiling.json").read_text())
    write_page(page, tried, read_results(out, tried), ceiling, config, facts)


if __name__ == "__main__":
    run_command(main)
