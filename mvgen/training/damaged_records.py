"""Records that cannot be read while a run goes on: passed over, named, counted, and too many of them an error."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from mvgen.data import loader
from mvgen.data.camera import Reach
from mvgen.data.records import RecordError, RecordSource


class SparingWindows(loader.Windows):
    """Windows that take another record's in place of one that cannot be read.

    In its place stands a window of the next record that can, at the same moment or the nearest that it has: the same
    one at every start, so a run that is resumed sees what it would have seen.

    Args:
        source: as for :class:`mvgen.data.loader.Windows`.
        frames: as there.
        camera: as there.
        spared: how many different records may be damaged; one more is an error, and so is the first where it is 0. Each
            process of the run, and each of its loader's, counts its own.

    Attributes:
        damaged: the reason by path and number of each record that was passed over in this process.
    """

    def __init__(self, source: RecordSource, frames: int, camera: Reach | None = None, spared: int = 0):
        super().__init__(source, frames, camera)
        self.spared = spared
        self.damaged: dict[tuple[str, int], str] = {}

    def read(self, places: tuple[Sequence[float] | np.ndarray, ...]) -> loader.Batch:
        """As :meth:`mvgen.data.loader.Windows.read`. Raises ``RecordError`` where more than ``spared`` are damaged."""
        try:
            return super().read(places)
        except RecordError:
            rows = list(zip(*(np.asarray(column).tolist() for column in places), strict=True))
            read = [self._spared(int(row[0]), int(row[1]), row[2:]) for row in rows]
        return {name: np.concatenate([batch[name] for batch in read]) for name in read[0]}

    def _spared(self, record: int, start: int, camera: tuple[float, ...]) -> loader.Batch:
        """One window, of this record or of the first behind it that can be read."""
        begin = int(np.searchsorted(self.usable, record))
        for number in np.roll(self.usable, -begin).tolist():
            latest = int(self.source.frames[number]) - self.frames
            try:
                return super().read(tuple([value] for value in (number, min(start, latest), *camera)))
            except RecordError as error:
                self._note(error)
        raise RecordError(self.source.folder, 0, f"no record of split {self.source.split!r} can be read")

    def _note(self, error: RecordError) -> None:
        place = (error.path, error.number)
        if place in self.damaged:
            return
        self.damaged[place] = error.reason
        if len(self.damaged) > self.spared:
            allowed = f"config.data.bad_records allows {self.spared}" if self.spared else "none is allowed"
            raise RecordError(
                error.path, error.number, f"{error.reason}; {len(self.damaged)} records are damaged and {allowed}: "
                "see `python -m data_prep inspect`, and convert again",
            )  # fmt: skip
        print(f"warning: {error}: passed over ({len(self.damaged)} so far)", file=sys.stderr, flush=True)
