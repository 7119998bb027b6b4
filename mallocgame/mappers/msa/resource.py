"""The bus as MSA sees it: instructions' times are supply, copies take it first in, first out.

Source: XLA, `AsynchronousCopyResource` (memory_space_assignment/algorithm.h).
"""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Sequence

import numpy as np

from mallocgame.mappers.msa import kernels

# Tolerance in comparing supply with demand, as a fraction: sums of seconds round differently.
SLACK = 1e-9


@dataclasses.dataclass
class _Copy:
    start: int
    end: int
    seconds: float
    used: list[tuple[int, float]]  # (time, seconds taken there)

    @property
    def figures(self) -> tuple[int, int, float]:
        return self.start, self.end, self.seconds


# A new copy's place in the queue, the copy, and what the copies behind it would use.
_Served = tuple[int, _Copy, list[tuple[_Copy, list[tuple[int, float]]]]]


class CopyResource:
    """Copies with exclusive times: a copy (start, end) may use the supply of start+1 .. end-1.

    Copies are served by their start and, if that is equal, in the order in which they were added.
    A new copy delays those behind it, which is allowed as long as all still end in time.
    """

    def __init__(self, supply: Sequence[float]):
        self.supply = list(supply)
        self.copies: list[_Copy] = []
        self.starts: list[int] = []  # of the copies
        # The figures of the last copy that was tried since one was added or removed, and how it
        # would be served: who asks whether there is enough mostly adds it then.
        self.tried: tuple[tuple[int, int, float], _Served | None] | None = None
        self.longest = 0  # of the copies' intervals
        self.intervals = np.zeros((64, 2), np.int64)  # of the copies, in their order

    def has_enough(self, start: int, end: int, seconds: float) -> bool:
        """Whether a copy could be added."""
        return self._served(start, end, seconds) is not None

    def add(self, start: int, end: int, seconds: float) -> None:
        """Adds a copy.

        Raises:
          ValueError: there is not enough supply for it or for a copy that it delays.
        """
        served = self._served(start, end, seconds)
        if served is None:
            raise ValueError(f"no supply for a copy ({start}, {end}) of {seconds} s")
        position, new, moved = served
        for copy, used in moved:
            copy.used = used
        n = len(self.copies)
        if n == len(self.intervals):
            self.intervals = np.concatenate([self.intervals, np.zeros_like(self.intervals)])
        self.intervals[position + 1 : n + 1] = self.intervals[position:n]
        self.intervals[position] = start, end
        self.copies.insert(position, new)
        self.starts.insert(position, start)
        self.tried = None
        self.longest = max(self.longest, end - start)

    def remove(self, start: int, end: int, seconds: float) -> None:
        """Removes the first copy that was added with these figures.

        Raises:
          ValueError: there is none.
        """
        position = bisect.bisect_left(self.starts, start)
        figures = (start, end, seconds)
        while position < len(self.copies) and self.copies[position].figures != figures:
            position += 1
        if position == len(self.copies):
            raise ValueError(f"there is no copy ({start}, {end}) of {seconds} s")
        gone = self.copies.pop(position)
        del self.starts[position]
        self.tried = None
        n = len(self.copies)
        self.intervals[position:n] = self.intervals[position + 1 : n + 1]
        horizon = gone.used[-1][0] if gone.used else -1
        before = self._used(position, start)
        for other in self.copies[position:]:
            if other.start >= horizon:
                break
            horizon = max(horizon, other.used[-1][0] if other.used else -1)
            other.used = self._take(before, other.start, other.end, other.seconds) or []
            for time, part in other.used:
                before[time] = before.get(time, 0.0) + part

    def under_way(self, start: int, end: int) -> int:
        """The number of copies whose intervals meet (start, end)."""
        return kernels.under_way(self.intervals, len(self.copies), start, end, self.longest)

    def left(self) -> list[float]:
        """The supply that no copy uses, per time."""
        left = list(self.supply)
        for copy in self.copies:
            for time, part in copy.used:
                left[time] -= part
        return left

    def _served(self, start: int, end: int, seconds: float) -> _Served | None:
        """How a new copy would be served; None if it or one behind it would be late."""
        figures = (start, end, seconds)
        if self.tried is None or self.tried[0] != figures:
            self.tried = figures, self._try(start, end, seconds)
        return self.tried[1]

    def _try(self, start: int, end: int, seconds: float) -> _Served | None:
        position = bisect.bisect_right(self.starts, start)
        before = self._used(position, start)
        used = self._take(before, start, end, seconds)
        if used is None:
            return None
        for time, part in used:
            before[time] = before.get(time, 0.0) + part
        horizon = used[-1][0] if used else -1
        moved = []
        for copy in self.copies[position:]:
            if copy.start >= horizon:
                break
            again = self._take(before, copy.start, copy.end, copy.seconds)
            if again is None:
                return None
            for time, part in again:
                before[time] = before.get(time, 0.0) + part
            if again != copy.used:
                horizon = max(horizon, again[-1][0])
                moved.append((copy, again))
            elif copy.used:
                horizon = max(horizon, copy.used[-1][0])
        return position, _Copy(start, end, seconds, used), moved

    def _used(self, position: int, start: int) -> dict[int, float]:
        """What the first `position` copies use after `start`.

        Copies end in the order in which they are served, so only the last ones matter.
        """
        before: dict[int, float] = {}
        while position > 0:
            position -= 1
            copy = self.copies[position]
            if copy.used and copy.used[-1][0] <= start:
                break
            for time, part in copy.used:
                before[time] = before.get(time, 0.0) + part
        return before

    def _take(
        self, before: dict[int, float], start: int, end: int, seconds: float
    ) -> list[tuple[int, float]] | None:
        """The supply that a copy finds after the others; None if it does not end in time."""
        supply, enough = self.supply, SLACK * seconds
        missing = seconds
        used = []
        for time in range(start + 1, min(end, len(supply))):
            if missing <= enough:
                break
            part = supply[time] - before.get(time, 0.0)
            if part > 0:
                part = min(part, missing)
                used.append((time, part))
                missing -= part
        return used if missing <= enough else None
