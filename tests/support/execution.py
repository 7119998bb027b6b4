"""Executes a mapping on a toy machine, byte by byte: an independent check of the judge.

Every write makes a fresh content; fast memory is an array of bytes that hold contents, slow memory
a dictionary.  Copies, clobbered places and stale copies then show as wrong contents at a read.
Loops run for up to `iterations` iterations.
"""

from __future__ import annotations

import numpy as np

from mallocgame.program import Program
from mallocgame.program.mapping import COPIED, DEFINED, Mapping, Residency, Transfer

GARBAGE = -1


def runs_right(program: Program, mapping: Mapping, iterations: int = 3) -> bool:
    """Whether every read and every output sees the content it should.

    The mapping's values, offsets and times must be in range.
    """
    return _Execution(program, mapping).run(iterations)


class _Execution:
    def __init__(self, program: Program, mapping: Mapping):
        self.program, self.mapping = program, mapping
        self.fast = np.full(program.machine.fast_capacity_bytes, GARBAGE)
        self.right = {v: v for v, value in enumerate(program.values) if value.is_input}
        self.slow = dict(self.right)
        self.contents = len(program.values)
        self.ready: dict[Residency, int] = {}
        self.fetch: dict[Residency, Transfer] = {}
        for r in mapping.residencies:
            self.ready[r] = r.start
            fetches = [t for t in mapping.prefetches if (t.value, t.start) == (r.value, r.start)]
            if r.arrival == COPIED and fetches:
                in_time = [t for t in fetches if t.end < r.end] or fetches
                self.fetch[r] = max(in_time, key=lambda t: t.end)
                self.ready[r] = self.fetch[r].end
        self.on_bus: dict[Residency | Transfer, tuple[int, Residency]] = {}
        self.ok = True

    def run(self, iterations: int) -> bool:
        self._run(0, len(self.program.instructions), iterations)
        for v, value in enumerate(self.program.values):
            if value.is_output and v in self.right:
                self.ok &= self.slow.get(v) == self.right[v]
        return self.ok

    def _run(self, begin: int, end: int, iterations: int) -> None:
        t = begin
        while t < end:
            self._slot(t)
            t += 1
            for number, loop in enumerate(self.program.loops):
                if loop.entry == t - 1:
                    for i in range(min(loop.trip_count, iterations)):
                        if i:
                            self._carry(number)
                        self._run(loop.entry + 1, loop.exit, iterations)
                    t = loop.exit

    def _carry(self, loop: int) -> None:
        for group in self.program.carried:
            if group.loop == loop:
                self.right[group.parameter] = self.right[group.result]
                self.slow[group.parameter] = self.slow.get(group.result, GARBAGE)

    def _bytes(self, r: Residency) -> np.ndarray:
        return self.fast[r.offset : r.offset + self.program.values[r.value].size_bytes]

    def _serving(self, value: int, t: int) -> Residency | None:
        """The residency with the right content that lasts the longest."""
        good = [
            r
            for r in self.mapping.residencies
            if r.value == value
            and self.ready[r] <= t < r.end
            and (self._bytes(r) == self.right.get(value)).all()
        ]
        return max(good, key=lambda r: r.end) if good else None

    def _slot(self, t: int) -> None:
        for r, transfer in self.fetch.items():
            if transfer.end == t and r in self.on_bus:
                self._end_fetch(r)
            if transfer.start == t:
                self._bytes(r)[:] = GARBAGE
                self.on_bus[r] = self.slow.get(r.value, GARBAGE), r
                if transfer.end == t:
                    self._end_fetch(r)
        self.fast[: self.program.instructions[t].reserved_bytes] = GARBAGE
        for access in self.program.accesses_at[t]:
            if access.kind == "read":
                self._read(access.value, t)
            elif access.defines:
                self._define(access.value, t)
            else:
                self._update(access.value, t)
        for eviction in self.mapping.evictions:
            if eviction.start == t + 1:
                r = self._serving(eviction.value, t)
                if r is not None:
                    self.on_bus[eviction] = self.right[eviction.value], r
            if eviction.end == t + 1 and eviction in self.on_bus:
                content, r = self.on_bus.pop(eviction)
                intact = (self._bytes(r) == content).all()
                self.slow[eviction.value] = content if intact else GARBAGE

    def _end_fetch(self, r: Residency) -> None:
        content, _ = self.on_bus.pop(r)
        self._bytes(r)[:] = content if self.slow.get(r.value) == content else GARBAGE

    def _read(self, value: int, t: int) -> None:
        in_slow = self.slow.get(value) == self.right[value]
        self.ok &= self._serving(value, t) is not None or in_slow

    def _define(self, value: int, t: int) -> None:
        self._write(value)
        for r in self.mapping.residencies:
            if r.value == value and r.start == t and r.arrival == DEFINED:
                self._bytes(r)[:] = self.contents
                return
        self.slow[value] = self.contents

    def _update(self, value: int, t: int) -> None:
        r = self._serving(value, t)
        sound = self.slow.get(value) == self.right[value]
        self._write(value)
        if r is not None:
            self._bytes(r)[:] = self.contents
        else:
            self.slow[value] = self.contents if sound else GARBAGE

    def _write(self, value: int) -> None:
        self.contents += 1
        self.right[value] = self.contents
