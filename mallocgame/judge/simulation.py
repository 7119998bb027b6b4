"""How long a program takes with a mapping, and what its memories do meanwhile."""

from __future__ import annotations

import dataclasses
import heapq
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mallocgame.judge.reading import JudgedStay, Reading, takes_over
from mallocgame.program import Program, latency
from mallocgame.program.mapping import Mapping


@dataclasses.dataclass(frozen=True)
class Simulation:
    """How a program runs with a mapping.  Per slot one execution; T instructions.

    latency_s, all_slow_latency_s, floor_latency_s: seconds of the whole program, weighted: with the
        mapping, without fast memory, with every value that fits in fast memory for nothing.
    saved_fraction: 1 - latency_s / all_slow_latency_s, 0 for a program that takes no time.
    elapsed_s: [T] seconds of each instruction, without stalls.
    stall_s: [T] seconds that each instruction waits for copies that are late.
    prefetch_s, eviction_s: [T] seconds of the slow bus used by copies, stalls included.
    bus_busy_s: [T] seconds of the slow bus in use: the instruction's own physical bytes and copies.
    fast_bytes: [T] bytes of fast memory in use by values, each rounded up to the alignment.
    """

    latency_s: float
    all_slow_latency_s: float
    floor_latency_s: float
    saved_fraction: float
    elapsed_s: np.ndarray
    stall_s: np.ndarray
    prefetch_s: np.ndarray
    eviction_s: np.ndarray
    bus_busy_s: np.ndarray
    fast_bytes: np.ndarray


def simulate(program: Program, mapping: Mapping) -> Simulation:
    """Runs a program with a mapping, in float64 seconds.

    Copies share the supply of their windows, earliest deadline first.  A copy's deadline is its
    `end`; what is missing there is a stall, of instruction `end` for a prefetch, of instruction
    `end - 1` for an eviction.  What a mapping holds beyond the program (unknown values, times
    outside the schedule) is left out; the figures of a mapping that breaks rules mean little.
    """
    reading = Reading(program, mapping)
    in_fast = reading.served_fast()
    weights = np.array(program.weights, dtype=np.float64)
    elapsed, own_bus = latency.instruction_seconds(program, in_fast)
    slow_elapsed, _ = latency.instruction_seconds(program, np.zeros(len(program.accesses), bool))
    fits = np.array([program.fits(v) for v in range(len(program.values))], dtype=bool)
    fits = fits[program.columns.value]
    slow_s, fast_s = latency.access_seconds(program)
    floor_elapsed, _ = latency.instruction_seconds(program, fits & (fast_s <= slow_s))
    budget = np.asarray(latency.supply_time(elapsed, own_bus), dtype=np.float64)
    copies, stalls = _share_supply(program, reading, budget)
    stall = stalls.sum(axis=0)
    total = math.fsum(weights * (elapsed + stall))
    all_slow = math.fsum(weights * slow_elapsed)
    return Simulation(
        latency_s=total,
        all_slow_latency_s=all_slow,
        floor_latency_s=math.fsum(weights * floor_elapsed),
        saved_fraction=1 - total / all_slow if all_slow > 0 else 0.0,
        elapsed_s=elapsed,
        stall_s=stall,
        prefetch_s=copies[0] + stalls[0],
        eviction_s=copies[1] + stalls[1],
        bus_busy_s=own_bus + copies.sum(axis=0) + stall,
        fast_bytes=_fast_bytes(program, reading.stays),
    )


def elapsed_seconds(program: Program, in_fast: np.ndarray) -> np.ndarray:
    """Seconds of each instruction, without stalls, with its accesses placed: [T].

    in_fast: bool [A], in the order of `program.accesses`.
    """
    return latency.instruction_seconds(program, in_fast)[0]


def _share_supply(
    program: Program, reading: Reading, budget: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Feeds the copies, earliest deadline first.

    budget: [T] seconds of supply.

    Returns:
      copies, stalls: [2, T] seconds of prefetches (row 0) and evictions (row 1) in time and late.
    """
    total = len(program.instructions)
    demand = latency.copy_seconds(program).tolist()
    copies, stalls = np.zeros((2, total)), np.zeros((2, total))
    waiting: list[tuple[int, int, int, float]] = []  # start, deadline, row, demand
    for row, transfers in enumerate(([t for t, _ in reading.fetches], reading.evictions)):
        for t in transfers:
            if t.start == t.end:
                stalls[row, t.end - row] += demand[t.value]
            else:
                waiting.append((t.start, t.end, row, demand[t.value]))
    waiting.sort(reverse=True)
    supply = budget.tolist()
    queue: list[list[Any]] = []  # heap of [deadline, number, row, seconds still missing]
    slot = 0
    while waiting or queue:
        if not queue:
            slot = max(slot, waiting[-1][0])
        while waiting and waiting[-1][0] <= slot:
            _, deadline, row, seconds = waiting.pop()
            heapq.heappush(queue, [deadline, len(waiting), row, seconds])
        left = supply[slot]
        while queue and (queue[0][3] <= left or queue[0][0] <= slot + 1):
            deadline, _, row, missing = heapq.heappop(queue)
            used = min(left, missing)
            left -= used
            copies[row, slot] += used
            if missing > used:
                stalls[row, deadline - row] += missing - used
        if queue and left > 0:
            queue[0][3] -= left
            copies[queue[0][2], slot] += left
        slot += 1
    return copies, stalls


def _fast_bytes(program: Program, stays: Sequence[JudgedStay]) -> np.ndarray:
    """Bytes of fast memory in use: int64 [T]; a result that takes over a place counts once."""
    change = np.zeros(len(program.instructions) + 1, dtype=np.int64)
    results = {(g.parameter, g.result) for g in program.carried}
    by_end: dict[tuple[int, int], list[JudgedStay]] = {}
    if results:
        for stay in stays:
            by_end.setdefault((stay.offset, stay.end), []).append(stay)
    for stay in stays:
        change[stay.start] += stay.size
        change[stay.end] -= stay.size
        for other in by_end.get((stay.offset, stay.start + 1), ()):
            if other is not stay and takes_over(other, stay, results):
                change[stay.start] -= stay.size
                change[stay.start + 1] += stay.size
                break
    return np.cumsum(change)[:-1]
