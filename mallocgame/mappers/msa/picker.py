"""When a prefetch may start, and in which order starts are tried.

Source: XLA, `CostAnalysisPrefetchIntervalPicker` (memory_space_assignment).
All intervals are exclusive: a copy (start, end) overlaps with start+1 .. end-1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

EXPLORED = 100  # earlier starts to try once the later ones are used up
RETRY_FACTOR = 2.0  # growth of an eviction's preferred length with every retry


@dataclasses.dataclass(frozen=True)
class Ratios:
    """Overlap of a copy with other work, as multiples of the time it takes.

    least, preferred: multiples of the copy's own time.
    most: a multiple of the time to copy the whole fast memory.
    """

    least: float
    preferred: float
    most: float


class IntervalPicker:
    """Chooses intervals for copies.

    elapsed: seconds of each instruction, one execution.
    nesting: loops around each instruction.
    memory_copy_s: seconds to copy the whole fast memory.
    trips: assumed executions of a loop body.
    start_nesting: loops around a copy that starts right after each instruction, if that differs:
        the
      body begins after a loop's entry.
    """

    def __init__(
        self,
        elapsed: Sequence[float],
        nesting: Sequence[int],
        ratios: Ratios,
        memory_copy_s: float,
        trips: float = 5.0,
        start_nesting: Sequence[int] | None = None,
    ):
        self.nesting, self.ratios, self.trips = list(nesting), ratios, trips
        self.start_nesting = self.nesting if start_nesting is None else list(start_nesting)
        self.most_s = ratios.most * memory_copy_s
        weighted = np.array(elapsed) * trips ** np.array(nesting, dtype=np.float64)
        self.total = np.cumsum(weighted).tolist()
        self.loops = any(self.nesting)

    def overlap(self, start: int, end: int) -> float:
        """Seconds of the instructions between `start` and `end`, both exclusive."""
        start = max(start, 0)
        if end <= start:
            return 0.0
        if not self.loops:
            return self.total[end - 1] - self.total[start]
        level = min(self.nesting[start : min(end, len(self.nesting) - 1) + 1])
        return (self.total[end - 1] - self.total[start]) / self.trips**level

    def may_stay(self, start: int, end: int) -> bool:
        """Whether a value may be kept from one use to the next without a copy."""
        return self.most_s > self.overlap(start, end)

    def latest_start(self, start: int, end: int, copy_s: float, gain_s: float) -> int:
        """The latest start of a prefetch for a use at `end`; below `start` if there is none."""
        least = self.ratios.least * copy_s
        time = end - 1
        while time >= start and (
            self.start_nesting[time] != self.nesting[end]
            or least > self.overlap(time, end) + gain_s
        ):
            time -= 1
        return time

    def starts(self, start: int, end: int, copy_s: float, gain_s: float) -> Iterator[int]:
        """Starts to try: the preferred one first, then later and earlier ones in turns.

        start: the earliest allowed; gain_s: seconds that the use itself becomes shorter.
        """
        latest = self.latest_start(start, end, copy_s, gain_s)
        earliest = start
        while earliest < latest and (
            self.start_nesting[earliest] != self.nesting[end]
            or self.most_s < self.overlap(earliest, end)
        ):
            earliest += 1
        if earliest > latest:
            return
        first = self._preferred(earliest, latest, end, copy_s)
        yield first
        later, earlier = self._later(first + 1, latest, end), first - 1
        stride = self.overlap(earliest, end) / EXPLORED
        if later > latest:
            earlier = self._earlier(earlier, earliest, end, self.overlap(first, end) + stride)
        else:
            earlier = self._earlier(earlier, earliest, end, 0.0)
        turn_later = True
        while later <= latest or earlier >= earliest:
            if later <= latest and (turn_later or earlier < earliest):
                yield later
                later = self._later(later + 1, latest, end)
                turn_later = False
                continue
            yield earlier
            target = self.overlap(earlier, end) + stride if later > latest else 0.0
            earlier = self._earlier(earlier - 1, earliest, end, target)
            turn_later = True

    def eviction_end(self, start: int, latest: int, copy_s: float, retry: int) -> int:
        """The preferred end of an eviction that starts at `start`."""
        wanted = (1 + RETRY_FACTOR * retry) * self.ratios.preferred * copy_s
        for end in range(start + 1, latest + 1):
            if self.overlap(start, end) >= wanted:
                return end
        return latest

    def _preferred(self, earliest: int, latest: int, end: int, copy_s: float) -> int:
        wanted = self.ratios.preferred * copy_s
        best, distance = earliest, abs(wanted - self.overlap(earliest, end))
        for time in range(earliest + 1, latest + 1):
            there = abs(wanted - self.overlap(time, end))
            if self.start_nesting[time] == self.nesting[end] and there < distance:
                best, distance = time, there
        return best

    def _later(self, time: int, latest: int, end: int) -> int:
        while time <= latest and self.start_nesting[time] != self.nesting[end]:
            time += 1
        return time

    def _earlier(self, time: int, earliest: int, end: int, target: float) -> int:
        while time >= earliest and (
            self.start_nesting[time] != self.nesting[end] or self.overlap(time, end) < target
        ):
            time -= 1
        return time
