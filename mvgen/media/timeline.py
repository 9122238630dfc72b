"""When what a file holds is presented: one line of time through files whose timestamps start anew, or leap.

Timestamps are believed. But two recordings that were joined byte by byte (MPEG transport streams, chained Ogg), and
recorders that were paused or restarted, write stamps that fall back or leap for picture and sound at once; read as they
are, the second part would lie over the first, or hours behind it. Such a seam moves all that follows by one amount for
both streams, so that the second part's picture follows the first part's, and its sound stays with it.

- **A fall** is a decoding time more than :data:`FALL` before that of the packet before it.
- **A stray** stamp, of one packet or two, leads away and back again: it is not believed, nor are seams seen in it.
- **A leap** is a presentation more than :data:`LEAP` after all before it, during which the other stream is silent, too.
  A picture that stands still while the sound goes on is none, nor is anything in a file with one stream: there, stamps
  are all there is.

Everything is read from the packets themselves: nothing is decoded, and no header believed.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

import av
import av.container

from mvgen.errors import UserError
from mvgen.media.container import Stream, explain, kind_of, open_media, picture_stream, regular_file, sound_stream
from mvgen.media.joined import Window, windows_of
from mvgen.media.kinds import READ
from mvgen.media.missing import (
    MOST_TOLD,
    stated_seconds,
    tell_cut_riff,
    tell_damaged_pages,
    tell_gaps,
    tell_shorter,
    tell_unread,
)
from mvgen.media.notes import note
from mvgen.media.ogg import Stamped, granules_of, moved, pages_of

FALL = 0.5
"""Seconds: smaller steps back are reordering and rounding."""
MOST_STRAY = 2
"""Packets in a row whose stamps may be astray."""
LEAP = 10.0
"""Seconds: smaller leaps are gaps, in which nothing was recorded though time went on (ffmpeg draws the line there)."""
ALIKE = 1.0
"""Seconds by which the steps of picture and sound at one seam may differ: their last packets end at different times."""
TINY = 1e-6
"""Seconds: less than any container's tick, more than what floats lose."""
CLOCK = 90_000
"""Ticks a second, to which the length of a recording is exact."""
FINE = 1 / 8000
"""Seconds: where a container's clock ticks no coarser, the length it gives the last packet of a sound is exact."""


@dataclass(frozen=True)
class Packet:
    """A packet of a stream, in seconds: its place in the file, when it is decoded, presented, and how long it lasts."""

    place: int
    decoded: float
    presented: float
    seconds: float


@dataclass
class Course:
    """How one stream's packets lie on the timeline.

    Attributes:
        kind: "picture" or "sound".
        ordinals, shifts: from packet ``ordinals[k]`` of the stream on, its stamps are moved by ``shifts[k]`` seconds.
        floors: where not None, only those from this stamp on: after a leap come packets that are shown before it.
        first, last: where its first packet begins and its last ends on the timeline; None where it has no stamp.
        step: its usual packet's length.
        packets: how many there are.
        strays: the numbers of those whose stamps are not believed.
        exact_end: whether the container says to the sample where the last packet ends.
    """

    kind: str = ""
    ordinals: list[int] = field(default_factory=lambda: [0])
    shifts: list[float] = field(default_factory=lambda: [0.0])
    floors: list[float | None] = field(default_factory=lambda: [None])
    first: float | None = None
    last: float | None = None
    step: float = 0.0
    packets: int = 0
    strays: frozenset[int] = frozenset()
    exact_end: bool = False

    @property
    def seconds(self) -> float:
        """From the first packet's beginning to the last one's end."""
        return 0.0 if self.first is None or self.last is None else self.last - self.first

    def shift(self, ordinal: int, presented: float) -> float:
        """By how many seconds the stamps of packet ``ordinal`` are moved."""
        number = bisect_right(self.ordinals, ordinal) - 1
        while number and (floor := self.floors[number]) is not None and presented < floor:
            number -= 1
        return self.shifts[number]

    def near_seam(self, ordinal: int) -> bool:
        """Whether stamps are moved from this packet on, or from the one before or behind it."""
        return any(abs(ordinal - each) <= 1 for each in self.ordinals[1:])


@dataclass(frozen=True)
class Recording:
    """One recording of a file; most files hold one.

    Attributes:
        courses: of the streams that are read as picture and as sound, by their number in the file.
        window: its bytes, where the file holds several (:mod:`mvgen.media.joined`).
        begin: seconds of the recordings before it.
    """

    courses: dict[int, Course]
    window: Window | None = None
    begin: Fraction = Fraction(0)

    def span(self, kind: str = "") -> float:
        """Seconds from the first packet's beginning to the last one's end, of either stream or of those of a kind."""
        courses = [each for each in self.courses.values() if kind in ("", each.kind) and each.first is not None]
        first = [course.first for course in courses if course.first is not None]
        last = [course.last for course in courses if course.last is not None]
        return max(last) - min(first) if first and last else 0.0

    @property
    def has_picture(self) -> bool:
        """Whether a picture tells where it begins and ends."""
        return self.span("picture") > 0

    @property
    def end(self) -> Fraction:
        """Where the next one begins: behind the picture, or the sound where there is none."""
        seconds = self.span("picture") or self.span()
        return self.begin + Fraction(seconds).limit_denominator(CLOCK)


@dataclass(frozen=True)
class _Seam:
    """A step that the stamps of one stream make: before packet ``ordinal``, by ``step`` seconds too much."""

    stream: int
    ordinal: int
    place: int
    step: float
    moment: float


def recordings_of(path: str | os.PathLike[str]) -> tuple[Recording, ...]:
    """The recordings of a file. Read once, and kept for the readers of its picture and of its sound.

    Raises:
        UserError: not a readable media file.
    """
    name = regular_file(path)
    try:
        state = os.stat(name)
        return _recordings(os.path.abspath(name), (state.st_mtime_ns, state.st_size, state.st_ino))
    except OSError as error:  # it was there a moment ago
        raise UserError(f"{name}: {error.strerror}") from None


@lru_cache(maxsize=8)
def _recordings(name: str, state: tuple[int, int, int]) -> tuple[Recording, ...]:
    """``state`` tells one file of a name from the next."""
    windows = windows_of(name)
    if len(windows) == 1:
        return (_recording(name),)
    found: list[Recording] = []
    for window in windows:
        begin = found[-1].end if found else Fraction(0)
        try:
            recording = _recording(name, window, begin)
        except UserError as error:
            if not found:
                raise
            note(f"behind {float(begin):.2f} s lies what begins as a recording and cannot be read: {error}")
            continue
        if recording.span():
            found.append(recording)
    if not found:
        raise UserError(f"{name} holds neither picture nor sound; {READ}")
    if len(found) > 1:
        begins = ", ".join(f"{float(each.begin):.2f} s" for each in found[1 : 1 + MOST_TOLD])
        more = f" and {len(found) - 1 - MOST_TOLD} more" if len(found) - 1 > MOST_TOLD else ""
        note(f"{name} holds {len(found)} recordings, joined byte by byte: the next begins at {begins}{more}")
    return tuple(found)


def _recording(name: str, window: Window | None = None, begin: Fraction = Fraction(0)) -> Recording:
    """Reads the packets of one recording, and notes what is wrong with it; see :class:`Recording`."""
    with open_media(name, window) as container:
        picture, sound = picture_stream(container), sound_stream(container)
        streams = [stream for stream in (picture, sound) if stream is not None]
        packets: dict[int, list[Packet]] = {stream.index: [] for stream in streams}
        places: list[int] = []  # in the file, of the sound's packets
        read = 0
        for place, packet in enumerate(stamped(container, streams, tell=True)):
            read = max(read, (packet.pos or 0) + packet.size)
            packets[packet.stream.index].append(_measured(place, packet))
            if packet.stream is sound:
                places.append(packet.pos or 0)
        packets = {number: _with_lengths(of_stream) for number, of_stream in packets.items()}
        strays = {number: _strays(of_stream) for number, of_stream in packets.items()}
        for number, of_stream in packets.items():
            for ordinal in strays[number]:
                of_stream[ordinal] = replace(of_stream[ordinal], decoded=-1.0, presented=-1.0, seconds=-1.0)
        seams = _seams(packets)
        courses = {
            stream.index: _course(packets[stream.index], seams.get(stream.index, []), stream) for stream in streams
        }
        for number, course in courses.items():
            course.strays = strays[number]
        _tell(name, courses, seams)
        recording = Recording(courses, window, begin)
        window = window or Window(0, os.path.getsize(name))
        if container.format.name == "ogg":
            pages = list(pages_of(name, window))
            read = max((page.place + page.size for page in pages if page.whole), default=0)
            tell_damaged_pages(name, pages)
            if sound is not None:
                given = _given(packets[sound.index], places, courses[sound.index])
                moves = moved(pages, given, granules_of(sound))
                courses[sound.index] = _behind_lost_pages(packets[sound.index], seams[sound.index], moves, sound)
                courses[sound.index].strays = strays[sound.index]
        if sound is not None:
            course = courses[sound.index]
            tell_gaps(
                name, _stretches(packets[sound.index], course), (courses[streams[0].index].first or 0.0) - float(begin)
            )
        if not any(seams.values()):
            avi = container.format.name == "avi" and picture is not None
            there = courses[picture.index].seconds if avi and picture is not None else recording.span()
            tell_shorter(name, stated_seconds(container, picture), there)
        tell_unread(name, container, read, window.end - window.begin)
        tell_cut_riff(name, window)
    return recording


def _given(packets: list[Packet], places: list[int], course: Course) -> list[Stamped]:
    """The packets of an Ogg's sound as they lie on the timeline, each with the place of its page."""
    return [
        Stamped(place, packet.presented + course.shift(ordinal, packet.presented), packet.seconds)
        for ordinal, (packet, place) in enumerate(zip(packets, places, strict=True))
    ]


def _behind_lost_pages(
    packets: list[Packet], seams: list[_Seam], moves: list[tuple[int, float]], sound: av.AudioStream
) -> Course:
    """The course of an Ogg's sound with what follows lost pages moved (:func:`mvgen.media.ogg.moved`)."""
    if moves:
        # To the last packet libavformat gives all the time that is missing.
        usual = sorted(packet.seconds for packet in packets)[len(packets) // 2]
        packets[-1] = replace(packets[-1], seconds=min(packets[-1].seconds, usual))
    late = [_Seam(sound.index, at, packets[at].place, -more, packets[at].presented) for at, more in moves]
    course = _course(packets, sorted([*seams, *late], key=lambda seam: seam.ordinal), sound)
    course.floors = [None] * len(course.floors)
    return course


def _tell(name: str, courses: dict[int, Course], seams: dict[int, list[_Seam]]) -> None:
    """Notes what was moved."""
    moved = {number: course for number, course in courses.items() if len(course.ordinals) > 1}
    if moved:
        steps = "; ".join(f"{float(seam.step):+.2f} s" for seam in seams[next(iter(moved))][:3])
        kinds = " and ".join(course.kind for course in moved.values())
        note(f"{name}: the timestamps of its {kinds} start anew or leap ({steps}): what follows was put behind what is "
             "before")  # fmt: skip


def _stretches(packets: list[Packet], course: Course) -> Iterator[tuple[float, float]]:
    """Begin and end of each packet on the timeline."""
    for ordinal, packet in enumerate(packets):
        if packet.seconds >= 0:
            begin = packet.presented + course.shift(ordinal, packet.presented)
            yield begin, begin + packet.seconds


def stamped(
    container: av.container.InputContainer, streams: Sequence[Stream], tell: bool = False
) -> Iterator[av.Packet]:
    """The packets of some streams in the file's order, those that hold data or repeat what is before; where the file is
    damaged so that no further packet is found, they end (with ``tell``, a note says so)."""
    if not streams:
        return
    found = container.demux(streams)
    while True:
        try:
            packet = next(found, None)
        except IndexError:  # PyAV's, of a stream that begins on the way: it is none of ours, and the others go on
            found = container.demux(streams)
            continue
        except av.error.FFmpegError as error:
            if tell:
                note(f"{container.name.removeprefix('file:')}: damaged, and read only so far: {explain(error)}")
            return
        if packet is None:
            return
        if packet.size or packet.pts is not None or packet.dts is not None:
            yield packet


def _measured(place: int, packet: av.Packet) -> Packet:
    tick = float(packet.time_base or 0)
    presented = packet.pts if packet.pts is not None else packet.dts
    decoded = packet.dts if packet.dts is not None else packet.pts
    if presented is None or decoded is None or packet.is_discard:  # no stamp, or hidden: no seams, no span
        return Packet(place, -1.0, -1.0, -1.0)
    return Packet(place, decoded * tick, presented * tick, max(0, packet.duration or 0) * tick)


def _with_lengths(packets: list[Packet]) -> list[Packet]:
    """Packets of which the container does not say how long they last get the stream's usual distance."""
    stamped = [packet for packet in packets if packet.seconds >= 0]
    if all(packet.seconds for packet in stamped):
        return packets
    apart = sorted(b.decoded - a.decoded for a, b in pairwise(stamped) if b.decoded > a.decoded)
    usual = apart[len(apart) // 2] if apart else 0.0
    return [packet if packet.seconds else replace(packet, seconds=usual) for packet in packets]


def _strays(packets: list[Packet]) -> frozenset[int]:
    """The numbers of packets whose stamps lead far away, and those behind them back to where they would be."""
    stamped = [(ordinal, packet.decoded) for ordinal, packet in enumerate(packets) if packet.seconds >= 0]
    found: set[int] = set()
    number = 1
    while number < len(stamped) - 1:
        _, before = stamped[number - 1]
        for count in range(1, MOST_STRAY + 1):
            if number + count >= len(stamped) or abs(stamped[number][1] - before) <= FALL:
                break
            if 0 <= stamped[number + count][1] - before <= FALL:
                found.update(ordinal for ordinal, _ in stamped[number : number + count])
                number += count
                break
        number += 1
    return frozenset(found)


def _seams(packets: dict[int, list[Packet]]) -> dict[int, list[_Seam]]:
    """Seams by stream; those of picture and sound that belong together make the same step, the picture's."""
    found = {number: list(_steps(number, of_stream)) for number, of_stream in packets.items()}
    if len(found) < 2:
        return {number: [seam for seam in seams if seam.step < 0] for number, seams in found.items()}
    (one, ours), (other, theirs) = found.items()
    for mine, others in ((one, packets[other]), (other, packets[one])):
        found[mine] = [seam for seam in found[mine] if seam.step < 0 or not _covered(seam, others)]
    ours, theirs = found[one], found[other]
    paired = []
    for seam in theirs:
        near = [each for each in ours if abs(each.step - seam.step) <= ALIKE]
        match = min(near, key=lambda each: abs(each.place - seam.place), default=None)
        paired.append(seam if match is None else _Seam(seam.stream, seam.ordinal, seam.place, match.step, seam.moment))
    return {one: ours, other: paired}


def _steps(number: int, packets: list[Packet]) -> Iterator[_Seam]:
    """Where the decoding times of a stream fall back, or its presentation times leap past all before."""
    before: Packet | None = None
    latest = 0.0  # end of what is presented last, since the last fall
    for ordinal, packet in enumerate(packets):
        if packet.seconds < 0:
            continue
        end = packet.presented + packet.seconds
        if before is None:
            latest = end
        elif packet.decoded - before.decoded < -FALL:
            # Stamps below 0 are what a decoder needs to begin, and lie before the part's own beginning.
            yield _Seam(number, ordinal, packet.place, max(packet.presented, 0.0) - latest, latest)
            latest = end
        elif packet.presented - latest > LEAP:
            yield _Seam(number, ordinal, packet.place, packet.presented - latest, latest)
        before, latest = packet, max(latest, end)


def _covered(seam: _Seam, others: list[Packet]) -> bool:
    """Whether the other stream goes on while this one leaps."""
    begin, end = seam.moment + ALIKE, seam.moment + seam.step - ALIKE
    return any(begin < packet.presented < end for packet in others)


def _course(packets: list[Packet], seams: list[_Seam], stream: Stream) -> Course:
    course = Course(kind_of(stream), packets=len(packets))
    course.exact_end = stream.time_base is not None and stream.time_base <= FINE
    for seam in seams:
        course.ordinals.append(seam.ordinal)
        course.shifts.append(course.shifts[-1] - seam.step)
        course.floors.append(packets[seam.ordinal].presented - TINY if seam.step > 0 else None)
    lengths = sorted(packet.seconds for packet in packets if packet.seconds > 0)
    course.step = lengths[len(lengths) // 2] if lengths else 0.0
    for begin, end in _stretches(packets, course):
        course.first = begin if course.first is None else min(course.first, begin)
        course.last = end if course.last is None else max(course.last, end)
    return course


def span(path: str | os.PathLike[str], kind: str = "") -> float:
    """Seconds from the first moment to the last that the packets of a file hold, whatever its headers state.

    Args:
        kind: "picture" or "sound", to ask of that stream alone.

    Raises:
        UserError: not a readable media file.
    """
    return max(float(each.begin) + each.span(kind) for each in recordings_of(path))


def check_span(path: str | os.PathLike[str], most: float, kind: str = "") -> None:
    """Raises ``UserError`` where a file, or one stream of it, holds more than ``most`` seconds."""
    if (seconds := span(path, kind)) > most:
        what = f"its {kind}" if kind else "it"
        raise UserError(f"{os.fspath(path)}: {what} lasts {float(seconds):.0f} s; at most {most:.0f} s are taken")
