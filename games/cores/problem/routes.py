"""Ways from memory to memory."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from games.cores.problem.problem import Problem


class Routes:
    """Fastest ways of a value from one memory to another, by channels; found once each."""

    def __init__(self, problem: Problem):
        self._problem = problem
        self._found: dict[tuple[int, int], dict[int, tuple[int, ...]]] = {}
        self._leaving: list[list[int]] = [[] for _ in problem.memories]
        for c, channel in enumerate(problem.channels):
            self._leaving[channel.source].append(c)

    def path(self, source: int, target: int, value: int) -> tuple[int, ...] | None:
        """Channels one after another, none for no way: the least time, then the fewest, then the
        smallest numbers. Memories on the way have room for the value."""
        key = source, self._problem.values[value].bits
        if key not in self._found:
            self._found[key] = self._paths(source, value)
        return self._found[key].get(target)

    def _paths(self, source: int, value: int) -> dict[int, tuple[int, ...]]:
        problem, bits = self._problem, self._problem.values[value].bits
        found: dict[int, tuple[int, ...]] = {}
        queue: list[tuple[int, int, tuple[int, ...], int]] = [(0, 0, (), source)]
        while queue:
            time, count, path, m = heapq.heappop(queue)
            if m in found:
                continue
            found[m] = path
            for c in self._leaving[m]:
                target = problem.channels[c].target
                room = problem.memories[target].bits
                if target not in found and (room is None or bits <= room):
                    took = time + problem.transfer_time(c, value)
                    heapq.heappush(queue, (took, count + 1, (*path, c), target))
        return found


def hops(problem: Problem) -> list[list[int]]:
    """[M, M]: how many channels it takes from one memory to another, at least; M without a way."""
    count = len(problem.memories)
    found = [[0 if a == b else count for b in range(count)] for a in range(count)]
    for channel in problem.channels:
        found[channel.source][channel.target] = 1
    for via in range(count):
        for a in range(count):
            for b in range(count):
                found[a][b] = min(found[a][b], found[a][via] + found[via][b])
    return [[min(x, count) for x in row] for row in found]
