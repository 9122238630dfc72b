"""A video in one standard form: MP4, H.264 yuv420p at constant 25 frames a second, AAC at 44.1 kHz.

A product for people and for evaluation. Records are not made from it: their frames and tokens come straight from the
source, decoded and resampled once, and a lossy copy in between would only blur both.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import ffmpeg
import imageio_ffmpeg

from data_prep.extract.cache import DISK_ERRORS
from mvgen.clock import FRAME_RATE, STANDARD_SAMPLE_RATE, frame_start
from mvgen.errors import UserError
from mvgen.media.container import OPEN_OPTIONS
from mvgen.media.probe import chosen_streams, origin, probe

SECONDS_ALLOWED = 30.0
"""Per second of video (and at least a minute), before ffmpeg is taken to hang."""
_running: set[subprocess.Popen[bytes]] = set()


def standardise(
    source: str | os.PathLike[str], target: Path, frames: int, quality: int = 20, height: int = 360
) -> None:
    """Writes the standard form of the first ``frames`` frames of a video, on the same clock as records.

    Frame i shows what is on display at the middle of its 1/25 s (:func:`mvgen.clock.source_frames`); t = 0 is where the
    picture starts; sound missing there is silence; both streams end together.

    Args:
        target: a file ending in .mp4, written in place (the caller moves it).
        frames: whole frames that the source's picture and sound cover.
        quality: x264's constant rate factor.
        height: of the copy at most, in pixels; smaller pictures keep their size.

    Raises:
        UserError: picture or sound is missing, ffmpeg cannot read the source, or takes far too long.
    """
    seconds = float(frame_start(frames))
    picture_number, sound_number = chosen_streams(source)
    # Microseconds for both streams. t = 0 is the first picture's time, on ffmpeg's timeline as on ours; only where a
    # container knows no presentation times does ffmpeg count the decoder's delay, which STARTPTS takes off again. One
    # microsecond more is taken off the picture: ffmpeg rounds a tie (a source frame that starts in the middle of ours)
    # up, mvgen's clock rounds it down.
    begin = round(origin(source) * 1_000_000)
    if picture_number is None or sound_number is None:
        raise UserError(f"{os.fspath(source)} has no {'picture' if picture_number is None else 'sound'}")
    shrunk = f"min(1,{height}/ih)"
    # -copyts: keep the container's own timeline instead of moving it to where its earliest stream starts.
    media = ffmpeg.input("file:" + os.path.abspath(source), copyts=None, threads=1, **OPEN_OPTIONS)
    picture = (
        media[str(picture_number)]
        .filter("settb", "1/1000000")
        .filter("setpts", "PTS-STARTPTS-1")
        .filter("fps", fps=FRAME_RATE, start_time=0, round="near")
        .filter("tpad", stop=-1, stop_mode="clone")
        .filter("scale", f"trunc(iw*sar*{shrunk}/2)*2", f"trunc(ih*{shrunk}/2)*2", flags="area")
        .filter("setsar", 1)
    )
    sound = (
        media[str(sound_number)]
        .filter("asettb", "1/1000000")
        .filter("asetpts", f"PTS-{begin}")
        # At the same rate, "async=1" only fills gaps with silence and drops what overlaps or comes before 0.
        .filter("aresample", **{"async": 1, "first_pts": 0, "min_hard_comp": 0.002})
        .filter("aformat", channel_layouts="mono" if probe(source).channels == 1 else "stereo")
        .filter("aresample", STANDARD_SAMPLE_RATE, resampler="soxr", precision=28)
        .filter("apad")
        .filter("atrim", end=seconds)
    )
    output = ffmpeg.output(
        picture,
        sound,
        os.path.abspath(target),
        **{
            "frames:v": frames,
            "t": seconds,
            "c:v": "libx264",
            # Half the work of superfast for twice the bytes; and no macroblock tree (mvgen.media.write.REPRODUCIBLE).
            "preset": "ultrafast",
            "crf": quality,
            "pix_fmt": "yuv420p",
            "threads": 1,  # clips are converted side by side, and x264's result depends on the number of threads
            "c:a": "aac",
            "aac_coder": "fast",  # at this rate no worse to hear than the default, in half the time
            "b:a": "192k",
            "map_metadata": -1,
            "fflags": "+bitexact",
            "flags": "+bitexact",
            "movflags": "+faststart",
            "loglevel": "error",
        },
    ).global_args("-nostdin", "-hide_banner")
    command = ffmpeg.compile(output, cmd=imageio_ffmpeg.get_ffmpeg_exe(), overwrite_output=True)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        _running.add(process)
        try:
            _, told = process.communicate(timeout=max(60.0, SECONDS_ALLOWED * seconds))
        except subprocess.TimeoutExpired:
            process.kill()
            raise UserError(f"{os.fspath(source)}: ffmpeg took too long to standardise it") from None
        except BaseException:
            process.kill()
            raise
        finally:
            _running.discard(process)
    if process.returncode:
        text = told.decode(errors="replace").strip()
        for number in DISK_ERRORS:
            if os.strerror(number) in text:
                raise OSError(number, os.strerror(number), os.fspath(target))
        reason = (text.splitlines() or [f"it ends with status {process.returncode}"])[0]
        raise UserError(f"{os.fspath(source)}: ffmpeg cannot standardise it: {reason}")


def stop_ffmpeg() -> None:
    """Ends every ffmpeg that this process waits for: it would go on writing when this process has gone."""
    for process in list(_running):
        process.kill()
