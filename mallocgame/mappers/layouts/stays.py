"""Every stay in fast memory that could be worth having, per value: what search chooses from.

A value's stops at one loop level are its accesses there and the inner loops that use it.  A stay
begins at a stop, by definition or by prefetch, and ends with the same stop or a later one.  Loops
are crossed as a whole (docs/game.md, section 7).  A carried group is crossed by two values at one
offset: the parameter up to its last use, and the result from its definition to the exit.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple

import numpy as np

from mallocgame.program import Program
from mallocgame.program.latency import access_seconds, bus_seconds, copy_seconds
from mallocgame.program.levels import Levels
from mallocgame.program.needs import Needs

LONGEST_CHAIN = 24


class Gain(NamedTuple):
    """Seconds that a stay takes off one slot's reads, writes and bus time."""

    slot: int
    read: float
    write: float
    bus: float


@dataclasses.dataclass(frozen=True, eq=False)
class PlannedStay:
    """One possible stay; an object equals only itself.

    value, size: the value, and its size in aligned bytes.
    start, end: slots.  A copied stay begins earlier, with its prefetch, and one that ends with an
        eviction may end later.
    copied: whether a prefetch brings it.
    fetch_by: the slot before which the prefetch completes.
    fetch_from: the first slot that the prefetch may use: slow memory holds the value, and the
        segment has begun.
    evict_from: the first slot that the eviction may use; -1 without an eviction.
    evict_to: the slot by which slow memory must hold the value, at the latest the segment's end,
        where what is missing stalls; -1 without an eviction.
    gains: what it saves, by slot.
    demand: bus seconds of a copy.
    result: for a carried group, the result's value, start and end; then `end` is the parameter's
        and the eviction the result's.  -1 for other stays.
    """

    value: int
    size: int
    start: int
    end: int
    copied: bool
    fetch_from: int
    fetch_by: int
    evict_from: int
    evict_to: int
    gains: tuple[Gain, ...]
    demand: float
    result: tuple[int, int, int] = (-1, -1, -1)

    @functools.cached_property
    def first(self) -> int:
        """The first slot whose access the stay serves."""
        return self.fetch_by if self.copied else self.start

    @functools.cached_property
    def last(self) -> int:
        """The end of the last of its intervals."""
        return max(self.end, self.result[2])

    @functools.cached_property
    def spans(self) -> tuple[tuple[int, int, int], ...]:
        """(value, first, end) of the accesses that the stay serves."""
        own = (self.value, self.first, self.end)
        return (own,) if self.result[0] < 0 else (own, self.result)


class LevelStop(NamedTuple):
    """A value's accesses in [start, end): in one slot of a level, or in a whole inner loop.

    accesses: their indices in the program.
    loop: the inner loop, or -1.
    """

    start: int
    end: int
    accesses: tuple[int, ...]
    loop: int


def possible_stays(program: Program) -> list[list[PlannedStay]]:
    """The possible stays of each value: [V] lists; those of a group are with its parameter."""
    return StayFinder(program).run()


class StayFinder:
    """Finds stops and stays; also tells which content is needed and where segments end."""

    def __init__(self, program: Program):
        self.program, self.levels = program, Levels(program)
        self.needed = Needs(program, self.levels)
        slow, fast = access_seconds(program)
        _, bus = bus_seconds(program)
        self.saving = (slow - fast).tolist()
        self.bus = bus.tolist()
        self.demand = copy_seconds(program).tolist()
        self.of_value: list[list[int]] = [[] for _ in program.values]
        order = {a: i for i, a in enumerate(program.accesses)}
        for row in program.accesses_at:
            for access in row:
                self.of_value[access.value].append(order[access])
        total = len(program.instructions)
        self.segment_end = [total] * total
        for t in reversed(range(total - 1)):
            same = self.levels.segment[t] == self.levels.segment[t + 1]
            self.segment_end[t] = self.segment_end[t + 1] if same else t + 1
        self.parameters = {(g.loop, g.parameter): g.result for g in program.carried}
        self.results = {(g.loop, g.result) for g in program.carried}

    def run(self) -> list[list[PlannedStay]]:
        stays: list[list[PlannedStay]] = []
        for v, accesses in enumerate(self.of_value):
            mine: list[PlannedStay] = []
            if self.program.fits(v) and accesses:
                levels = {
                    level for i in accesses for level in [*self.levels.around(self._slot(i)), -1]
                }
                for level in sorted(levels):
                    mine += self._chain_stays(v, self.stops(v, level))
            stays.append(mine)
        return stays

    def _slot(self, access: int) -> int:
        return self.program.accesses[access].instruction

    def stops(self, v: int, level: int) -> list[LevelStop]:
        """The value's stops in the body of loop `level`, or at the outer level for -1."""
        stops: list[LevelStop] = []
        for i in self.of_value[v]:
            slot = self._slot(i)
            around = [-1, *reversed(self.levels.around(slot))]
            if level not in around:
                continue
            below = around.index(level) + 1
            if below == len(around):
                start, end, loop = slot, slot + 1, -1
            else:
                loop = around[below]
                start, end = self.program.loops[loop].entry, self.program.loops[loop].exit + 1
            if stops and stops[-1].start == start:
                i_before = stops[-1].accesses
                stops[-1] = stops[-1]._replace(accesses=(*i_before, i))
            else:
                stops.append(LevelStop(start, end, (i,), loop))
        return stops

    def _chain_stays(self, v: int, stops: list[LevelStop]) -> list[PlannedStay]:
        stays: list[PlannedStay] = []
        written = -1  # the last slot before the stop in which the value is written
        for i, stop in enumerate(stops):
            starts = self._may_start(v, stop)
            chain: list[LevelStop] = []
            for other in stops[i : i + LONGEST_CHAIN] if starts else ():
                if not self._may_cross(v, other):
                    break
                chain.append(other)
                if (other.loop, v) in self.parameters:
                    stays += self._group_stays(v, chain, written)
                    break
                stay = self._stay(v, chain, written)
                # Without a read, slow memory may not hold the content.
                if not stay.copied or self._reads(chain):
                    stays.append(stay)
            if any(self.program.accesses[a].kind == "write" for a in stop.accesses):
                written = stop.end - 1
        return stays

    def _reads(self, chain: list[LevelStop]) -> bool:
        kinds = {self.program.accesses[a].kind for stop in chain for a in stop.accesses}
        return "read" in kinds

    def _may_start(self, v: int, stop: LevelStop) -> bool:
        first = self.program.accesses[stop.accesses[0]]
        return first.defines if stop.loop < 0 and first.kind == "write" else True

    def _may_cross(self, v: int, stop: LevelStop) -> bool:
        """Whether a stay may cross the stop: not if it is a loop that defines the value."""
        return stop.loop < 0 or not any(self.program.accesses[a].defines for a in stop.accesses)

    def _stay(self, v: int, chain: list[LevelStop], written: int) -> PlannedStay:
        first, last = chain[0], chain[-1]
        accesses = [a for stop in chain for a in stop.accesses]
        copied = not self.program.accesses[first.accesses[0]].defines
        writes = [stop.end for stop in chain for a in stop.accesses
                  if self.program.accesses[a].kind == "write"]  # fmt: skip
        evict = (-1, -1)
        if writes and self.needed(v, last.end, last.end - 1):
            evict = self._eviction(v, last.end, max(writes))
        return PlannedStay(
            value=v,
            size=self.program.machine.align(self.program.values[v].size_bytes),
            start=first.start,
            end=last.end,
            copied=copied,
            fetch_from=max(self.levels.segment[first.start], written + 1),
            fetch_by=first.start,
            evict_from=evict[0],
            evict_to=evict[1],
            gains=self._gains(accesses),
            demand=self.demand[v],
        )

    def _eviction(self, v: int, end: int, written_end: int) -> tuple[int, int]:
        """The window of an eviction, in the segment of the stay's last slot."""
        inside = end - 1
        begin = max(written_end, self.levels.segment[inside] + 1)
        later = [self._slot(i) for i in self.of_value[v] if self._slot(i) >= end]
        return begin, min([self.segment_end[inside], *later])

    def _group_stays(self, v: int, chain: list[LevelStop], written: int) -> list[PlannedStay]:
        """Stays that hold a carried group over its loop, the last stop of the chain."""
        index = chain[-1].loop
        loop, result = self.program.loops[index], self.parameters[index, v]
        if not self.program.fits(result):
            return []
        base = self._stay(v, chain, written)
        last = self._slot(chain[-1].accesses[-1])
        level = self.levels.body_of[loop.entry]
        inner = [i for i in self.levels.around(last) if i != index and self._within(i, index)]
        end = self.program.loops[inner[-1]].exit + 1 if inner else last + 1
        mine = self.of_value[result]
        begin = next(self._slot(i) for i in mine if self.program.accesses[i].defines)
        accesses = [a for stop in chain for a in stop.accesses]
        accesses += [i for i in mine if self.levels.inside(self._slot(i), index)]
        after = [stop for stop in self.stops(result, level) if stop.start > loop.exit]
        stays, result_end, written_end = [], loop.exit + 1, loop.exit + 1
        for stop in [None, *after[:LONGEST_CHAIN]]:
            if stop is not None:
                if not self._may_cross(result, stop) or (stop.loop, result) in self.parameters:
                    break
                accesses += stop.accesses
                result_end = stop.end
                if any(self.program.accesses[a].kind == "write" for a in stop.accesses):
                    written_end = stop.end
            evict = (-1, -1)
            if self.needed(result, result_end, result_end - 1):
                evict = self._eviction(result, result_end, written_end)
            stays.append(
                dataclasses.replace(
                    base,
                    end=end,
                    evict_from=evict[0],
                    evict_to=evict[1],
                    gains=self._gains(accesses),
                    result=(result, begin, result_end),
                )
            )
        return stays

    def _within(self, loop: int, other: int) -> bool:
        return self.levels.inside(self.program.loops[loop].entry, other)

    def _gains(self, accesses: list[int]) -> tuple[Gain, ...]:
        at: dict[int, np.ndarray] = {}
        for i in accesses:
            access = self.program.accesses[i]
            of_kind = [self.saving[i], 0.0] if access.kind == "read" else [0.0, self.saving[i]]
            at[access.instruction] = at.get(access.instruction, 0.0) + np.array(
                [*of_kind, self.bus[i]]
            )
        return tuple(Gain(t, *gain.tolist()) for t, gain in sorted(at.items()))
