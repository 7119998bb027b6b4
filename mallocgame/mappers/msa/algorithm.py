"""MSA's decisions: buffer by buffer, segment by segment (see the package's docstring).

Times here are slots plus one, so that time 0 is before the program and inputs are defined there.
Source: XLA, `MsaAlgorithm::AllocateSegment`, `Evict`, `Prefetch` (memory_space_assignment).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from mallocgame.mappers.layouts.stays import LevelStop, StayFinder
from mallocgame.mappers.msa.chain import Chain
from mallocgame.mappers.msa.cost import TRIPS, Cost, sort_order
from mallocgame.mappers.msa.heap import Heap, HeapBlock
from mallocgame.mappers.msa.picker import IntervalPicker, Ratios
from mallocgame.mappers.msa.resource import CopyResource
from mallocgame.program import Program


@dataclasses.dataclass(frozen=True)
class Preset:
    """MSA's settings.

    ratios: least, preferred and most overlap of copies.
    retries: attempts per buffer.
    repacks: how often the whole heap may be packed anew.
    outstanding: the most prefetches, and the most evictions, in progress at a time.
    inefficient: a stay is dropped if its uses move less than this many times the bytes of its
        copies.
    byte_s: benefit per byte in the sort order; None to use the instructions' own times.
    """

    ratios: Ratios
    retries: int
    repacks: int
    outstanding: int
    inefficient: float
    byte_s: float | None


class _NoEviction(Exception):
    """A value cannot leave fast memory in time; its whole family stays in slow memory."""


class Algorithm:
    """One run over a program."""

    def __init__(self, program: Program, preset: Preset):
        self.program, self.preset = program, preset
        self.cost = Cost(program, preset.byte_s)
        self.stops = StayFinder(program)
        self.reads = program.columns.is_read.tolist()
        self.defines = [access.defines for access in program.accesses]
        self.bytes = [access.bytes for access in program.accesses]
        self.levels = self.stops.levels
        bandwidth = program.machine.slow_bandwidth
        elapsed, nesting = [0.0, *self.cost.elapsed], [0, *self.cost.nesting]
        starts = list(nesting)
        for loop in program.loops:
            starts[loop.entry + 1] += 1
        self.picker = IntervalPicker(
            elapsed,
            nesting,
            preset.ratios,
            program.machine.fast_capacity_bytes / bandwidth,
            TRIPS,
            starts,
        )
        reserved = [program.machine.align(i.reserved_bytes) for i in program.instructions]
        self.heap = Heap(program.machine.fast_capacity_bytes, [0, *reserved])
        self.prefetches, self.evictions = CopyResource(elapsed), CopyResource(elapsed)
        self.groups = {(g.loop, g.parameter): g.result for g in program.carried}
        self.repacks = 0
        self.chains: list[Chain] = []
        self.pending: list[Chain] = []
        self.full = False
        self.refused: set[tuple[int, int, int]] = (
            set()
        )  # (value, level, stop) to be left in slow memory
        self.retry = 0

    def run(self) -> list[Chain]:
        """All stays, in the order in which they were decided."""
        families = self.families()
        for number in sort_order(self.cost, families):
            self._family(families[number])
        return self.chains

    def families(self) -> list[list[int]]:
        """Lists of values that share a place, sorted; only values that may be in fast memory."""
        home = list(range(len(self.program.values)))

        def root(v: int) -> int:
            while home[v] != v:
                v = home[v]
            return v

        for group in self.program.carried:
            home[root(group.parameter)] = root(group.result)
        families: dict[int, list[int]] = {}
        for v in range(len(home)):
            if self.program.fits(v) and self.cost.of_value[v]:
                families.setdefault(root(v), []).append(v)
        return list(families.values())

    def _family(self, values: Sequence[int]) -> None:
        self.refused = set()
        self.retry = 0
        repacked = False
        while True:
            self.pending, self.full = [], False
            try:
                for v in values:
                    self._value(v)
            except _NoEviction:
                self._undo()
                self.retry += 1
                if self.retry >= self.preset.retries:
                    return
                continue
            if self.full and not repacked and self.repacks < self.preset.repacks:
                self._undo()
                self.repacks += 1
                repacked = True
                self.heap.repack()
                continue
            wasted = {(c.value, self._level(c), c.stop) for c in self.pending if self._wasted(c)}
            if wasted - self.refused:
                self._undo()
                self.refused |= wasted
                continue
            self.chains += self.pending
            return

    def _level(self, chain: Chain) -> int:
        return self.levels.body_of[max(chain.begin - 1, 0)]

    def _wasted(self, chain: Chain) -> bool:
        copies = (chain.copied is not None) + (chain.evicted is not None)
        size = self.program.values[chain.value].size_bytes
        return chain.used < self.preset.inefficient * copies * size

    def _undo(self) -> None:
        """Takes out what the current family has put in."""
        for block in {id(chain.block): chain.block for chain in self.pending}.values():
            self.heap.remove(block)
        for chain in self.pending:
            seconds = self.cost.copy_s[chain.value]
            if chain.copied:
                self.prefetches.remove(*chain.copied, seconds)
            if chain.evicted:
                self.evictions.remove(*chain.evicted, seconds)
        self.pending = []

    def _value(self, v: int) -> None:
        if any(chain.value == v for chain in self.pending):
            return  # already followed as a group's result
        levels = self.stops.levels_of(v)
        for level in sorted(levels, key=lambda i: self.program.loops[i].entry if i >= 0 else -1):
            self._walk(v, level, self.stops.stops(v, level), None)

    def _walk(self, v: int, level: int, stops: list[LevelStop], held: Chain | None) -> None:
        """Decides one value's segments at one loop level.

        held: a stay that continues from a group's loop.
        """
        if held is None and self._is_held(v, level):
            return
        slow_from = 0  # time from which slow memory has the content
        last = held.end if held else 0
        for number, stop in enumerate(stops):
            time, until = stop.start + 1, stop.end
            reads = [self.reads[a] for a in stop.accesses]
            writes = not all(reads)
            refused = (v, level, number) in self.refused
            loop_defines = stop.loop >= 0 and any(self.defines[a] for a in stop.accesses)
            if stop.loop < 0 and self.defines[stop.accesses[0]]:
                if number + 1 < len(stops) and not refused:
                    held = self._define(v, number, time, stops[number + 1 :])
                slow_from = time
                self._serve(held, stop, time if writes else -1)
                last = until
                continue
            group = self.groups.get((stop.loop, v))
            if held and not loop_defines and self._extend(held, last, stop, group):
                self._serve(held, stop, until if writes else -1)
                if group is not None:
                    self._follow(held, stop, group)
                    return
                last = until
                continue
            if held:
                slow_from = max(slow_from, self._give_up(held, time))
                held = None
            if any(reads) and not refused and not loop_defines:
                held = self._prefetch(v, number, stops[number:], slow_from, group)
                self._serve(held, stop, until if writes else -1)
                if held and group is not None:
                    self._follow(held, stop, group)
                    return
            if writes:
                slow_from = until
            last = until
        if held:
            self._give_up(held, None)

    def _is_held(self, v: int, level: int) -> bool:
        """Whether the value entered the body of that loop, or of one around it, in fast memory."""
        if level < 0:
            return False
        loops = [level, *self.levels.around(self.program.loops[level].entry)]
        entries = [self.program.loops[i].entry + 1 for i in loops]
        return any(c.value == v and c.begin <= t < c.end for c in self.pending for t in entries)

    def _serve(self, held: Chain | None, stop: LevelStop, written: int) -> None:
        if held is None:
            return
        held.end = max(held.end, stop.end)
        held.used += sum([self.bytes[a] for a in stop.accesses])
        if written >= 0:
            held.written = written

    def _define(self, v: int, number: int, time: int, uses: list[LevelStop]) -> Chain | None:
        """Defines a value in fast memory if it can stay there until the first of its uses."""
        use = uses[0]
        if not self.picker.may_stay(time, use.start + 1):
            return None
        group = self.groups.get((use.loop, v))
        if group is None:
            later = [u.end for u in uses[1:]]
            offset = self.heap.find_lasting(self._size(v), time, use.end, later)
        elif self.program.fits(group):
            offset = self.heap.find(self._size(v), self._spans(time, use, v, group))
        else:
            return None
        if offset is None:
            self.full = True
            return None
        return self._begin(v, number, offset, [(time, time)], time, None)

    def _begin(
        self,
        v: int,
        number: int,
        offset: int,
        spans: list[tuple[int, int]],
        begin: int,
        copied: tuple[int, int] | None,
    ) -> Chain:
        block = HeapBlock(self._size(v), offset, spans)
        self.heap.add(block)
        chain = Chain(v, block, begin, spans[0][1], number, copied)
        self.pending.append(chain)
        return chain

    def _size(self, v: int) -> int:
        return self.program.machine.align(self.program.values[v].size_bytes)

    def _spans(
        self, begin: int, stop: LevelStop, v: int, result: int | None
    ) -> list[tuple[int, int]]:
        """The intervals of a stay up to a stop; over a group's loop one for each of two values."""
        if result is None:
            return [(begin, stop.end)]
        loop = self.program.loops[stop.loop]
        last = max(self.program.accesses[a].instruction for a in stop.accesses)
        for i in self.levels.around(last):
            if i != stop.loop and self.levels.inside(self.program.loops[i].entry, stop.loop):
                last = max(last, self.program.loops[i].exit)
        return [(begin, last + 1), (self._defined(result) + 1, loop.exit + 1)]

    def _defined(self, v: int) -> int:
        rows = self.program.accesses
        return next(rows[i].instruction for i in self.cost.of_value[v] if rows[i].defines)

    def _extend(self, held: Chain, last: int, stop: LevelStop, group: int | None) -> bool:
        """Keeps a value in its place until its next use; False if that is not possible."""
        if (held.value, self._level(held), held.stop) in self.refused:
            return False
        if not self.picker.may_stay(last, stop.start + 1):
            return False
        if group is not None and not self.program.fits(group):
            return False
        block = held.block
        spans = self._spans(held.end + 1, stop, held.value, group)
        new = [span for span in spans if span[0] <= span[1]]
        free = not new or self.heap.find(block.size, new, block.offset) is not None
        if free:
            for span in new:
                self.heap.extend(block, span)
            held.end = max(held.end, spans[0][1]) if group is None else spans[0][1]
        else:
            self.full = True
        return free

    def _give_up(self, held: Chain, before: int | None) -> int:
        """Evicts a value if its content is needed; returns the time from which slow memory has it.

        before: time of the next use; None if there is none at this level.

        Raises:
          _NoEviction: it cannot be done in time.
        """
        if held.written < 0 or not self.stops.needed(held.value, held.end, held.end - 1):
            return 0
        latest = self.stops.segment_end[held.end - 1] + 1
        if before is not None:
            latest = min(latest, before)
        start = held.written
        seconds = self.cost.copy_s[held.value]
        wanted = self.picker.eviction_end(start, latest, seconds, self.retry)
        for end in range(max(wanted, held.end + 1), held.end, -1):
            end = min(end, latest)
            if end <= start or self._crowded(self.evictions, start, end):
                break
            room = end - 1 <= held.end or self._room(held, end - 1)
            if room and self.evictions.has_enough(start, end, seconds):
                self.evictions.add(start, end, seconds)
                if end - 1 > held.end:
                    self.heap.extend(held.block, (held.end + 1, end - 1))
                    held.end = end - 1
                held.evicted = (start, end)
                return end - 1
        raise _NoEviction

    def _room(self, held: Chain, end: int) -> bool:
        return self.heap.find(held.block.size, [(held.end + 1, end)], held.block.offset) is not None

    def _crowded(self, resource: CopyResource, start: int, end: int) -> bool:
        """Whether the most copies allowed are already in progress."""
        return resource.under_way(start, end) >= self.preset.outstanding

    def _prefetch(
        self,
        v: int,
        number: int,
        uses: list[LevelStop],
        slow_from: int,
        group: int | None,
    ) -> Chain | None:
        """Copies a value for the first of its uses, if there is a start with room and supply."""
        stop, later = uses[0], [u.end for u in uses[1:]]
        if group is not None and not self.program.fits(group):
            return None
        time, size, seconds = stop.start + 1, self._size(v), self.cost.copy_s[v]
        earliest = max(slow_from, self.levels.segment[stop.start])
        gain = sum(self.cost.benefit[a] for a in stop.accesses) if stop.loop < 0 else 0.0
        for start in self.picker.starts(earliest, time, seconds, max(gain, 0.0)):
            if self._crowded(self.prefetches, start, time):
                continue
            if not self.prefetches.has_enough(start, time, seconds):
                continue
            spans = self._spans(start + 1, stop, v, group)
            if group is None:
                offset = self.heap.find_lasting(size, start + 1, stop.end, later)
            else:
                offset = self.heap.find(size, spans)
            if offset is None:
                self.full = True
                continue
            self.prefetches.add(start, time, seconds)
            return self._begin(v, number, offset, spans, start + 1, (start, time))
        return None

    def _follow(self, held: Chain, stop: LevelStop, result: int) -> None:
        """Continues with a group's result, which leaves the loop where its parameter came in."""
        loop = self.program.loops[stop.loop]
        defined = self._defined(result)
        held.end = held.block.spans[-2][1] if len(held.block.spans) > 1 else held.end
        chain = Chain(result, held.block, defined + 1, loop.exit + 1, -1)
        chain.written = loop.exit + 1
        rows = self.program.accesses
        chain.used = sum(
            rows[i].bytes
            for i in self.cost.of_value[result]
            if loop.entry < rows[i].instruction < loop.exit
        )
        self.pending.append(chain)
        level = self.levels.body_of[loop.entry]
        after = [s for s in self.stops.stops(result, level) if s.start > loop.exit]
        self._walk(result, level, after, chain)
