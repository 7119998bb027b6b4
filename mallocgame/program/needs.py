"""Who still needs a value's content: readers later in the schedule or in later iterations."""

from __future__ import annotations

import bisect

from mallocgame.program.levels import Levels
from mallocgame.program.program import Program


class Needs:
    """Answers whether content that fast memory gives up is needed, for any value and slot."""

    def __init__(self, program: Program, levels: Levels):
        self.program, self.levels = program, levels
        self.reads: dict[int, list[int]] = {}
        self.defined_at: dict[int, int] = {}
        for access in program.accesses:
            if access.kind == "read":
                self.reads.setdefault(access.value, []).append(access.instruction)
            elif access.defines:
                self.defined_at[access.value] = access.instruction
        for row in self.reads.values():
            row.sort()
        self.parameter_of = {(g.loop, g.result): g.parameter for g in program.carried}
        self.parameters = {(g.loop, g.parameter) for g in program.carried}

    def __call__(self, value: int, end: int, slot: int) -> bool:
        """Whether the content that a value has before slot `end` is needed from there on.

        It is needed if an instruction reads it later in the schedule or in a later iteration of a
        loop around `slot`, a slot of the segment in which it is given up, or if it is an output.
        """
        if self.program.values[value].is_output:
            return True
        if self._read_in(value, end, len(self.program.instructions)):
            return True
        for i in self.levels.around(slot):
            loop = self.levels.loops[i]
            if (i, value) in self.parameters:
                return False  # the next iteration's content is the result's
            parameter = self.parameter_of.get((i, value))
            if parameter is not None and self._read_in(parameter, loop.entry + 1, loop.exit):
                return True
            if self.levels.inside(self.defined_at.get(value, -1), i):
                return False  # each iteration defines it anew
            if self._read_in(value, loop.entry + 1, loop.exit):
                return True
        return False

    def _read_in(self, value: int, first: int, end: int) -> bool:
        """Whether an instruction of [first, end) reads the value."""
        reads = self.reads.get(value, [])
        i = bisect.bisect_left(reads, first)
        return i < len(reads) and reads[i] < end
