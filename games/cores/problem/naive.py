"""The reference: one operation at a time, all values by way of the external memory."""

from __future__ import annotations

import dataclasses

from games.cores.problem.problem import Problem
from games.cores.problem.schedule import Drop, Event, Schedule, Start, Transfer


@dataclasses.dataclass(frozen=True)
class Naive:
    """The reference and what it takes.

    time, energy: in the problem's units. peak: bits, summed over the memories with a limit.
    times, energies: of each value's operation with its transfers; 0 for given values.
    """

    schedule: Schedule
    time: int
    energy: float
    peak: int
    times: tuple[int, ...]
    energies: tuple[float, ...]


@dataclasses.dataclass
class _Run:
    """An operation alone: inputs come from external memory, the output goes there.

    before, after: channel and value of every transfer, in order. peaks: bits by memory.
    """

    allocation: int
    before: list[tuple[int, int]] = dataclasses.field(default_factory=list)
    after: list[tuple[int, int]] = dataclasses.field(default_factory=list)
    time: int = 0
    energy: float = 0.0
    peaks: dict[int, int] = dataclasses.field(default_factory=dict)
    obstacle: str = ""


def obstacle_of(problem: Problem, allocation: int) -> str:
    """Why an operation cannot run alone; empty if it can."""
    return _alone(problem, allocation).obstacle


def _alone(problem: Problem, allocation: int) -> _Run:
    a, run = problem.allocations[allocation], _Run(allocation)
    value = problem.values[a.value]
    held: dict[int, int] = {}

    def take(m: int, v: int) -> None:
        bits, memory = problem.values[v].bits, problem.memories[m]
        if memory.bits is None:
            return
        held[m] = held.get(m, 0) + bits
        run.peaks[m] = max(run.peaks.get(m, 0), held[m])
        if held[m] > memory.bits and not run.obstacle:
            run.obstacle = f"memory {memory.name!r} of {memory.bits} bits must hold {held[m]}"

    def leave(m: int, v: int) -> None:
        if m != problem.external:
            held[m] -= problem.values[v].bits

    def carry(source: int, target: int, v: int, into: list[tuple[int, int]]) -> None:
        path = problem.routes.path(source, target, v)
        if path is None:
            names = problem.memories[source].name, problem.memories[target].name
            run.obstacle = run.obstacle or (
                f"there must be a way from {names[0]!r} to {names[1]!r} with room for "
                f"{problem.values[v].bits} bits"
            )
            return
        for c in path:
            channel = problem.channels[c]
            take(channel.target, v)
            if channel.source != source or source == a.output:
                leave(channel.source, v)
            into.append((c, v))
            run.time += problem.transfer_time(c, v)
            run.energy += problem.transfer_energy(c, v)

    for v, m in zip(value.inputs, a.inputs, strict=True):
        if m != problem.external:
            carry(problem.external, m, v, run.before)
    take(a.output, a.value)
    run.time += a.time
    run.energy += a.energy
    for v, m in zip(value.inputs, a.inputs, strict=True):
        leave(m, v)
    if a.output != problem.external:
        carry(a.output, problem.external, a.value, run.after)
    return run


def naive_of(problem: Problem) -> Naive:
    """The reference of a valid problem: each operation where it takes the least time alone, with
    its transfers; among equals the least energy, then the first."""
    events: list[Event] = []
    times, energies = [0] * len(problem.values), [0.0] * len(problem.values)
    peaks: dict[int, int] = {}
    left = [len(problem.consumers[v]) for v in range(len(problem.values))]
    for v in problem.wanted:
        left[v] += 1
    now, energy = 0, 0.0
    for v in problem.operations:
        runs = [_alone(problem, a) for a in problem.allocations_of[v]]
        run = min((r for r in runs if not r.obstacle), key=lambda r: (r.time, r.energy))
        now = _write(problem, run, events, left, now)
        times[v], energies[v] = run.time, run.energy
        energy += run.energy
        for m, bits in run.peaks.items():
            peaks[m] = max(peaks.get(m, 0), bits)
    peak = sum(peaks.values())
    return Naive(Schedule(tuple(events)), now, energy, peak, tuple(times), tuple(energies))


def _write(problem: Problem, run: _Run, events: list[Event], left: list[int], now: int) -> int:
    """Appends the events of an operation that begins now; when it is over."""
    a = problem.allocations[run.allocation]
    external = problem.external

    def carry(c: int, v: int) -> None:
        nonlocal now
        events.append(Transfer(now, c, v))
        now += problem.transfer_time(c, v)
        source = problem.channels[c].source
        if source != external:
            events.append(Drop(now, v, source))

    for c, v in run.before:
        carry(c, v)
    events.append(Start(now, run.allocation))
    now += a.time
    for v, m in zip(problem.values[a.value].inputs, a.inputs, strict=True):
        left[v] -= 1
        if left[v] and m != external:
            events.append(Drop(now, v, m))
    for c, v in run.after:
        carry(c, v)
    return now
