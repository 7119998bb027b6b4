"""Once residencies have places, their copies get all the time that these places leave.

A game gives a copy its slots when the copy is decided.  Only when the game is over is it known
which slots beside a residency nobody took.  docs/game.md, section 6.
"""

from __future__ import annotations

import bisect
import dataclasses
import heapq
import math

import numpy as np

from mallocgame.program import Program, latency
from mallocgame.program.levels import Levels
from mallocgame.program.mapping import Item, Mapping, in_order

# Residencies that are looked at first for one that is in the way; then twice as many each time.
LOOK = 32


def retime(program: Program, mapping: Mapping) -> Mapping:
    """The same residencies at the same offsets, with copies that begin earlier or end later.

    A prefetch begins as early as the place of its residency is free, but neither before its segment
    nor before slow memory holds the value.  An eviction goes on while the place is free, but
    neither beyond its segment nor beyond the value's next use.  Then windows are cut to what copies
    use of them when they share the supply earliest deadline first, as the judge has them do.

    No program becomes slower by that.  Weights are equal within a segment, and of all ways to share
    its supply earliest deadline first leaves the least undone (Glover, "Maximum matching in a
    convex bipartite graph", 1967), so that a longer window never makes that more.

    mapping: a valid one, in which evictions follow the last write of a residency.
    """
    windows = _Windows(program, mapping)
    if windows.feed() > 0:
        windows.advance()
        windows.feed()
        windows.delay()
        windows.feed()
    return windows.mapping()


class _Windows:
    """The N copies of a mapping, prefetches first, and its R residencies.

    begin, end: the slots of the copies, lists of N. stay: the residency of each copy.
    first, last: the slots of the residencies, lists of R. low, high: int64 [R], their bytes.
    uses: for each value the slots of its accesses, sorted. written: those after its writes.
    """

    def __init__(self, program: Program, mapping: Mapping):
        self.program, self.given = program, mapping
        self.segment = Levels(program).segment
        align = program.machine.align
        self.reserved = np.array([align(i.reserved_bytes) for i in program.instructions], np.int64)
        stays, self.copies = mapping.residencies, (*mapping.prefetches, *mapping.evictions)
        sizes = np.array([align(program.values[r.value].size_bytes) for r in stays], np.int64)
        self.low = np.array([r.offset for r in stays], np.int64)
        self.high = self.low + sizes
        self.first = [r.start for r in stays]
        self.last = [r.end for r in stays]
        self.begin = [copy.start for copy in self.copies]
        self.end = [copy.end for copy in self.copies]
        self.of_value: dict[int, list[tuple[int, int]]] = {}  # (start, residency), sorted
        for start, i in sorted((r.start, i) for i, r in enumerate(stays)):
            self.of_value.setdefault(stays[i].value, []).append((start, i))
        # A prefetch begins with its residency, an eviction after its residency has begun.
        self.stay = [self._stay(copy.value, copy.start + 1) for copy in mapping.prefetches]
        self.stay += [self._stay(copy.value, copy.start) for copy in mapping.evictions]
        elapsed, bus = latency.instruction_seconds(program, np.array(self._served(), bool))
        self.supply = latency.supply_time(elapsed, bus).tolist()
        seconds = latency.copy_seconds(program).tolist()
        self.demand = [seconds[copy.value] for copy in self.copies]
        self.uses: dict[int, list[int]] = {}
        self.written: dict[int, list[int]] = {}
        for access in sorted(program.accesses, key=lambda a: a.instruction):
            self.uses.setdefault(access.value, []).append(access.instruction)
            if access.kind == "write":
                self.written.setdefault(access.value, []).append(access.instruction + 1)

    def mapping(self) -> Mapping:
        """The mapping with the present windows."""
        fetches = len(self.given.prefetches)
        copies = [
            _moved(copy, begin, end)
            for copy, begin, end in zip(self.copies, self.begin, self.end, strict=True)
        ]
        stays = [
            _moved(stay, first, last)
            for stay, first, last in zip(self.given.residencies, self.first, self.last, strict=True)
        ]
        return dataclasses.replace(
            self.given,
            residencies=in_order(stays),
            prefetches=in_order(copies[:fetches]),
            evictions=in_order(copies[fetches:]),
        )

    def advance(self) -> None:
        """Lets every prefetch begin as early as it may."""
        ended = ByTime([-last for last in self.last], self.low, self.high)
        for number in range(len(self.given.prefetches)):
            self._begin(number, self._earliest(number, ended))

    def delay(self) -> None:
        """Lets every eviction end as late as it may."""
        begun = ByTime(self.first, self.low, self.high)
        for number in range(len(self.given.prefetches), len(self.copies)):
            self._end(number, self._latest(number, begun))

    def feed(self) -> float:
        """Shares the supply and cuts windows to what is used of them; seconds that are missing."""
        used, missing = self._shared()
        for number, (copy, (first, last)) in enumerate(zip(self.copies, used, strict=True)):
            if number < len(self.given.prefetches):
                self._begin(number, min(copy.start, first))
            else:
                self._end(number, max(copy.end, last))
        return missing

    def _begin(self, number: int, slot: int) -> None:
        self.begin[number] = self.first[self.stay[number]] = slot

    def _end(self, number: int, slot: int) -> None:
        self.end[number] = slot
        stay = self.stay[number]
        self.last[stay] = max(self.given.residencies[stay].end, slot)

    def _shared(self) -> tuple[list[tuple[int, int]], float]:
        """The slots [first, last) that each copy uses, and the seconds that all of them lack.

        A copy that uses none has the end of its window as the first and its beginning as the last.
        """
        used = list(zip(self.end, self.begin, strict=True))
        waiting = sorted(range(len(self.copies)), key=lambda n: -self.begin[n])
        queue: list[tuple[int, int]] = []  # heap of (deadline, copy)
        due = list(self.demand)
        for slot, supply in enumerate(self.supply):
            while waiting and self.begin[waiting[-1]] <= slot:
                number = waiting.pop()
                heapq.heappush(queue, (self.end[number], number))
            while queue and queue[0][0] <= slot:
                heapq.heappop(queue)
            left = supply
            while queue and left > 0:
                number = queue[0][1]
                taken = min(left, due[number])
                left -= taken
                due[number] -= taken
                if taken > 0:
                    used[number] = (min(used[number][0], slot), slot + 1)
                if due[number] > 0:
                    break
                heapq.heappop(queue)
        return used, math.fsum(due)

    def _earliest(self, number: int, ended: ByTime) -> int:
        """The first slot in which a prefetch may begin; ended: residencies by minus their last."""
        copy, stay = self.copies[number], self.stay[number]
        start = self.first[stay]
        low = self.segment[copy.end]
        writes = self.written.get(copy.value, [])
        if before := bisect.bisect_right(writes, start):
            low = max(low, writes[before - 1])
        for _, i in self.of_value[copy.value]:
            if i != stay and self.first[i] <= start:
                low = max(low, self.last[i])
        low = -ended.next(-start, -low, self.low[stay], self.high[stay])
        reserved = np.flatnonzero(self.reserved[low:start] > self.low[stay])
        return min(start, low + int(reserved[-1]) + 1 if len(reserved) else low)

    def _latest(self, number: int, begun: ByTime) -> int:
        """The last slot before which an eviction may end; begun: residencies by their first."""
        copy, stay = self.copies[number], self.stay[number]
        end = max(self.end[number], self.last[stay])
        segment = self.segment[max(self.end[number] - 1, 0)]
        high = bisect.bisect_right(self.segment, segment)
        uses = self.uses.get(copy.value, [])
        for after in uses[bisect.bisect_left(uses, self.end[number]) :][:1]:
            high = min(high, after)
        for _, i in self.of_value[copy.value]:
            if i != stay and self.last[i] >= end:
                high = min(high, self.first[i])
        high = begun.next(end, high, self.low[stay], self.high[stay])
        reserved = np.flatnonzero(self.reserved[end:high] > self.low[stay])
        return max(self.end[number], end + int(reserved[0]) if len(reserved) else high)

    def _stay(self, value: int, slot: int) -> int:
        """The newest residency of a value that begins before a slot."""
        row = self.of_value[value]
        return row[bisect.bisect_left(row, (slot, -1)) - 1][1]

    def _served(self) -> list[bool]:
        """Which of the program's accesses fast memory serves."""
        arrived = self.first.copy()
        for number in range(len(self.given.prefetches)):
            arrived[self.stay[number]] = self.end[number]
        served = []
        for access in self.program.accesses:
            row = self.of_value.get(access.value, [])
            before = bisect.bisect_right(row, (access.instruction, len(self.low)))
            found = row[before - 1][1] if before else -1
            served.append(found >= 0 and arrived[found] <= access.instruction < self.last[found])
        return served


class ByTime:
    """Residencies in the order of a time that each has, int [R], and the bytes that they take."""

    def __init__(self, times: list[int], low: np.ndarray, high: np.ndarray):
        order = np.argsort(np.array(times, np.int64), kind="stable")
        self.times = [times[i] for i in order.tolist()]
        self.low, self.high = low[order], high[order]

    def next(self, time: int, limit: int, low: int, high: int) -> int:
        """The first time from `time` on at which a residency shares bytes with [low, high), and at
        most `limit`.

        Memory that is worth copying to is not free for long: few residencies are looked at.
        """
        at, end = bisect.bisect_left(self.times, time), bisect.bisect_left(self.times, limit)
        look = LOOK
        while at < end:
            stop = min(at + look, end)
            lows, highs = self.low[at:stop], self.high[at:stop]
            shared = np.flatnonzero(np.maximum(lows, low) < np.minimum(highs, high))
            if len(shared):
                return self.times[at + int(shared[0])]
            at, look = stop, 2 * look
        return limit


def _moved(item: Item, start: int, end: int) -> Item:
    if (item.start, item.end) == (start, end):
        return item
    return dataclasses.replace(item, start=start, end=end)
