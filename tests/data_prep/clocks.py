"""Videos of every kind in which a flash and a beep coincide every second, and how far each is off after conversion.

    PYTHONPATH=. python tests/data_prep/clocks.py [SECONDS]

makes one of each (of a minute by default), converts them and prints the table of docs/clock.md.
"""

from __future__ import annotations

import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np

from data_prep.convert.command import BASE_CONFIG, convert, load_config
from data_prep.extract.tokens import codec_location
from mvgen.clock import CODEC_SAMPLE_RATE, FRAME_RATE, STANDARD_SAMPLE_RATE
from mvgen.data.records import RecordSource
from mvgen.media import read_picture, read_sound
from tests.mvgen.media.flashes import beeps_in, constant_times, flashes_in, write_flashes

Make = Callable[[Path, float], list[Fraction]]
"""Writes a video of so many seconds; returns when flash and beep begin, counted from the first frame."""

RATES = (
    Fraction(43, 2), Fraction(24000, 1001), Fraction(24), Fraction(123, 5), Fraction(25), Fraction(30000, 1001),
    Fraction(30), Fraction(50), Fraction(60000, 1001), Fraction(60),
)  # fmt: skip


def ffmpeg(*arguments: object) -> None:
    """Runs ffmpeg."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", *map(str, arguments)]
    subprocess.run(command, check=True)


def plain(rate: Fraction = Fraction(25), **options: Any) -> Make:
    """A constant frame rate."""
    return lambda path, seconds: write_flashes(path, constant_times(rate, seconds), **options)


def variable(path: Path, seconds: float) -> list[Fraction]:
    """Every frame lasts 10 to 100 ms, at random."""
    gaps = np.random.default_rng(0).integers(900, 9000, int(seconds * 40))
    ticks = np.concatenate([[0], np.cumsum(gaps)])
    times = [Fraction(int(tick), 90_000) for tick in ticks if tick < seconds * 90_000]
    return write_flashes(path, times)


def lengths(more: float) -> Make:
    """Sound that ends so many seconds after (or before) the picture."""
    return lambda path, seconds: write_flashes(path, constant_times(Fraction(25), seconds), sound_end=seconds + more)


def remade(*arguments: object, before: tuple[object, ...] = (), ending: str = ".mkv", **options: Any) -> Make:
    """A video that ffmpeg has made out of another; ``before``: arguments that go before ``-i``."""

    def make(path: Path, seconds: float) -> list[Fraction]:
        plain_path = path.with_name(f"plain-{path.stem}{ending}")
        options.setdefault("codec", "pcm_s16le")
        moments = plain(**options)(plain_path, seconds)
        ffmpeg(*before, "-i", plain_path, *arguments, path)
        plain_path.unlink()
        return moments

    return make


def trimmed(path: Path, seconds: float) -> list[Fraction]:
    """As phones trim: the first 1.2 s are still in the file, behind an edit list."""
    whole = path.with_name(f"whole-{path.name}")
    moments = write_flashes(whole, constant_times(Fraction(30), seconds + 1.2), options={"g": "90", "crf": "20"})
    ffmpeg("-ss", "1.2", "-i", whole, "-c", "copy", path)
    whole.unlink()
    return [moment - Fraction(6, 5) for moment in moments if moment > 1.2]


def stated(factor: float) -> Make:
    """An MP4 all of whose headers state a length wrong by this factor (movie, tracks, media)."""

    def make(path: Path, seconds: float) -> list[Fraction]:
        moments = plain()(path, seconds)
        data = bytearray(path.read_bytes())
        for name, place in ((b"mvhd", 20), (b"tkhd", 24), (b"mdhd", 20)):
            at = data.find(name)
            while at >= 0:
                (length,) = struct.unpack_from(">I", data, at + place)
                struct.pack_into(">I", data, at + place, min(2**32 - 2, int(length * factor)))
                at = data.find(name, at + 4)
        path.write_bytes(data)
        return moments

    return make


def stated_matroska(path: Path, seconds: float) -> list[Fraction]:
    """A Matroska file whose header states a third of its length."""
    moments = plain(codec="pcm_s16le")(path, seconds)
    data = bytearray(path.read_bytes())
    at = data.index(b"\x44\x89\x88") + 3
    struct.pack_into(">d", data, at, struct.unpack_from(">d", data, at)[0] / 3)
    path.write_bytes(data)
    return moments


def with_cover(path: Path, seconds: float) -> list[Fraction]:
    """The cover picture is the first stream of the file."""
    film, cover = path.with_name("film.mp4"), path.with_name("cover.png")
    moments = plain()(film, seconds)
    ffmpeg("-f", "lavfi", "-i", "color=white:s=300x300", "-frames:v", 1, cover)
    ffmpeg("-i", cover, "-i", film, "-map", 0, "-map", 1, "-c", "copy", "-disposition:v:0", "attached_pic", path)
    film.unlink(), cover.unlink()
    return moments


def two_sounds(path: Path, seconds: float) -> list[Fraction]:
    """The first sound is silence; the second is marked as the default."""
    film = path.with_name("film.mkv")
    moments = plain(codec="pcm_s16le")(film, seconds)
    silence = ("-f", "lavfi", "-t", seconds, "-i", "anullsrc=r=44100:cl=mono")
    chosen = ("-map", "1:v", "-map", "0:a", "-map", "1:a", "-c:v", "copy", "-c:a", "pcm_s16le")
    ffmpeg(*silence, "-i", film, *chosen, "-disposition:a:0", "0", "-disposition:a:1", "default", path)
    film.unlink()
    return moments


NTSC = Fraction(30000, 1001)
COPY = ("-c", "copy")
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac")

CASES: dict[str, tuple[str, Make]] = {
    **{f"{float(rate):.6g} fps": (".mp4", plain(rate)) for rate in RATES},
    "variable rate": (".mp4", variable),
    "sound 0.5 s late (edit list)": (".mp4", plain(NTSC, sound_start=0.5)),
    "sound 0.5 s early (edit list)": (".mp4", plain(NTSC, sound_start=-0.5)),
    "sound 0.5 s late, Matroska": (".mkv", plain(NTSC, sound_start=0.5)),
    "picture starts at 0.7 s": (".mp4", plain(picture_start=Fraction(7, 10))),
    "trimmed by an edit list": (".mp4", trimmed),
    "sound 1.3 s longer": (".mp4", lengths(1.3)),
    "sound 1.3 s shorter": (".mp4", lengths(-1.3)),
    "stated length ten times": (".mp4", stated(10)),
    "stated length a tenth": (".mp4", stated(0.1)),
    "stated length 13 hours": (".mp4", stated(10_000)),
    "stated length a third, Matroska": (".mkv", stated_matroska),
    "8 kHz PCM": (".mkv", plain(sample_rate=8_000, codec="pcm_s16le")),
    "8 kHz AAC": (".mp4", plain(sample_rate=8_000)),
    "16 kHz MP3": (".mp4", plain(Fraction(24), sample_rate=16_000, codec="libmp3lame")),
    "22.05 kHz AAC stereo": (".mp4", plain(NTSC, sample_rate=22_050, channels=2)),
    "44.1 kHz MP3 stereo": (".mp4", plain(channels=2, codec="libmp3lame")),
    "48 kHz AAC 5.1": (".mov", plain(Fraction(60), sample_rate=48_000, channels=6)),
    "96 kHz PCM stereo": (".mov", plain(sample_rate=96_000, channels=2, codec="pcm_s16le")),
    "96 kHz AAC 5.1": (".mp4", plain(sample_rate=96_000, channels=6)),
    "MPEG-TS": (".ts", plain(NTSC)),
    "AVI, MPEG-4 with B-frames": (".avi", remade("-c:v", "mpeg4", "-bf", 2, "-c:a", "pcm_s16le")),
    "AVI, H.264 with B-frames": (".avi", remade("-c:v", "libx264", "-bf", 3, "-c:a", "pcm_s16le")),
    "FLV": (".flv", plain(NTSC)),
    "WebM, VP8, Opus": (".webm", remade("-c:v", "libvpx", "-cpu-used", 8, "-c:a", "libopus", sample_rate=48_000)),
    "fragmented MP4": (".mp4", remade(*H264, "-movflags", "frag_keyframe+delay_moov")),
    "H.264 with B-frames": (".mp4", plain(NTSC, options={"crf": "20", "preset": "fast", "bf": "3"})),
    "MPEG-2 program stream": (".mpg", remade("-c:v", "mpeg2video", "-q:v", 4, "-c:a", "mp2")),
    "rotated phone video": (".mp4", remade(*COPY, before=("-display_rotation", 90), ending=".mp4", codec="aac")),
    "portrait": (".mp4", plain(Fraction(30), size=(36, 64))),
    "odd size": (".mp4", plain(size=(65, 49), pixels="yuv444p")),
    "10 bit": (".mp4", plain(pixels="yuv420p10le")),
    "interlaced": (".mp4", remade(*H264, "-flags", "+ildct+ilme", "-x264opts", "tff=1")),
    "two sound streams": (".mkv", two_sounds),
    "cover art first": (".mp4", with_cover),
}  # fmt: skip
"""What the video is: its ending and its maker."""


@dataclass(frozen=True)
class Deviation:
    """How far one clip is off, all in milliseconds.

    Attributes:
        flashes: how many there were; all were found, in the records and in the standardised video.
        flash: the worst of them in the records, from its true time.
        beep: the worst beep in the records' tokens (decoded), and ``heard``: in what the tokens are made from.
        standard: the worst flash and the worst beep in the standardised video.
        offset: mean of (flash in records - beep in what its tokens are made from), zero in the source;
            ``rounding``: what of it comes from rounding each flash to the nearest 1/25 s, from its true time alone.
        drift: of (flash, less its rounding, - beep) over a minute, by least squares.
    """

    flashes: int
    flash: float
    beep: float
    heard: float
    standard: tuple[float, float]
    offset: float
    rounding: float
    drift: float


@cache
def _codec() -> Any:
    from transformers import EncodecModel

    return EncodecModel.from_pretrained(codec_location("encodec_tiny")).eval()


def decoded(tokens: np.ndarray) -> np.ndarray:
    """Sound of int ``[2T, K]`` codes, float32 ``[n]`` at 32 kHz."""
    import torch

    codes = torch.from_numpy(tokens.T.astype(np.int64))[None, None]
    with torch.inference_mode():
        return _codec().decode(codes, [None]).audio_values[0, 0].numpy()


def _worst(found: np.ndarray, true: np.ndarray) -> float:
    assert len(found) == len(true), f"{len(found)} found, not {len(true)}: {found} {true}"
    return 1000 * float(np.abs(found - true).max())


def make(folder: Path, names: list[str], seconds: float) -> dict[str, list[Fraction]]:
    """Writes the videos; returns the moments of each by its clip id."""
    folder.mkdir(parents=True)
    made = {}
    for number, name in enumerate(names):
        ending, maker = CASES[name]
        made[f"{number:02d}"] = maker(folder / f"{number:02d}{ending}", seconds)
    return made


def measure(place: Path, names: list[str], seconds: float, workers: int = 1) -> dict[str, Deviation]:
    """Makes and converts the named cases, and measures each.

    Raises:
        AssertionError: a flash or a beep is missing, or there is one too many.
    """
    moments = make(place / "in", names, seconds)
    changes = [("frame_size", "(16, 16)"), ("flow_size", "(8, 8)"), ("limits.max_seconds", "1000")]
    changes += [("keep_standardised", "True")]
    config = load_config(str(BASE_CONFIG), changes)
    convert(str(place / "in"), str(place / "out"), config, str(place / "cache"), workers)
    records: dict[str, list[Any]] = {clip: [] for clip in moments}
    for split in ("train", "test"):
        source = RecordSource(place / "out", split)
        for number in range(len(source)):
            record = source[number]
            records[record["source_id"]].append(record)
    return {
        name: _deviation(place, clip, sorted(records[clip], key=lambda record: record["start_seconds"]), moments[clip])
        for name, clip in zip(names, moments, strict=True)
    }


def _deviation(place: Path, clip: str, records: list[Any], moments: list[Fraction]) -> Deviation:
    frames = np.concatenate([record["frames"] for record in records])
    true = np.array([float(moment) for moment in moments])
    # Flashes and beeps last 0.1 s: what ends within them is left out.
    true = true[true + 0.15 < len(frames) / FRAME_RATE]
    within = len(frames) / FRAME_RATE - 0.12
    flashes = flashes_in(frames)
    sound = np.concatenate([decoded(record["tokens"]) for record in records])
    assert len(sound) == len(frames) * CODEC_SAMPLE_RATE // FRAME_RATE
    beeps = beeps_in(sound, CODEC_SAMPLE_RATE, 0.5 * float(np.quantile(np.abs(sound), 0.999)))
    (path,) = (place / "in").glob(f"{clip}.*")
    heard = beeps_in(read_sound(path, CODEC_SAMPLE_RATE, seconds=len(frames) / FRAME_RATE), CODEC_SAMPLE_RATE)
    standard = place / "out" / "clips" / f"{clip}.mp4"
    shown = flashes_in(read_picture(standard, (16, 16)))
    sounded = beeps_in(read_sound(standard, STANDARD_SAMPLE_RATE), STANDARD_SAMPLE_RATE)
    flashes, beeps, heard, shown, sounded = (each[each < within] for each in (flashes, beeps, heard, shown, sounded))
    flash, beep, sound_read = _worst(flashes, true), _worst(beeps, true), _worst(heard, true)
    # Where the frame begins on which each flash must appear: the nearest, of two equally near ones the earlier.
    nearest = np.ceil(true * FRAME_RATE - 0.5 - 1e-4) / FRAME_RATE
    rounding = nearest - true
    offset = flashes - heard
    drift = float(np.polyfit(true, offset - rounding, 1)[0]) * 60 if len(true) > 1 else 0.0
    return Deviation(
        flashes=len(true),
        flash=flash,
        beep=beep,
        heard=sound_read,
        standard=(_worst(shown, true), _worst(sounded, true)),
        offset=1000 * float(np.mean(offset)),
        rounding=1000 * float(np.mean(rounding)),
        drift=1000 * drift,
    )


def table(found: dict[str, Deviation]) -> str:
    """Markdown."""
    lines = [
        "| source | flashes | worst flash | worst beep in the sound read | worst beep in the decoded tokens "
        "| standardised: flash, beep | mean offset | of it rounding | drift a minute |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, one in found.items():
        numbers = (one.flash, one.heard, one.beep, one.standard, one.offset, one.rounding, one.drift)
        told = [", ".join(f"{part:.1f}" for part in n) if isinstance(n, tuple) else f"{n:.1f}" for n in numbers]
        lines.append(f"| {name} | {one.flashes} | {' | '.join(told)} |".replace("-0.0", "0.0"))
    return "\n".join(lines)


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    with tempfile.TemporaryDirectory() as place:
        print(table(measure(Path(place) / "clock", list(CASES), seconds)))


if __name__ == "__main__":
    main()
