"""A problem as arrays for the compiled decoder."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from games.cores.problem.problem import Problem


class Arrays(NamedTuple):
    """Everything int64 but for what says otherwise; -1 where there is none.

    bits, uses: [V]; uses: readers, and 1 if wanted. inputs: [V, I]. after: [V, W]. given,
    wanted: bool [V]. op, group, output, time: [A]; memory: [A, I]; energy: float64 [A].
    first, ways: [V]; the allocations of a value are listed[first : first + ways].
    channel_group, source, target: [C]. move_time: [C, V]. move_energy: float64 [C], per bit.
    size: [M], of the external memory very large. biggest: [M], the most that one operation takes.
    hop: [M, M], the first channel of the way from one memory to another.
    way: float64 [M, M], time of that way for a bit. prices: float64 [3]. external, groups: numbers.
    """

    bits: np.ndarray
    uses: np.ndarray
    inputs: np.ndarray
    after: np.ndarray
    given: np.ndarray
    wanted: np.ndarray
    op: np.ndarray
    group: np.ndarray
    output: np.ndarray
    time: np.ndarray
    memory: np.ndarray
    energy: np.ndarray
    first: np.ndarray
    ways: np.ndarray
    listed: np.ndarray
    channel_group: np.ndarray
    source: np.ndarray
    target: np.ndarray
    move_time: np.ndarray
    move_energy: np.ndarray
    size: np.ndarray
    biggest: np.ndarray
    hop: np.ndarray
    way: np.ndarray
    prices: np.ndarray
    external: int
    groups: int


def arrays_of(problem: Problem) -> Arrays:
    """The arrays of a problem."""
    values, channels, allocations = problem.values, problem.channels, problem.allocations
    wide = max((len(v.inputs) for v in values), default=0) or 1
    waits = max((len(v.after) for v in values), default=0) or 1

    def padded(lists: list[tuple[int, ...]], width: int) -> np.ndarray:
        found = np.full((len(lists), width), -1, np.int64)
        for row, entries in zip(found, lists, strict=True):
            row[: len(entries)] = entries
        return found

    def ints(data: object) -> np.ndarray:
        return np.asarray(data, np.int64)

    rooms = [problem.room_for(a) for a in range(len(allocations))]
    memories = range(len(problem.memories))
    wanted = set(problem.wanted)
    given = set(problem.given)
    hop, way = _ways(problem)
    starts = np.cumsum([0, *(len(a) for a in problem.allocations_of)])
    move_time = [[problem.transfer_time(c, v) for v in range(len(values))]
                 for c in range(len(channels))]  # fmt: skip
    return Arrays(
        bits=ints([v.bits for v in values]),
        uses=ints([len(problem.consumers[v]) + (v in wanted) for v in range(len(values))]),
        inputs=padded([v.inputs for v in values], wide),
        after=padded([v.after for v in values], waits),
        given=np.array([v in given for v in range(len(values))], bool),
        wanted=np.array([v in wanted for v in range(len(values))], bool),
        op=ints([a.value for a in allocations]),
        group=ints([a.group for a in allocations]),
        output=ints([a.output for a in allocations]),
        time=ints([a.time for a in allocations]),
        memory=padded([a.inputs for a in allocations], wide),
        energy=np.asarray([a.energy for a in allocations], np.float64),
        first=ints(starts[:-1]),
        ways=ints([len(a) for a in problem.allocations_of]),
        listed=ints([a for of in problem.allocations_of for a in of]),
        channel_group=ints([c.group for c in channels]),
        source=ints([c.source for c in channels]),
        target=ints([c.target for c in channels]),
        move_time=ints(move_time).reshape(len(channels), len(values)),
        move_energy=np.asarray([c.energy_per_bit for c in channels], np.float64),
        size=ints([1 << 60 if m.bits is None else m.bits for m in problem.memories]),
        biggest=ints([max((r.get(m, 0) for r in rooms), default=0) for m in memories]),
        hop=hop,
        way=way,
        prices=np.asarray(problem.prices, np.float64),
        external=problem.external,
        groups=len(problem.groups),
    )


def _ways(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Fastest ways of a value of middling size between memories, by Floyd and Warshall."""
    count = len(problem.memories)
    sizes = sorted(value.bits for value in problem.values) or [1]
    bits = max(sizes[len(sizes) // 2], 1)
    way = np.full((count, count), np.inf)
    hop = np.full((count, count), -1, np.int64)
    np.fill_diagonal(way, 0.0)
    for c, x in enumerate(problem.channels):
        time = x.latency / bits + x.time_per_bit
        if time < way[x.source, x.target]:
            way[x.source, x.target], hop[x.source, x.target] = time, c
    for via in range(count):
        for a in range(count):
            for b in range(count):
                if way[a, via] + way[via, b] < way[a, b]:
                    way[a, b], hop[a, b] = way[a, via] + way[via, b], hop[a, via]
    return hop, way
