"""When a prefetch may start, and in which order starts are tried.

Source: XLA, `CostAnalysisPrefetchIntervalPicker` (memory_space_assignment).
All intervals are exclusive: a copy (start, end) overlaps with start+1 .. end-1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mallocgame.mappers.msa import kernels

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
        self.ratios = ratios
        self.nesting = np.array(nesting, np.int64)
        self.start_nesting = (
            self.nesting if start_nesting is None else np.array(start_nesting, np.int64)
        )
        self.most_s = ratios.most * memory_copy_s
        self.scale = trips ** np.arange(max(nesting) + 1, dtype=np.float64)
        self.total = np.cumsum(np.array(elapsed) * self.scale[self.nesting])

    def overlap(self, start: int, end: int) -> float:
        """Seconds of the instructions between `start` and `end`, both exclusive."""
        return kernels.overlap(self.total, self.nesting, self.scale, start, end)

    def may_stay(self, start: int, end: int) -> bool:
        """Whether a value may be kept from one use to the next without a copy."""
        return self.most_s > self.overlap(start, end)

    def latest_start(self, start: int, end: int, copy_s: float, gain_s: float) -> int:
        """The latest start of a prefetch for a use at `end`; below `start` if there is none."""
        least = self.ratios.least * copy_s
        level = self.nesting[end]
        return kernels.latest_start(
            self._overlaps(start, end), start, end, self.start_nesting, level, least, gain_s
        )

    def starts(self, start: int, end: int, copy_s: float, gain_s: float) -> list[int]:
        """Starts to try: the preferred one first, then later and earlier ones in turns.

        start: the earliest allowed; gain_s: seconds that the use itself becomes shorter.
        """
        ratios = self.ratios
        times = (ratios.least * copy_s, ratios.preferred * copy_s, self.most_s, gain_s)
        found, level = self._overlaps(start, end), self.nesting[end]
        return kernels.starts(
            found, start, end, self.start_nesting, level, times, EXPLORED
        ).tolist()

    def eviction_end(self, start: int, latest: int, copy_s: float, retry: int) -> int:
        """The preferred end of an eviction that starts at `start`."""
        wanted = (1 + RETRY_FACTOR * retry) * self.ratios.preferred * copy_s
        return kernels.eviction_end(
            self.total, self.nesting, self.scale, start, latest, float(wanted)
        )

    def _overlaps(self, start: int, end: int) -> np.ndarray:
        return kernels.overlaps(self.total, self.nesting, self.scale, start, end)
