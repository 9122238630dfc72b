"""Command line of generation, both ways, for files or for all records of a split.

    python -m mvgen.generate music --checkpoint DIR --video FILE --out FILE.mp4|.wav
    python -m mvgen.generate video --checkpoint DIR --image FILE --audio FILE|FILE.mid --out FILE.mp4
    python -m mvgen.generate records --checkpoint DIR --records DIR --out DIR

The same seed gives the same file.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mvgen.errors import run_command, seed_in_range
from mvgen.evaluation.performances import perform_split
from mvgen.files import make_folder
from mvgen.inference.from_files import film_of_music, music_for_video
from mvgen.inference.options import (
    Prompt,
    add_features,
    add_filming,
    add_sampling,
    add_text,
    filming_of,
    sampling_of,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of both directions."""
    directions = parser.add_subparsers(dest="direction", required=True, metavar="music|video|records")
    music = directions.add_parser("music", help="a silent performance in, its music out")
    music.add_argument("--video", required=True, metavar="FILE", help="the performance; its own sound is not heard")
    music.add_argument(
        "--prompt-audio", metavar="FILE", help="the music's true beginning, to go on from: a sound file, or a video"
    )
    music.add_argument(
        "--stream", action="store_true", help="write the sound as it is made, into a .wav or, with --out -, to stdout"
    )
    add_text(music)
    add_features(music)
    video = directions.add_parser("video", help="an image and music in, the filmed performance out")
    video.add_argument(
        "--image", required=True, metavar="FILE", help="the first frame: an image, or a video to take it from"
    )
    video.add_argument(
        "--audio", required=True, metavar="FILE", help="the music: a sound file, a video with sound, or MIDI"
    )
    video.add_argument("--soundfont", default="", metavar="FILE", help="plays a MIDI file (.sf2, .sf3; TimGM6mb)")
    records = directions.add_parser(
        "records", help="both directions for every record of a split, to watch and to score"
    )
    records.add_argument("--records", required=True, metavar="DIR", help="a folder of records")
    records.add_argument("--split", default="test", help="which split (%(default)s)")
    records.add_argument("--originals", metavar="DIR", help="videos named by clip, whose sound generated pictures get")
    records.add_argument("--limit", type=int, default=0, metavar="N", help="at most so many records (all)")
    records.add_argument("--batch", type=int, default=16, metavar="N", help="clips generated together (%(default)s)")
    for direction in (music, records):
        add_sampling(direction)
    for direction in (video, records):
        add_filming(direction)
    for direction in (music, video, records):
        direction.add_argument(
            "--checkpoint", required=True, metavar="DIR", help="a training folder or one of its steps"
        )
        direction.add_argument(
            "--out", required=True, metavar="FILE", help="what to write (.mp4; music also .wav; records: a folder)"
        )
        direction.add_argument("--seed", type=int, default=0, help="the same seed gives the same file (%(default)s)")


def main(argv: list[str] | None = None) -> int:
    """Reads the arguments and generates."""
    parser = argparse.ArgumentParser(prog="python -m mvgen.generate", description="Generates music or video.")
    add_arguments(parser)
    given = parser.parse_args(argv)
    seed_in_range("--seed", given.seed)
    if given.direction == "music":
        music_for_video(
            given.checkpoint, given.video, given.out, sampling_of(given), seed=given.seed,
            text=Prompt(given.text, given.text_encoder, given.text_file), beginning=given.prompt_audio,
            stream=given.stream, encoder=given.semantic, landmarks=given.landmarks,
        )  # fmt: skip
    elif given.direction == "video":
        film_of_music(given.checkpoint, given.image, given.audio, given.out, filming_of(given), seed=given.seed,
                      soundfont=given.soundfont)  # fmt: skip
    else:
        make_folder("--out", given.out)
        perform_split(
            given.checkpoint, given.records, Path(given.out), sampling_of(given), filming_of(given), split=given.split,
            seed=given.seed, batch=given.batch, originals=given.originals, limit=given.limit,
        )  # fmt: skip
    if given.out != "-":
        print(given.out)
    return 0


if __name__ == "__main__":
    run_command(main)
