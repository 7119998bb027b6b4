"""Chooses the capacity at which a program's memory is contested.

A program whose useful values all fit is trivial.  The choice is the largest of the chip's capacity
and its halves at which useful values compete for room and production saves clearly less than
unlimited memory would.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mallocgame.judge import simulate
from mallocgame.program import Program
from mallocgame.program.latency import access_seconds
from mallocgame.program.machine import MIB
from mallocgame.program.mapping import Mapping, all_slow

CLEARLY_LESS = 0.9
LEAST_BYTES = 1 * MIB
LARGEST_MACHINE_BYTES = 2**30 - 4096
USEFUL_SHARE = 1e-5


@dataclass(frozen=True)
class Contest:
    """How contested the memory is.

    pressure: the most bytes of useful values in use at once, over the capacity.
    saved: share of the all-slow latency that production saves.
    bound: share that unlimited fast memory and free copies would save.
    """

    pressure: float
    saved: float
    bound: float

    @property
    def is_contested(self) -> bool:
        """Whether values compete for room, at a cost to production."""
        return self.pressure > 1 and self.saved < CLEARLY_LESS * self.bound

    def reason(self, capacity_bytes: int) -> str:
        """One line for a program's provenance."""
        what = "contested" if self.is_contested else "not contested at any capacity"
        return (
            f"{capacity_bytes >> 20} MiB: {what}; useful values need {self.pressure:.1f} times the "
            f"capacity, production saves {self.saved:.1%} of at most {self.bound:.1%}"
        )


def contest(program: Program, production: Mapping) -> Contest:
    """How contested a program's memory is, by production's mapping."""
    return Contest(
        pressure=pressure(program),
        saved=simulate(program, production).saved_fraction,
        bound=unlimited_bound(program),
    )


def unlimited_bound(program: Program) -> float:
    """Share of the all-slow latency that 1 GiB of fast memory with free copies would save."""
    machine = program.machine.with_capacity(LARGEST_MACHINE_BYTES)
    simulation = simulate(program.with_machine(machine), all_slow(program))
    if simulation.all_slow_latency_s <= 0:
        return 0.0
    return 1 - simulation.floor_latency_s / simulation.all_slow_latency_s


def pressure(program: Program) -> float:
    """The most bytes of useful values in use at once, over the capacity.

    A value is useful if it may be in fast memory and its accesses gain more there than
    `USEFUL_SHARE` of the all-slow latency.  It is in use from its first to its last access, and
    throughout a loop that it crosses.
    """
    slow_s, fast_s = access_seconds(program)
    weights = np.array(program.weights, float)
    gain = np.zeros(len(program.values))
    spans: dict[int, tuple[int, int]] = {}
    for access, slow, fast in zip(program.accesses, slow_s, fast_s, strict=True):
        gain[access.value] += weights[access.instruction] * (slow - fast)
        start, end = spans.get(access.value, (access.instruction, access.instruction))
        spans[access.value] = (min(start, access.instruction), max(end, access.instruction))
    enough = USEFUL_SHARE * simulate(program, all_slow(program)).all_slow_latency_s
    change = np.zeros(len(program.instructions) + 1)
    for value, (start, end) in spans.items():
        if not program.fits(value) or gain[value] < enough:
            continue
        for loop in program.loops:
            crosses = start < loop.entry or end > loop.exit
            if crosses and start <= loop.exit and end >= loop.entry:
                start, end = min(start, loop.entry), max(end, loop.exit)
        change[start] += program.values[value].size_bytes
        change[end + 1] -= program.values[value].size_bytes
    return float(np.cumsum(change).max(initial=0)) / program.machine.fast_capacity_bytes


def halves(capacity_bytes: int) -> list[int]:
    """The chip's capacity and its halves, largest first, down to 1 MiB."""
    sizes = [capacity_bytes]
    while sizes[-1] // 2 >= LEAST_BYTES:
        sizes.append(sizes[-1] // 2)
    return sizes
