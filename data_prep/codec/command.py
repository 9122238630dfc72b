"""``codec-train`` and ``codec-measure``."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace

from mvgen.errors import UserError
from mvgen.files import check_output, write_json

SHARES = {"keyboard": 0.23, "strings": 0.2, "drums": 0.27, "music": 0.3}
"""How much of a training batch each kind of sound gets."""
FINISHING_SHARES = {"keyboard": 0.55, "strings": 0.15, "drums": 0.15, "music": 0.15}
"""The same where the decoder alone is trained: soft attacks over what still sounds are the hardest to keep."""
TRAINING_SEED, MEASURING_SEED = 1000, 2000
"""Recital seeds of the sound that is trained on and of the sound that is measured on."""


def add_arguments(parser: argparse.ArgumentParser, command: str) -> None:
    """Adds a command's options."""
    parser.add_argument("--music", metavar="DIR", help="a folder of recordings to add (ogg, mp3, wav, flac)")
    parser.add_argument("--clips", type=int, help="Recital clips of each instrument (100 to train on, 40 to measure)")
    if command == "codec-train":
        parser.add_argument("--out", required=True, metavar="DIR", help="gets config.json and model.safetensors")
        parser.add_argument("--work", metavar="DIR", help="for checkpoints (OUT/work); a stopped run goes on there")
        begin = parser.add_mutually_exclusive_group()
        begin.add_argument("--start", metavar="DIR",
                           help="begin with the network of another run, whose --work folder this is")  # fmt: skip
        begin.add_argument("--finish", metavar="DIR",
                           help="train the decoder of another run alone, for onsets as they are heard; its codes "
                           "stay, --free-steps and --flux say nothing")  # fmt: skip
        parser.add_argument("--steps", type=int, default=5000, help="training steps (%(default)s)")
        parser.add_argument("--free-steps", type=int, default=500,
                            help="of them, the first that are not quantised (%(default)s)")  # fmt: skip
        parser.add_argument("--batch", type=int, default=8, help="crops a step (%(default)s)")
        parser.add_argument("--crop-seconds", type=float, default=0.4, help="length of a crop (%(default)s)")
        parser.add_argument("--learning-rate", type=float, default=2e-3, help="at its highest (%(default)s)")
        parser.add_argument("--filters", type=int, default=8, help="channels of the first layer (%(default)s)")
        parser.add_argument("--hidden", type=int, default=64, help="channels of the latents (%(default)s)")
        parser.add_argument("--content", type=int, default=24,
                            help="of them, those by which the first codebook tells what sounds (%(default)s; 0: none, "
                            "it codes the waveform like the others)")  # fmt: skip
        parser.add_argument("--flux", type=float, default=0.0,
                            help="share of the gradient for steps of the spectrum, by which onsets are heard, beside "
                            "4 for the rest (%(default)s)")  # fmt: skip
        parser.add_argument("--seed", type=int, default=0, help="of weights, crops and restarts (%(default)s)")
        parser.add_argument("--recital-seed", type=int, default=TRAINING_SEED, help="of the clips (%(default)s)")
        parser.add_argument("--threads", type=int, default=1,
                            help="threads (%(default)s: convolutions this narrow gain little from more)")  # fmt: skip
    else:
        parser.add_argument("--codec", default="encodec_tiny", help="preset, folder or hub name (%(default)s)")
        parser.add_argument("--recital-seed", type=int, default=MEASURING_SEED, help="of the clips (%(default)s)")
        parser.add_argument("--json", metavar="FILE", help="also write the figures there")


def run(args: argparse.Namespace) -> int:
    """Runs the command that was asked for; 0, or :class:`UserError`."""
    if args.clips is not None and args.clips < 1:
        raise UserError(f"--clips must be at least 1, not {args.clips}")
    return _train(args) if args.command == "codec-train" else _measure(args)


def _train(args: argparse.Namespace) -> int:
    # Imported here: torch takes seconds, and --help should not.
    import torch

    from data_prep.codec.network import write_codec
    from data_prep.codec.sound import TrainingCrops, music_sound, recital_sound
    from data_prep.codec.train import FINISHING, Finisher, Recipe, Trainer, train

    tokens = args.crop_seconds * 50
    if tokens < 5 or abs(tokens - round(tokens)) > 1e-9:
        raise UserError(f"--crop-seconds must be at least 0.1 and a multiple of 0.02, not {args.crop_seconds:g}")
    recipe = Recipe(
        steps=args.steps, free_steps=args.free_steps, batch=args.batch, filters=args.filters, hidden=args.hidden,
        content=args.content, learning_rate=args.learning_rate, flux=args.flux, seed=args.seed,
        # A network that another run has trained has found the waveform.
        settled=0 if args.start else Recipe.settled,
    )  # fmt: skip
    if args.finish:
        recipe = replace(recipe, **FINISHING)
    if not 0 <= args.content < args.hidden:
        raise UserError(f"--content must be from 0 to less than --hidden ({args.hidden}), not {args.content}")
    if recipe.steps <= recipe.free_steps:
        raise UserError(f"--steps must be more than --free-steps, not {recipe.steps} and {recipe.free_steps}")
    points = min(recipe.kmeans_batches, recipe.free_steps) * recipe.batch * round(tokens)
    if points < recipe.entries and not args.finish:
        raise UserError(f"--free-steps, --batch and --crop-seconds give {points} latents to lay codebooks on; "
                        f"at least {recipe.entries} are needed")  # fmt: skip
    torch.set_num_threads(args.threads)
    sounds = music_sound(args.music, "train") if args.music else []
    sounds += recital_sound(args.recital_seed, args.clips or 100, tuple(kind for kind in SHARES if kind != "music"))
    crops = TrainingCrops(sounds, FINISHING_SHARES if args.finish else SHARES, args.seed, args.crop_seconds)
    trainer = (Finisher if args.finish else Trainer)(recipe, crops)
    train(trainer, args.work or os.path.join(args.out, "work"), args.start or args.finish or "")
    write_codec(trainer.network, trainer.codebooks.entries, args.out)
    print(f"wrote {args.out}; measure it: python -m data_prep codec-measure --codec {args.out}")
    return 0


def _measure(args: argparse.Namespace) -> int:
    from data_prep.codec.measure import load_model, measure_codec, table
    from data_prep.codec.sound import music_sound, recital_sound
    from data_prep.recital.score import INSTRUMENTS

    if args.json:
        check_output("--json", args.json)
    model = load_model(args.codec)
    sounds = recital_sound(args.recital_seed, args.clips or 40, INSTRUMENTS)
    sounds += music_sound(args.music, "held-out") if args.music else []
    figures = measure_codec(model, sounds)
    print(table(figures))
    if args.json:
        write_json(args.json, {"codec": args.codec, "recital_seed": args.recital_seed} | figures)
    return 0
