"""Loops and segments of a schedule, slot by slot."""

from __future__ import annotations

from mallocgame.program.program import Program


class Levels:
    """Loops and segments of a schedule.

    body_of: [T] the innermost loop whose body contains the slot, -1 at the outer level.
    segment: [T] the first slot of the slot's segment.
    parent: [loops] the loop around each loop, or -1.
    """

    def __init__(self, program: Program):
        self.loops = program.loops
        entries = {loop.entry: i for i, loop in enumerate(program.loops)}
        exits = {loop.exit for loop in program.loops}
        self.parent = [-1] * len(program.loops)
        self.body_of: list[int] = []
        self.segment: list[int] = []
        current, first = -1, 0
        for t in range(len(program.instructions)):
            if t in exits:
                current, first = self.parent[current], t
            self.body_of.append(current)
            self.segment.append(first)
            if t in entries:
                self.parent[entries[t]] = current
                current, first = entries[t], t + 1

    def inside(self, slot: int, loop: int) -> bool:
        """Whether the body of `loop` contains the slot."""
        return self.loops[loop].entry < slot < self.loops[loop].exit

    def around(self, slot: int) -> list[int]:
        """The loops whose bodies contain the slot, innermost first."""
        chain, loop = [], self.body_of[slot]
        while loop >= 0:
            chain.append(loop)
            loop = self.parent[loop]
        return chain
