"""What fast memory is good for: what each access could save, and which ones a mapping serves."""

from __future__ import annotations

import dataclasses

import numpy as np

from mallocgame.program import Program
from mallocgame.program.mapping import COPIED, Mapping
from mallocgame.program.times import Times

# Share of the all-slow latency: a value that gains less is not worth a place (docs/suite.md).
USEFUL = 1e-5


@dataclasses.dataclass(frozen=True)
class Benefit:
    """Shares of the all-slow latency.

    of_access: float64 [A], the most that each access saves in fast memory, over all executions.
    of_value: float64 [V], the sums over each value's accesses.
    """

    of_access: np.ndarray
    of_value: np.ndarray


def benefit(program: Program) -> Benefit:
    """The most that fast memory can save, access by access (docs/game.md, section 2)."""
    times = Times(program)
    most = np.minimum(times.slow - times.fast, (times.slow_elapsed - times.floor)[times.slot])
    fits = np.array([program.fits(a.value) for a in program.accesses], dtype=bool)
    of_access = np.where(fits, times.weight[times.slot] * most, 0.0)
    values = np.array([a.value for a in program.accesses], dtype=np.int64)
    return Benefit(of_access, np.bincount(values, of_access, len(program.values)))


def served_by(program: Program, mapping: Mapping) -> list[list[int]]:
    """For each residency, the numbers of the accesses that it serves from fast memory."""
    completed: dict[tuple[int, int], int] = {}
    for p in mapping.prefetches:
        completed[p.value, p.start] = max(p.end, completed.get((p.value, p.start), p.end))
    of_value: dict[int, list[int]] = {}
    for i, access in enumerate(program.accesses):
        of_value.setdefault(access.value, []).append(i)
    served = []
    for r in mapping.residencies:
        copied = r.arrival == COPIED
        first = completed.get((r.value, r.start), r.start) if copied else r.start
        served.append(
            [
                i
                for i in of_value.get(r.value, ())
                if first <= (t := program.accesses[i].instruction) < r.end
                and (not program.accesses[i].defines or (not copied and t == r.start))
            ]
        )
    return served


def wanted_bytes(program: Program, worth: Benefit) -> np.ndarray:
    """Bytes of useful values in use at each slot, whatever the capacity: int64 [T].

    A value is useful if fast memory saves at least `USEFUL` on it.  It is in use from its first to
    its last access, and throughout a loop that it crosses.

    worth: the program's, from `benefit`.
    """
    gains = worth.of_value
    spans: dict[int, tuple[int, int]] = {}
    for access in program.accesses:
        t = access.instruction
        start, end = spans.get(access.value, (t, t))
        spans[access.value] = (min(start, t), max(end, t))
    change = np.zeros(len(program.instructions) + 1, dtype=np.int64)
    for value, (start, end) in spans.items():
        if gains[value] < USEFUL:
            continue
        for loop in sorted(program.loops, key=lambda loop: loop.exit - loop.entry):
            outside = start < loop.entry or end > loop.exit
            crosses = outside or program.values[value].is_input or program.values[value].is_output
            if crosses and start <= loop.exit and end >= loop.entry:
                start, end = min(start, loop.entry), max(end, loop.exit)
        change[start] += program.values[value].size_bytes
        change[end + 1] -= program.values[value].size_bytes
    return np.cumsum(change)[:-1]
