"""Every stay in fast memory that could be worth having, per value: what search chooses from.

A value's stops at one loop level are its accesses there and the inner loops that use it.  A stay
begins at a stop, by definition or by prefetch, and ends with the same stop or a later one.  Loops
are crossed as a whole (docs/game.md, section 7).  A carried group is crossed by two values at one
offset: the parameter up to its last use, and the result from its definition to the exit.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mallocgame.program import Program
from mallocgame.program.levels import Levels
from mallocgame.program.needs import Needs
from mallocgame.program.times import Times

LONGEST_CHAIN = 24


class Stay(NamedTuple):
    """One possible stay: a row of `Stays.row`, whose columns are these fields.

    value, size: the value, and its size in aligned bytes.
    start, end: slots.  A copied stay begins earlier, with its prefetch, which completes before
        `start`; one that ends with an eviction may end later.
    copied: whether a prefetch brings it.
    fetch_from: the first slot that the prefetch may use: slow memory holds the value, and the
        segment has begun.
    evict_from: the first slot that the eviction may use; -1 without an eviction.
    evict_to: the slot by which slow memory must hold the value, at the latest the segment's end,
        where what is missing stalls; -1 without an eviction.
    result, result_start, result_end: for a carried group, the result and its interval; then `end`
        is the parameter's and the eviction the result's.  -1 for other stays.
    last: the end of the last of its intervals.
    gain, gain_end: the rows of `Stays.gain` that it saves.
    """

    value: int
    size: int
    start: int
    end: int
    copied: int
    fetch_from: int
    evict_from: int
    evict_to: int
    result: int
    result_start: int
    result_end: int
    last: int
    gain: int
    gain_end: int


class Stays(NamedTuple):
    """The possible stays of a program, S in number, by value; those of a group are its parameter's.

    A gain is what a slot saves if a value's accesses in it become fast.  Those of a value lie side
    by side in the order of the schedule, and a stay without a group takes some in a row.  Times are
    in units of the all-slow latency.

    row: int64 [S, fields of `Stay`].
    of_value: int64 [V + 1], the stays of value v are [of_value[v], of_value[v + 1]).
    demand: float64 [S], bus time of a copy.
    gain: float64 [G, 3], taken off a slot's reads, writes and bus time.
    gain_slot: int64 [G].
    gain_of_value: int64 [V + 1], like `of_value`.
    merged: int64 [G, 2], the gains of single values that a group's gain adds up, -1 for none; other
        gains have themselves there.
    """

    row: np.ndarray
    of_value: np.ndarray
    demand: np.ndarray
    gain: np.ndarray
    gain_slot: np.ndarray
    gain_of_value: np.ndarray
    merged: np.ndarray


class LevelStop(NamedTuple):
    """A value's accesses in [start, end): in one slot of a level, or in a whole inner loop.

    accesses: their indices in the program.
    loop: the inner loop, or -1.
    """

    start: int
    end: int
    accesses: list[int]
    loop: int


def possible_stays(program: Program, times: Times) -> Stays:
    """The possible stays of each value; `times` are those of the program."""
    return _StayTable(program, times).run()


class StayFinder:
    """Finds stops; also tells which content is needed and where segments end.

    of_value: [V] the indices of each value's accesses, in the order of the schedule.
    slots: [A] the slot of each access.
    segment_end: [T] the end of each slot's segment.
    """

    def __init__(self, program: Program):
        self.program, self.levels = program, Levels(program)
        self.needed = Needs(program, self.levels)
        self.slots = [access.instruction for access in program.accesses]
        self.of_value: list[list[int]] = [[] for _ in program.values]
        order = {id(a): i for i, a in enumerate(program.accesses)}
        for row in program.accesses_at:
            for access in row:
                self.of_value[access.value].append(order[id(access)])
        total = len(program.instructions)
        self.segment_end = [total] * total
        for t in reversed(range(total - 1)):
            same = self.levels.segment[t] == self.levels.segment[t + 1]
            self.segment_end[t] = self.segment_end[t + 1] if same else t + 1
        self.parameters = {(g.loop, g.parameter): g.result for g in program.carried}

    def levels_of(self, v: int) -> set[int]:
        """The loops around a value's accesses, and -1."""
        if not self.program.loops:
            return {-1}
        return {loop for i in self.of_value[v] for loop in self.levels.around(self.slots[i])} | {-1}

    def stops(self, v: int, level: int) -> list[LevelStop]:
        """The value's stops in the body of loop `level`, or at the outer level for -1."""
        stops: list[LevelStop] = []
        levels, loops = self.levels, self.program.loops
        for i in self.of_value[v]:
            slot = self.slots[i]
            below, loop = -1, levels.body_of[slot]
            while loop != level and loop >= 0:
                below, loop = loop, levels.parent[loop]
            if loop != level:
                continue
            if below < 0:
                start, end = slot, slot + 1
            else:
                start, end = loops[below].entry, loops[below].exit + 1
            if stops and stops[-1].start == start:
                stops[-1].accesses.append(i)
            else:
                stops.append(LevelStop(start, end, [i], below))
        return stops


class _StayTable:
    def __init__(self, program: Program, times: Times):
        self.program, self.finder = program, StayFinder(program)
        self.levels, self.needed = self.finder.levels, self.finder.needed
        self.times = times
        self.saving = (self.times.slow - self.times.fast).tolist()
        self.bus = self.times.bus.tolist()
        self.reads = self.times.reads.tolist()
        self.defines = [access.defines for access in program.accesses]
        self.sizes = [program.machine.align(value.size_bytes) for value in program.values]
        self.rows: list[Stay] = []
        self.gain: list[tuple[float, float, float]] = []
        self.gain_slot: list[int] = []
        self.merged: list[tuple[int, int]] = []
        # The gain of each access, and its slot; only of values that may be in fast memory.
        self.gain_of = [-1] * len(program.accesses)

    def run(self) -> Stays:
        of_value, gain_of_value = [0], [0]
        for v in range(len(self.program.values)):
            if self.program.fits(v):
                self._add_gains(v)
            gain_of_value.append(len(self.gain))
        for v, accesses in enumerate(self.finder.of_value):
            if self.program.fits(v) and accesses:
                for level in sorted(self.finder.levels_of(v)):
                    self._add_level(v, self.finder.stops(v, level))
            of_value.append(len(self.rows))
        row = np.array(self.rows, np.int64).reshape(-1, len(Stay._fields))
        return Stays(
            row,
            np.array(of_value),
            self.times.demand[row[:, 0]],
            np.array(self.gain).reshape(-1, 3),
            np.array(self.gain_slot, np.int64),
            np.array(gain_of_value),
            np.array(self.merged, np.int64).reshape(-1, 2),
        )

    def _add_gains(self, v: int) -> None:
        slot = -1
        for i in self.finder.of_value[v]:
            if self.finder.slots[i] != slot:
                slot = self.finder.slots[i]
                self.gain_slot.append(slot)
                self.merged.append((len(self.gain), -1))
                self.gain.append((0.0, 0.0, 0.0))
            read, write, bus = self.gain[-1]
            if self.reads[i]:
                read += self.saving[i]
            else:
                write += self.saving[i]
            self.gain[-1] = (read, write, bus + self.bus[i])
            self.gain_of[i] = len(self.gain) - 1

    def _add_level(self, v: int, stops: list[LevelStop]) -> None:
        written = -1  # the last slot before the stop in which the value is written
        writes = [not all(self.reads[a] for a in stop.accesses) for stop in stops]
        fetched = [any(self.reads[a] for a in stop.accesses) for stop in stops]
        for i, stop in enumerate(stops):
            reads, written_end = False, -1
            for k in range(i, min(i + LONGEST_CHAIN, len(stops)) if self._may_start(stop) else i):
                other = stops[k]
                if not self._may_cross(other):
                    break
                reads |= fetched[k]
                if writes[k]:
                    written_end = other.end
                stay = self._stay(v, stop, other, written, written_end)
                if (other.loop, v) in self.finder.parameters:
                    self.rows += self._group_stays(stay, stops[i : k + 1])
                    break
                # Without a read, slow memory may not hold the content.
                if not stay.copied or reads:
                    self.rows.append(stay)
            if writes[i]:
                written = stop.end - 1

    def _may_start(self, stop: LevelStop) -> bool:
        first = stop.accesses[0]
        return self.defines[first] if stop.loop < 0 and not self.reads[first] else True

    def _may_cross(self, stop: LevelStop) -> bool:
        """Whether a stay may cross the stop: not if it is a loop that defines the value."""
        return stop.loop < 0 or not any(self.defines[a] for a in stop.accesses)

    def _stay(
        self, v: int, first: LevelStop, last: LevelStop, written: int, written_end: int
    ) -> Stay:
        """A stay without a group.

        written: the last slot before it in which the value is written, or -1.
        written_end: the end of its last stop that writes; -1 if there is none.
        """
        evict = (-1, -1)
        if written_end >= 0 and self.needed(v, last.end, last.end - 1):
            evict = self._eviction(v, last.end, written_end)
        return Stay(
            value=v,
            size=self.sizes[v],
            start=first.start,
            end=last.end,
            copied=not self.defines[first.accesses[0]],
            fetch_from=max(self.levels.segment[first.start], written + 1),
            evict_from=evict[0],
            evict_to=evict[1],
            result=-1,
            result_start=-1,
            result_end=-1,
            last=last.end,
            gain=self.gain_of[first.accesses[0]],
            gain_end=self.gain_of[last.accesses[-1]] + 1,
        )

    def _eviction(self, v: int, end: int, written_end: int) -> tuple[int, int]:
        """The window of an eviction, in the segment of the stay's last slot."""
        inside = end - 1
        begin = max(written_end, self.levels.segment[inside] + 1)
        mine, slots = self.finder.of_value[v], self.finder.slots
        later = bisect.bisect_left(mine, end, key=lambda i: slots[i])
        latest = self.finder.segment_end[inside]
        return begin, min(latest, slots[mine[later]]) if later < len(mine) else latest

    def _group_stays(self, base: Stay, chain: list[LevelStop]) -> Iterator[Stay]:
        """Stays that hold a carried group over its loop, the last stop of the chain."""
        program, levels, slots = self.program, self.levels, self.finder.slots
        index = chain[-1].loop
        loop, result = program.loops[index], self.finder.parameters[index, base.value]
        if not program.fits(result):
            return
        last = slots[chain[-1].accesses[-1]]
        inner = [i for i in levels.around(last) if i != index and self._within(i, index)]
        end = program.loops[inner[-1]].exit + 1 if inner else last + 1
        mine = self.finder.of_value[result]
        begin = next(slots[i] for i in mine if self.defines[i])
        accesses = [a for stop in chain for a in stop.accesses]
        accesses += [i for i in mine if levels.inside(slots[i], index)]
        stops = self.finder.stops(result, levels.body_of[loop.entry])
        after = [stop for stop in stops if stop.start > loop.exit]
        result_end = written_end = loop.exit + 1
        for stop in [None, *after[:LONGEST_CHAIN]]:
            if stop is not None:
                crosses = self._may_cross(stop)
                if not crosses or (stop.loop, result) in self.finder.parameters:
                    break
                accesses += stop.accesses
                result_end = stop.end
                if not all(self.reads[a] for a in stop.accesses):
                    written_end = stop.end
            evict = (-1, -1)
            if self.needed(result, result_end, result_end - 1):
                evict = self._eviction(result, result_end, written_end)
            gain = len(self.gain)
            self._add_merged(accesses)
            yield base._replace(
                end=end,
                evict_from=evict[0],
                evict_to=evict[1],
                result=result,
                result_start=begin,
                result_end=result_end,
                last=max(end, result_end),
                gain=gain,
                gain_end=len(self.gain),
            )

    def _within(self, loop: int, other: int) -> bool:
        return self.levels.inside(self.program.loops[loop].entry, other)

    def _add_merged(self, accesses: list[int]) -> None:
        """Adds the gains of several values' accesses, one for each slot."""
        at: dict[int, list[int]] = {}
        for gain in dict.fromkeys(self.gain_of[i] for i in accesses):
            at.setdefault(self.gain_slot[gain], []).append(gain)
        for slot, gains in sorted(at.items()):
            self.gain_slot.append(slot)
            self.merged.append((gains[0], gains[1] if len(gains) > 1 else -1))
            read, write, bus = (sum(self.gain[g][k] for g in gains) for k in range(3))
            self.gain.append((read, write, bus))
