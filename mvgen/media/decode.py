"""Decoding that goes on after an error: what one damaged packet takes away is its own moment, not the rest of the file.

Also that an empty packet repeats the picture (Theora, and recorders that drop frames), and that stamps that start anew
are moved (:mod:`mvgen.media.timeline`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

import av
import av.container

from mvgen.clock import FRAME_RATE
from mvgen.errors import UserError
from mvgen.media.container import DECODING_TIMES_ONLY, Stream, explain, stream_start, what
from mvgen.media.notes import note
from mvgen.media.timeline import CLOCK, Course, stamped

MOST_UNTIMED = 32
"""Frames without a time at the start of a file, before they are simply counted from 0."""
MOST_TOLD = 3
"""Stretches of a file that a note names."""
LEFT_OUT = Fraction(1, 100)
"""Seconds of sound, at least, that a decoder left out."""
NEAR = Fraction(1, 10)
"""Seconds round a gap between packets within which decoders may leave out more."""
LATELY = 64
"""Gaps between packets that are remembered: decoders lag behind by a few packets."""
COUNTED = ("mpegts", "mpeg")
"""Demuxers that notice by their packets' numbers that some are missing from the midst of a sound."""
CHECKED = ("flac", "ac3", "eac3")
"""Codings of sound with a check sum in each packet, which decoders look at only if they are told to."""

Frame = av.VideoFrame | av.AudioFrame


class _Stretches:
    """Stretches of a stream's time, those that touch each other as one."""

    def __init__(self) -> None:
        self.count = 0
        self._found: list[tuple[Fraction, Fraction]] = []

    def add(self, begin: Fraction | None, seconds: Fraction) -> None:
        """One more, at a moment on the container's timeline if that is known."""
        self.count += 1
        if begin is None:
            return
        if self._found and begin <= self._found[-1][1] + Fraction(1, 100):
            self._found[-1] = self._found[-1][0], max(self._found[-1][1], begin + seconds)
        else:
            self._found.append((begin, begin + seconds))

    def told(self, origin: Fraction) -> str:
        """In words, " at ..."; nothing where no moment is known."""
        first = ", ".join(
            f"{max(0.0, float(begin - origin)):.2f} to {max(0.0, float(end - origin)):.2f} s"
            for begin, end in self._found[:MOST_TOLD]
        )
        more = f" and {len(self._found) - MOST_TOLD} stretches more" if len(self._found) > MOST_TOLD else ""
        return f" at {first}{more}" if first else ""


class Losses:
    """What of a stream could not be decoded, or only with damage, and when.

    Args:
        name: of the file.
        stream: the one that is decoded.
    """

    def __init__(self, name: str, stream: Stream):
        self._name, self._what = name, what(stream)
        self._picture = isinstance(stream, av.VideoStream)
        self.packets = 0
        self.reason = ""
        self._lost, self._mended = _Stretches(), _Stretches()

    def add(self, begin: Fraction | None, seconds: Fraction, reason: str) -> None:
        """A packet that should be presented at ``begin``, on the container's timeline, is lost."""
        self.reason = self.reason or reason
        self._lost.add(begin, seconds)

    def mended(self, begin: Fraction | None, seconds: Fraction) -> None:
        """What is presented at ``begin`` is damaged, and goes on as its decoder guesses."""
        self._mended.add(begin, seconds)

    def nothing(self) -> UserError:
        """What to raise where not one packet could be decoded."""
        reason = self.reason or "it holds none"
        return UserError(f"{self._name}: nothing of its {self._what} can be decoded: {reason}")

    def tell(self, origin: Fraction) -> None:
        """Notes what was lost or mended, in seconds from ``origin``."""
        if self._lost.count:
            instead = "the picture before stays" if self._picture else "there is silence"
            lost = f"{self._lost.count} of {self.packets} packets of its {self._what} cannot be decoded ({self.reason})"
            note(f"{self._name}: {lost}" + (f"; {instead}{at}" if (at := self._lost.told(origin)) else ""))
        if count := self._mended.count:
            where = f"{count} {'frame' if self._picture else 'packet'}{'s' if count > 1 else ''}"
            where += ", and in what is made from them: shown" if self._picture else ": heard"
            note(f"{self._name}: its {self._what} is damaged in {where} as its decoder mends it"
                 f"{self._mended.told(origin)}")  # fmt: skip


class _LeftOut:
    """Watches for sound that packets hold and that a decoder leaves out without an error."""

    def __init__(self, losses: Losses):
        self._losses = losses
        self._heard: Fraction | None = None  # end of what is decoded
        self._held: Fraction | None = None  # end of what packets hold
        self._known: list[tuple[Fraction, Fraction]] = []  # gaps that are told elsewhere

    def packet(self, begin: Fraction | None, seconds: Fraction, lost: bool = False) -> None:
        """A packet, and whether it is lost."""
        if begin is not None and self._held is not None and begin - self._held > LEFT_OUT:
            self._known.append((self._held, begin))
        if begin is not None and lost:
            self._known.append((begin, begin + seconds))
        self._held = None if begin is None else begin + seconds

    def frame(self, begin: Fraction | None, seconds: Fraction) -> None:
        """A decoded block of sound."""
        before = self._heard
        if begin is not None and before is not None and begin - before > LEFT_OUT:
            if not any(first - NEAR < begin and before < last + NEAR for first, last in self._known[-LATELY:]):
                self._losses.add(before, begin - before, "left out by its decoder")
        begin = before if begin is None else begin
        self._heard = None if begin is None else begin + seconds


def presented(frame: Frame) -> Fraction | None:
    """When a decoded frame is presented on the container's timeline, in exact seconds; None where it does not say."""
    return None if frame.pts is None or frame.time_base is None else Fraction(frame.pts) * frame.time_base


def decoded(
    container: av.container.InputContainer, stream: Stream, course: Course, losses: Losses
) -> Iterator[Frame | Fraction]:
    """Decodes a stream: its frames, their stamps on the timeline, in the order of decoding.

    Instead of a frame comes a moment, in seconds, for a packet that says that what is before goes on.
    """
    context = stream.codec_context
    if context is None:
        raise losses.nothing()
    if context.name in CHECKED:
        context.options = {**context.options, "err_detect": "crccheck+explode"}
    counted = container.format.name in COUNTED
    left_out = _LeftOut(losses) if isinstance(stream, av.AudioStream) else None
    step = Fraction(course.step).limit_denominator(CLOCK)

    def checked(frames: Sequence[Frame]) -> Iterator[Frame]:
        for frame in frames:
            if frame.is_corrupt:
                losses.mended(presented(frame), step)
            if left_out is not None and isinstance(frame, av.AudioFrame):
                left_out.frame(presented(frame), Fraction(frame.samples, frame.sample_rate or 1))
            yield frame

    for ordinal, packet in enumerate(stamped(container, [stream])):
        losses.packets += 1
        tick = packet.time_base or Fraction(0)
        if ordinal in course.strays:
            packet.pts = packet.dts = None
        stamp = packet.pts if packet.pts is not None else packet.dts
        moment: Fraction | None = None if stamp is None else stamp * tick
        if moment is not None and tick and (ticks := round(course.shift(ordinal, float(moment)) / float(tick))):
            packet.pts = None if packet.pts is None else packet.pts + ticks
            packet.dts = None if packet.dts is None else packet.dts + ticks
            moment += ticks * tick
        if not packet.size:
            if moment is not None:
                yield moment
            continue
        seconds = (packet.duration or 0) * tick or step
        try:
            frames = context.decode(packet)
        except av.error.FFmpegError as error:
            # Some decoders answer damage with -1, which reads as an error of the system.
            damage = "Invalid data found when processing input"
            losses.add(moment, seconds, damage if isinstance(error, av.error.PermissionError) else explain(error))
            if left_out is not None:
                left_out.packet(moment, seconds, lost=True)
            continue
        if left_out is not None:
            # A length that reaches beyond what a packet holds is a gap of the container's.
            left_out.packet(moment, min(seconds, step) if step else seconds)
            if counted and packet.is_corrupt and not course.near_seam(ordinal):
                losses.mended(moment, seconds)
        yield from checked(frames)
    end = av.Packet()
    end.stream = stream
    end.time_base = stream.time_base or Fraction(1, FRAME_RATE)
    try:
        yield from checked(context.decode(end))
    except av.error.FFmpegError as error:
        losses.add(None, Fraction(0), explain(error))


def timed_pictures(
    container: av.container.InputContainer, stream: av.VideoStream, course: Course, losses: Losses
) -> Iterator[tuple[Fraction, av.VideoFrame]]:
    """Decodes the picture: (when it is presented on the timeline, frame), in the order of decoding.

    A repeated picture is the same frame once more. In containers of
    :data:`mvgen.media.container.DECODING_TIMES_ONLY` frames leave the decoder as they follow each other on display, and
    the first of them is on display from the stream's start.
    A frame that says nothing, as in broken files, follows its predecessor by the stream's average interval, and the
    first ones precede the first that says something.
    """
    step = 1 / Fraction(stream.average_rate or FRAME_RATE)
    by_decoding = container.format.name in DECODING_TIMES_ONLY
    untimed: list[av.VideoFrame] = []
    last: Fraction | None = None
    delay: Fraction | None = None
    frame: av.VideoFrame | None = None
    for item in decoded(container, stream, course, losses):
        if isinstance(item, Fraction):
            if frame is not None and last is not None:
                last = max(last, item - (delay or 0))
                yield last, frame
            continue
        assert isinstance(item, av.VideoFrame)
        frame, time = item, presented(item)
        if by_decoding and frame.dts is not None and frame.time_base is not None:
            left = Fraction(frame.dts) * frame.time_base
            delay = left - stream_start(stream) if delay is None else delay
            time = left - delay
        if last is None:
            if time is None and len(untimed) < MOST_UNTIMED:
                untimed.append(frame)
                continue
            time = len(untimed) * step if time is None else time
            for number, each in enumerate(untimed):
                yield time - (len(untimed) - number) * step, each
            untimed = []
        last = last + step if time is None and last is not None else time
        assert last is not None
        yield last, frame
    yield from ((number * step, each) for number, each in enumerate(untimed))


def first_picture_time(
    container: av.container.InputContainer, stream: av.VideoStream, course: Course, losses: Losses
) -> Fraction:
    """Presentation time of the first frame that is shown; moves the container past it.

    Found by decoding, because a stated start time may count frames that an edit list hides.
    """
    pictures = timed_pictures(container, stream, course, losses)
    return next((time for time, _ in pictures), stream_start(stream))
