"""The main job from nothing to a page: Recital composed, converted, learned from, performed both ways, scored.

    python demo/run.py --out runs/demo

Every step is one of the public commands; a step that is done is not done again, and training goes on where it stopped.
At the end: a table, and OUT/report.html.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mvgen.data.huge_pages import with_huge_pages
from mvgen.errors import UserError, run_command
from mvgen.evaluation.folders import evaluate_folders, read_manifest
from mvgen.evaluation.metrics.table import lines
from mvgen.evaluation.report import Direction, Fact, choose_examples, write_report
from mvgen.files import write_json
from mvgen.training.history import read_history

ROOT = Path(__file__).resolve().parent.parent
HELD_OUT_SEED, TRAIN_SEED = 100, 1


class Step(NamedTuple):
    """A title, and the command after ``python -m``."""

    title: str
    command: tuple[str, ...]


class Steps:
    """Runs commands, shows what each took, and remembers those that are done."""

    def __init__(self, out: Path):
        self.marks = out / ".done.json"
        self.done: dict[str, Any] = json.loads(self.marks.read_text()) if self.marks.is_file() else {}

    def run(self, title: str, *command: str, beside: tuple[Step, ...] = ()) -> None:
        """Runs ``python -m command``, unless the same command has been done.

        Args:
            title: what it does.
            command: what it is.
            beside: other steps, one after another, that run meanwhile: a step loads libraries with one core, and
                another step can have the other one. Their output is shown at their end.

        Raises:
            UserError: a step failed; its own message stands above.
        """
        with ThreadPoolExecutor(1) as pool:
            aside = pool.submit(self._aside, [step for step in beside if not self._shown_as_done(step)])
            step = Step(title, command)
            ran = []
            if not self._shown_as_done(step):
                print(f"\n== {title}\n   python -m {' '.join(command)}", flush=True)
                began = time.monotonic()
                ran.append((step, subprocess.run(_arguments(step), cwd=ROOT, env=_environment()).returncode,
                            time.monotonic() - began))  # fmt: skip
            began = time.monotonic()
            others = aside.result()
            waited = time.monotonic() - began
        for other, process, _ in others:
            print(f"\n== {other.title} (meanwhile)\n   python -m {' '.join(other.command)}\n{process.stdout.rstrip()}")
        ended = [(other, process.returncode, seconds, 0.0) for other, process, seconds in others]
        ended += [(step, status, seconds, seconds + waited) for step, status, seconds in ran]
        for done, status, seconds, of_all in ended:
            if not status:
                self._keep(done, seconds, of_all)
        for failed, status, *_ in ended:
            if status:
                raise UserError(f"the step {failed.title!r} ended with status {status}; "
                                "the same command goes on from here")  # fmt: skip

    def _shown_as_done(self, step: Step) -> bool:
        if self.done.get(step.title, {}).get("command") != list(step.command):
            return False
        print(f"\n== {step.title}\n   done before, in {self.done[step.title]['seconds']:.0f} s")
        return True

    def _aside(self, steps: list[Step]) -> list[tuple[Step, subprocess.CompletedProcess[str], float]]:
        ended = []
        for step in steps:
            began = time.monotonic()
            process = subprocess.run(_arguments(step), cwd=ROOT, env=_environment(), text=True,
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
            ended.append((step, process, time.monotonic() - began))
            if process.returncode:
                break
        return ended

    def _keep(self, step: Step, seconds: float, of_all: float) -> None:
        """Marks a step as done, and all that come after it as to be done again."""
        titles = list(self.done)
        for later in titles[titles.index(step.title) :] if step.title in titles else []:
            del self.done[later]
        self.done[step.title] = {"command": list(step.command), "seconds": seconds, "of_all": of_all}
        partial = self.marks.with_suffix(".partial")
        partial.write_text(json.dumps(self.done, indent=1))
        os.replace(partial, self.marks)
        print(f"   {step.title}: {seconds:.0f} s", flush=True)

    @property
    def seconds(self) -> float:
        """What all steps took together; those beside others took nothing of it."""
        return sum(step.get("of_all", step["seconds"]) for step in self.done.values())


def _arguments(step: Step) -> list[str]:
    return [sys.executable, "-m", *step.command]


def _environment() -> dict[str, str]:
    return with_huge_pages(os.environ) | {"PYTHONPATH": str(ROOT)}


def scores_of(out: Path) -> dict[str, dict[str, Any]]:
    """Scores of the codec's round trip, the generated music and the generated video against the originals."""
    cache: dict = {}
    scores = {}
    asked = {"music": ("sound", "sync"), "video": ("picture", "sync"), "codec": ("sound",)}
    for part, parts in asked.items():
        scores[part] = evaluate_folders(out / "clips", out / "generated" / part, cache=cache, parts=parts)
        write_json(out / f"scores_{part}.json", scores[part])
    return scores


def report(
    out: Path, scores: dict[str, dict[str, Any]], held_out: dict[str, Any], steps: Steps, train_clips: int
) -> None:
    """Writes ``report.html``."""
    generated = out / "generated"
    instruments = ("keyboard", "strings", "drums")
    sound = Direction(
        "Music from silent video",
        "The picture is the original's, the music is generated from it. Codec: the original sound through the codec.",
        scores["music"],
        ("onset_f", "pitch_right", "note_f", "onset_f_sound", "av_align", "lag_within_frame"),
        {"codec": scores["codec"]},
        [(name, "onset_f") for name in instruments] + [("keyboard", "pitch_right")],
    )
    picture = Direction(
        "Video from one image and music",
        "The music is the original's, the picture is generated from its first frame and the music's tokens.",
        scores["video"],
        (
            "places_right",
            "gain_over_still",
            "speed_ratio",
            "lag_within_frame",
            "change_lag_within_frame",
            "av_align",
            "psnr",
            "ssim",
            "flicker",
            "flow_magnitude",
        ),  # fmt: skip
        {},
        [(name, "places_right") for name in instruments],
    )
    music = "generated music over the original picture"
    folders = {
        "original": out / "clips",
        music: generated / "music",
        "generated video over the original music": generated / "video",
    }
    maps = generated / "attention.npz"
    # The film part is trained by itself; its whole loss is another's.
    film = [{name: value for name, value in line.items() if not name.endswith("loss")}
            for line in read_history(out / "train")]  # fmt: skip
    write_report(
        out / "report.html",
        title="mvgen on Recital",
        lead=f"{held_out['clips']} held-out performances, after a short training on {platform.machine()} "
        f"with {os.cpu_count()} cores.",
        facts=[
            Fact("command", "make demo"),
            Fact("seeds", f"training clips {TRAIN_SEED}, held-out clips {HELD_OUT_SEED}, model and draws 0"),
            Fact("training clips", f"{train_clips} of 6 s"),
            Fact("time", ", ".join(f"{title} {step['seconds']:.0f} s" for title, step in steps.done.items())),
        ],
        directions=[sound, picture],
        examples=choose_examples(read_manifest(out / "clips" / "manifest.jsonl"), folders, music),
        retrieval=held_out["retrieval"],
        history=read_history(out / "music") + film,
        attention=np.load(maps, allow_pickle=False) if maps.is_file() else None,  # older runs have none
    )


def main(argv: list[str] | None = None) -> int:
    """All steps."""
    parser = argparse.ArgumentParser(prog="python demo/run.py", description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder to work in (%(default)s)")
    parser.add_argument("--train-clips", type=int, default=360, metavar="N", help="clips to learn from (%(default)s)")
    parser.add_argument("--held-out-clips", type=int, default=48, metavar="N", help="clips to score (%(default)s)")
    parser.add_argument("--config", default="demo", help="training configuration (%(default)s)")
    parser.add_argument("--steps", type=int, help="training steps, if not the configuration's")
    arguments = parser.parse_args(argv)
    out: Path = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    steps = Steps(out)
    names = ("clips", "held_out", "records", "music", "train")
    clips, held_out, records, music, train = (str(out / name) for name in names)
    steps.run(
        "compose, play and film held-out clips", "data_prep", "recital", "--out", clips,
        "--clips", str(arguments.held_out_clips), "--seed", str(HELD_OUT_SEED), "--split", "test",
    )  # fmt: skip
    convert = Step("convert them", ("data_prep", "convert", "--input", clips, "--out", held_out))
    inspect = Step("inspect the records", ("data_prep", "inspect", "--records", held_out))
    steps.run(
        "render clips to learn from", "data_prep", "recital", "--records", "--out", records,
        "--clips", str(arguments.train_clips), "--seed", str(TRAIN_SEED), "--test-percent", "5",
        "--instruments", "keyboard,strings,keyboard,drums",  # the keyboard, of two voices, is hardest
        beside=(convert, inspect),
    )  # fmt: skip
    overrides = [f"--config.data.path={records}"]
    overrides += [f"--config.train.steps={arguments.steps}"] if arguments.steps else []
    steps.run("train", "mvgen.main", f"--config={arguments.config}", f"--workdir={music}", *overrides)
    begun = f"--config.init_from={music}"
    steps.run("train the film", "mvgen.main", "--config=film", f"--workdir={train}", begun, *overrides)
    export = Step(
        "export", ("mvgen.export", "--checkpoint", train, "--format", "safetensors", "--out", str(out / "export"))
    )
    steps.run(
        "perform both ways", "mvgen.generate", "records", "--checkpoint", train, "--records", held_out,
        "--out", str(out / "generated"), "--originals", clips,
        beside=(export,),
    )  # fmt: skip
    print("\n== score", flush=True)
    scoring = time.monotonic()
    scores = scores_of(out)
    held_out_facts = json.loads((out / "generated" / "held_out.json").read_text())
    report(out, scores, held_out_facts, steps, arguments.train_clips)
    titles = {"codec": "codec alone (the ceiling)", "music": "music from video", "video": "video from image and music"}
    for part, title in titles.items():
        print(f"\n-- {title}")
        print("\n".join(lines(scores[part]["summary"])))
    retrieval = held_out_facts["retrieval"].items()
    print("\n-- retrieval\n" + "\n".join(f"{name:30s} {value:.3f}" for name, value in retrieval))
    print(f"\nscored in {time.monotonic() - scoring:.0f} s; steps took {steps.seconds:.0f} s in all, this run "
          f"{time.monotonic() - began:.0f} s\nlook at {out / 'report.html'}")  # fmt: skip
    return 0


if __name__ == "__main__":
    run_command(main)
