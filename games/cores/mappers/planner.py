"""Plans for the decoder: an order of the operations and an allocation for each."""

from __future__ import annotations

import dataclasses

import numpy as np

from games.cores.mappers.arrays import Arrays, arrays_of
from games.cores.mappers.decoder import Decoded, decode
from games.cores.mappers.mapped import Mapped, better, reference
from games.cores.problem.problem import Problem


@dataclasses.dataclass(frozen=True)
class Plan:
    """order: operations, those that matter most first. choice: [V], allocations; -1 leaves one to
    the decoder."""

    order: np.ndarray
    choice: np.ndarray


class Planner:
    """A problem, ready for many plans."""

    def __init__(self, problem: Problem):
        self.problem = problem
        self.arrays: Arrays = arrays_of(problem)

    def decode(self, plan: Plan) -> Decoded:
        return decode(self.arrays, plan.order, plan.choice)

    def mapped(self, plan: Plan) -> Mapped:
        """The plan's schedule, or the reference where that costs less."""
        found = self.decode(plan)
        made = Mapped(found.schedule(), found.cost) if np.isfinite(found.cost) else None
        return better(made, reference(self.problem))

    @property
    def ways(self) -> list[np.ndarray]:
        """The allocations of each operation, in the order of `problem.operations`."""
        return [np.array(self.problem.allocations_of[v]) for v in self.problem.operations]

    def by_urgency(self) -> np.ndarray:
        """The order of the longest path that is ahead."""
        urgency = self.problem.urgency
        return np.array(sorted(self.problem.operations, key=lambda v: -urgency[v]), np.int64)

    def open_choice(self) -> np.ndarray:
        return np.full(len(self.problem.values), -1, np.int64)

    def listed(self) -> Plan:
        """List scheduling: what has the longest path ahead goes where it ends cheapest."""
        return Plan(self.by_urgency(), self.open_choice())

    def heft(self) -> Plan:
        """Heterogeneous Earliest Finish Time (Topcuoglu, Hariri, Wu 2002).

        Ranks are mean times and mean ways upward; each operation goes where it would end first,
        into gaps too. Ways do not wait for each other there; the decoder makes them.
        """
        problem, x = self.problem, self.arrays
        finite = x.way[np.isfinite(x.way)]
        mean_way = float(finite.sum() / max(len(x.way) * (len(x.way) - 1), 1))
        rank = np.zeros(len(problem.values))
        for v in reversed(problem.operations):
            mean = np.mean([problem.allocations[a].time for a in problem.allocations_of[v]])
            ahead = max((rank[c] for c in problem.consumers[v]), default=0.0)
            rank[v] = mean + mean_way * problem.values[v].bits + ahead
        place = {v: i for i, v in enumerate(problem.operations)}
        order = sorted(problem.operations, key=lambda v: (-rank[v], place[v]))
        choice = self.open_choice()
        busy: list[list[tuple[float, float]]] = [[] for _ in problem.groups]
        ready: dict[int, tuple[float, int]] = {v: (0.0, problem.external) for v in problem.given}
        for v in order:
            best: tuple[float, float, int] | None = None
            for a in problem.allocations_of[v]:
                allocation = problem.allocations[a]
                come = 0.0
                for u, m in zip(problem.values[v].inputs, allocation.inputs, strict=True):
                    at, where = ready[u]
                    come = max(come, at + x.way[where, m] * problem.values[u].bits)
                begin = _gap(busy[allocation.group], come, allocation.time)
                if best is None or begin + allocation.time < best[0]:
                    best = begin + allocation.time, begin, a
            assert best is not None
            end, begin, a = best
            choice[v] = a
            ready[v] = end, problem.allocations[a].output
            busy[problem.allocations[a].group].append((begin, end))
            busy[problem.allocations[a].group].sort()
        return Plan(np.array(order, np.int64), choice)


def _gap(busy: list[tuple[float, float]], earliest: float, time: float) -> float:
    """When something of this time can begin at the earliest, between what is there."""
    begin = earliest
    for start, end in busy:
        if begin + time <= start:
            return begin
        begin = max(begin, end)
    return begin
