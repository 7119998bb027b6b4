"""Times of a program's instructions and accesses, in one unit."""

from __future__ import annotations

import math

import numpy as np

from mallocgame.program.latency import access_seconds, bus_seconds, copy_seconds, elapsed_time
from mallocgame.program.program import Program


class Times:
    """Times of instructions and accesses, in units of the all-slow latency.

    scale_s: the all-slow latency in seconds.
    compute, fixed_read, fixed_write, fixed_bus: float64 [T], of each instruction.
    slow_elapsed: float64 [T], with every access in slow memory.
    floor: float64 [T], with everything that fits in fast memory that is faster there.
    slow, fast: float64 [A], of each access in slow and in fast memory; best: the lesser of both.
    bus: float64 [A], the slow bus's time for each access in slow memory.
    demand: float64 [V], the slow bus's time for a copy of each value.
    weight: float64 [T], executions of each instruction.
    slot: int64 [A], the instruction of each access; reads: bool [A], whether it is a read.
    """

    def __init__(self, program: Program):
        slow_s, fast_s = access_seconds(program)
        fixed_bus, bus = bus_seconds(program)
        columns, total = program.columns, len(program.instructions)
        compute, read, write = columns.compute_s, columns.fixed_read_s, columns.fixed_write_s
        self.slot, self.reads = columns.slot, columns.is_read
        fits = np.array([program.fits(v) for v in range(len(program.values))], bool)[columns.value]
        self.weight = np.array(program.weights, dtype=np.float64)

        def elapsed(seconds: np.ndarray) -> np.ndarray:
            of_reads, of_writes = (
                np.bincount(self.slot[which], seconds[which], total)
                for which in (self.reads, ~self.reads)
            )
            return np.asarray(elapsed_time(compute, read + of_reads, write + of_writes))

        slow_elapsed = elapsed(slow_s)
        self.scale_s = math.fsum(self.weight * slow_elapsed)
        unit = self.scale_s or 1.0
        self.compute, self.fixed_read, self.fixed_write = compute / unit, read / unit, write / unit
        self.slow_elapsed = slow_elapsed / unit
        best_s = np.minimum(slow_s, fast_s)
        self.floor = elapsed(np.where(fits, best_s, slow_s)) / unit
        self.slow, self.fast, self.bus = slow_s / unit, fast_s / unit, bus / unit
        self.best = best_s / unit
        self.fixed_bus, self.demand = fixed_bus / unit, copy_seconds(program) / unit
