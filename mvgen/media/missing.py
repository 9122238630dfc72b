"""What a file should hold and does not: told, because nothing else would say so.

Containers lose packets without an error, end where a copy broke off, and headers state what is no longer there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import av
import av.container

from mvgen.media.joined import Window
from mvgen.media.notes import note
from mvgen.media.ogg import Page

GAP = 0.1
"""Seconds without sound between two packets of it before that is told."""
MISSING = 0.5
"""Seconds by which a file may be shorter than its header states before that is told."""
STATING = ("mov", "matroska", "flac")
"""Demuxers of files whose headers state a length."""
READ_ON = ("flv", "mpegts", "mpeg", "ogg")
"""Demuxers of files in which pictures and sounds follow each other to the end, with no index behind them."""
UNREAD = 0.2
"""Share of such a file behind the last packet before that is told."""
MOST_TOLD = 3


def tell_gaps(name: str, stretches: Iterable[tuple[float, float]], origin: float) -> None:
    """Notes where a sound has none: unlike a picture, it goes on without a break unless something was lost.

    Args:
        name: of the file.
        stretches: begin and end of each packet of the sound, in seconds on the timeline.
        origin: the moment that counts as 0.
    """
    before: float | None = None
    gaps = []
    for begin, end in stretches:
        if before is not None and begin - before > GAP:
            gaps.append(f"{before - origin:.2f} to {begin - origin:.2f} s")
        before = end
    if gaps:
        more = f" and {len(gaps) - MOST_TOLD} more" if len(gaps) > MOST_TOLD else ""
        note(f"{name}: its sound has gaps, which are silent: {', '.join(gaps[:MOST_TOLD])}{more}")


def stated_seconds(container: av.container.InputContainer, picture: av.VideoStream | None) -> float:
    """The length in a file's header, in seconds (of AVI, the picture's); 0 where its form knows none."""
    if container.format.name == "avi" and picture is not None:  # whose length libavformat guesses where it is cut
        return float(picture.frames / picture.average_rate) if picture.average_rate else 0.0
    if container.format.name.partition(",")[0] not in STATING or not container.duration:
        return 0.0
    # Matroska's is the moment of the end.
    begin = max(0, container.start_time or 0) if container.format.name.startswith("matroska") else 0
    return (container.duration - begin) / 1_000_000


def tell_shorter(name: str, stated: float, there: float) -> None:
    """Notes that a file holds fewer seconds than its header states."""
    if stated - there > MISSING:
        note(f"{name}: its header states {stated:.2f} s, and {there:.2f} s are there: it is cut short, "
             "or the header is wrong")  # fmt: skip


def tell_unread(name: str, container: av.container.InputContainer, read: int, size: int) -> None:
    """Notes that much of a file lies behind the last packet that was found.

    Args:
        read: bytes up to the end of that packet.
        size: bytes of the file.
    """
    unread = 1 - read / max(1, size)
    if container.format.name in READ_ON and read and unread > UNREAD:
        note(f"{name}: in its last {unread:.0%} nothing was found that can be read")


def tell_damaged_pages(name: str, pages: Sequence[Page]) -> None:
    """Notes that check sums of an Ogg's pages are wrong: libavformat leaves these out without a word."""
    damaged = [page for page in pages if not page.whole]
    if damaged:
        note(f"{name}: {len(damaged)} of {len(pages)} pages are damaged, and left out (the first at byte "
             f"{damaged[0].place})")  # fmt: skip


def tell_cut_riff(name: str, window: Window) -> None:
    """Notes that a RIFF file (WAV, AVI) has fewer bytes than it states; libavformat takes what is there for its length.

    Args:
        window: its bytes.
    """
    size = window.end - window.begin
    with open(name, "rb") as file:
        file.seek(window.begin)
        head = file.read(8)
    stated = 8 + int.from_bytes(head[4:], "little")
    # What was recorded into a pipe states the most that there can be.
    if head[:4] == b"RIFF" and len(head) == 8 and size < stated < 2**32:
        note(f"{name}: its header states {stated} bytes, and {size} are there: it is cut short, or the header is wrong")
