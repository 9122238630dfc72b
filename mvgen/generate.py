"""Command line of generation, both ways, for files or for all records of a split.

    python -m mvgen.generate music [--checkpoint DIR] --video FILE --out FILE.mp4|.wav|.mid [--notes FILE.mid] [--mix M]
    python -m mvgen.generate video [--checkpoint DIR] --image FILE --audio FILE|FILE.mid --out FILE.mp4
    python -m mvgen.generate records [--checkpoint DIR] --records DIR --out DIR

Music is written onto its own video, whose picture is copied as it is; ``--out FILE.mid`` writes the notes that are seen
in it instead. The same seed gives the same file.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import asdict
from pathlib import Path

import mvgen
from mvgen.errors import CommandParser, UserError, in_range, run_command, seed_in_range
from mvgen.evaluation.performances import perform_split
from mvgen.files import check_output, make_folder
from mvgen.inference.film import check_original
from mvgen.inference.following import STRENGTH
from mvgen.inference.mastering import LOUDNESS
from mvgen.inference.music import ENDINGS
from mvgen.inference.options import (
    Prompt,
    add_checkpoint,
    add_features,
    add_filming,
    add_mastering,
    add_sampling,
    add_text,
    filming_of,
    mastering_of,
    sampling_of,
)
from mvgen.media.midi import SUFFIXES, is_midi

MOST_TOGETHER = 4096
"""Clips of `--batch`."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of both directions."""
    directions = parser.add_subparsers(dest="direction", required=True, metavar="music|video|records")
    music = directions.add_parser("music", help="a silent performance in, its music out")
    music.add_argument("--video", required=True, metavar="FILE", help="the performance; its own sound is not heard")
    music.add_argument(
        "--prompt-audio", metavar="FILE", help="the music's true beginning, to go on from: a sound file, or a video"
    )
    music.add_argument(
        "--notes", metavar="FILE.mid", help="notes that the music follows where the picture leaves it open"
    )
    music.add_argument(
        "--follow-notes", type=float, default=STRENGTH, metavar="N", help="how closely, 0: not at all (%(default)s)"
    )
    music.add_argument(
        "--stream", action="store_true", help="write the sound as it is made, into a .wav or, with --out -, to stdout"
    )
    music.add_argument(
        "--mix", type=float, default=0.0, metavar="M", help="this much of the video's own sound, 0 to 1 (%(default)s)"
    )
    add_mastering(music, LOUDNESS)
    add_text(music)
    add_features(music)
    video = directions.add_parser("video", help="an image and music in, the filmed performance out")
    video.add_argument(
        "--image", required=True, metavar="FILE", help="the first frame: an image, or a video to take it from"
    )
    video.add_argument(
        "--audio", required=True, metavar="FILE", help="the music: a sound file, a video with sound, or MIDI"
    )
    add_mastering(video, None)
    for direction in (music, video):
        direction.add_argument(
            "--soundfont", default="", metavar="FILE", help="plays a MIDI file (.sf2, .sf3; TimGM6mb)"
        )
        direction.add_argument(
            "--compare", metavar="FILE.mp4", help="also write original and result side by side, with waves and onsets"
        )
        direction.add_argument("--seconds", type=float, metavar="S", help="only so much from the start (all)")
    records = directions.add_parser(
        "records", help="both directions for every record of a split, to watch and to score"
    )
    records.add_argument("--records", required=True, metavar="DIR", help="a folder of records")
    records.add_argument("--split", default="test", help="which split (%(default)s)")
    records.add_argument("--originals", metavar="DIR", help="videos named by clip, whose sound generated pictures get")
    records.add_argument("--no-film", action="store_true", help="music and notes alone; filming takes longest")
    records.add_argument("--limit", type=int, default=0, metavar="N", help="at most so many records (all)")
    records.add_argument("--batch", type=int, default=16, metavar="N", help="clips generated together (%(default)s)")
    for direction in (music, records):
        add_sampling(direction)
    for direction in (video, records):
        add_filming(direction)
    for direction in (music, video, records):
        add_checkpoint(direction)
        direction.add_argument(
            "--out",
            required=True,
            metavar="FILE",
            help="what to write (.mp4; music also .wav, or .mid for the notes; records: a folder)",
        )
        direction.add_argument("--seed", type=int, default=0, help="the same seed gives the same file (%(default)s)")


def main(argv: list[str] | None = None) -> int:
    """Reads the arguments and generates."""
    parser = CommandParser(prog="python -m mvgen.generate", description="Generates music or video.")
    add_arguments(parser)
    given = parser.parse_args(argv)
    seed_in_range("--seed", given.seed)
    if given.direction == "music":
        _music(given)
    elif given.direction == "video":
        _film(given)
    else:
        in_range("--limit", given.limit, 0, math.inf)
        in_range("--batch", given.batch, 1, MOST_TOGETHER)
        make_folder("--out", given.out)
        perform_split(
            given.checkpoint, given.records, Path(given.out), sampling_of(given), filming_of(given), split=given.split,
            seed=given.seed, batch=given.batch, originals=given.originals, limit=given.limit, film=not given.no_film,
        )  # fmt: skip
    if given.out != "-":
        print(given.out)
    return 0


def _music(given: argparse.Namespace) -> None:
    sampling, inputs = sampling_of(given), [given.video, given.prompt_audio or "", given.notes or ""]
    if is_midi(given.out):
        _notes(given, inputs)
        return
    if not (given.stream and given.out == "-"):
        check_output("--out", given.out, (".wav",) if given.stream else (*ENDINGS, SUFFIXES[0]), inputs)
    _check_compare(given, inputs)
    if given.stream and (given.compare or given.mix):
        raise UserError("--stream goes with neither --mix nor --compare: how loud all of it will be is not known yet")
    mastering = mastering_of(given)
    model = mvgen.load(given.checkpoint, semantic=given.semantic, landmarks=given.landmarks)
    prompt = Prompt(given.text, given.text_encoder, given.text_file)
    told = {
        "beginning": given.prompt_audio, "notes": given.notes, "follow_notes": given.follow_notes,
        "soundfont": given.soundfont,
    }  # fmt: skip
    if given.stream:
        model.stream_music(given.video, prompt, given.seconds, given.seed, sampling=sampling, **told).save(given.out)
        return
    mastering.check(given.video)
    music = model.video_to_music(given.video, prompt, given.seconds, given.seed, sampling=sampling, **told)
    music.save(given.out, **asdict(mastering))
    if given.compare:
        music.compare(given.compare)


def _notes(given: argparse.Namespace, inputs: list[str]) -> None:
    check_output("--out", given.out, SUFFIXES, inputs)
    options = ("stream", "compare", "mix", "prompt_audio", "notes", "text", "text_file")
    for option in options:
        if getattr(given, option):
            raise UserError(f"--{option.replace('_', '-')} goes with sound, not with --out {given.out}")
    model = mvgen.load(given.checkpoint, semantic=given.semantic, landmarks=given.landmarks)
    model.video_to_notes(given.video, given.seconds).save(given.out)


def _check_compare(given: argparse.Namespace, inputs: list[str]) -> None:
    if given.compare:
        check_output("--compare", given.compare, (".mp4",), inputs)
        if Path(given.compare).resolve() == Path(given.out).resolve():
            raise UserError(f"--compare {given.compare} is also --out; name another file")


def _film(given: argparse.Namespace) -> None:
    filming, mastering = filming_of(given), mastering_of(given)
    check_output("--out", given.out, (".mp4",), [given.image, given.audio])
    _check_compare(given, [given.image, given.audio])
    if given.compare:
        check_original(given.audio)
    film = mvgen.load(given.checkpoint).music_to_video(
        given.image, given.audio, given.seconds, given.seed, filming=filming, soundfont=given.soundfont
    )
    film.save(given.out, loudness=mastering.loudness, rate=mastering.rate)
    if given.compare:
        film.compare(given.compare)
    film.warn()


if __name__ == "__main__":
    run_command(main)
