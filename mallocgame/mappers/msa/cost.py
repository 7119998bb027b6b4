"""What MSA takes a buffer to be worth, and how long instructions and copies take.

Source: XLA, `CostAnalysis::GetMemoryBoundedness` and
`MemoryBoundednessBufferIntervalCompare` (memory_space_assignment/cost_analysis, utils).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from mallocgame.program import Program
from mallocgame.program.latency import access_seconds, bus_seconds, copy_seconds
from mallocgame.program.levels import Levels
from mallocgame.program.times import Times

TRIPS = 5.0  # assumed executions of a loop body

# Seconds that a byte in fast memory saves per access, from the benefit column of the TPU v4
# compiler's dumps: benefit * sqrt(size) / bytes is 1.69e-12 to 1.70e-12 for nine tenths of
# ResNet-50's buffers, whatever the instructions compute.
PRODUCTION_BYTE_S = 1.695e-12


class Cost:
    """Times of a program with everything in slow memory.

    elapsed: [T] seconds of one execution.
    nesting: [T] number of loops around each instruction.
    copy_s: [V] seconds of a copy.
    benefit: [A] seconds that each access saves in fast memory per execution; negative for
        instructions
      that are not memory-bound.
    of_value: [V] the numbers of each value's accesses.
    """

    def __init__(self, program: Program, byte_s: float | None):
        """byte_s: benefit per byte; None to compare the instructions' own times."""
        self.program = program
        times, levels = Times(program), Levels(program)
        unit = times.scale_s
        self.elapsed = (times.slow_elapsed * unit).tolist()
        self.nesting = [len(levels.around(t)) for t in range(len(program.instructions))]
        self.copy_s = copy_seconds(program).tolist()
        if byte_s is not None:
            self.benefit = [a.bytes * byte_s for a in program.accesses]
            fixed, bus = bus_seconds(program)
            np.add.at(fixed, times.slot, bus)
            self.elapsed = fixed.tolist()
        else:
            self.benefit = self._benefits()
        self.of_value: list[list[int]] = [[] for _ in program.values]
        for i, access in enumerate(program.accesses):
            self.of_value[access.value].append(i)

    def _benefits(self) -> list[float]:
        slow, fast = (array.tolist() for array in access_seconds(self.program))
        by_side: dict[tuple[int, str], float] = {}
        for ins, instruction in enumerate(self.program.instructions):
            by_side[ins, "read"] = instruction.fixed_read_s
            by_side[ins, "write"] = instruction.fixed_write_s
        for access, seconds in zip(self.program.accesses, slow, strict=True):
            by_side[access.instruction, access.kind] += seconds
        benefits = []
        for i, access in enumerate(self.program.accesses):
            t = access.instruction
            sides = {kind: by_side[t, kind] for kind in ("read", "write")}
            memory, compute = max(sides.values()), self.program.instructions[t].compute_s
            sides[access.kind] -= slow[i] - fast[i]
            now = max(compute, *sides.values())
            benefits.append(self.elapsed[t] - now if memory > compute else memory - compute)
        return benefits

    def boundedness(self, values: Iterable[int]) -> float:
        """What values that share a place are worth, per square root of their size.

        Positive benefits add up; if there are none, the largest of the others counts.
        """
        values = list(values)
        benefits = [
            self.benefit[i] * TRIPS ** self.nesting[self.program.accesses[i].instruction]
            for v in values
            for i in self.of_value[v]
        ]
        positive = [b for b in benefits if b > 0]
        worth = math.fsum(positive) if positive else max(benefits, default=0.0)
        size = max(self.program.values[v].size_bytes for v in values)
        return worth / math.sqrt(size) if size else worth


def sort_order(cost: Cost, families: Sequence[Sequence[int]]) -> list[int]:
    """The order in which families of values are decided: indices into `families`.

    The most memory-bound come first; of equals the larger, then the one defined earlier.
    """

    def key(number: int) -> tuple[float, int, int]:
        values = families[number]
        size = max(cost.program.values[v].size_bytes for v in values)
        defined = min(
            (cost.program.accesses[i].instruction for v in values for i in cost.of_value[v]),
            default=0,
        )
        inputs = any(cost.program.values[v].is_input for v in values)
        return -cost.boundedness(values), -size, -1 if inputs else defined

    return sorted(range(len(families)), key=key)
