"""Greedy merging: the two groups that save most together become one, as long as any do."""

from __future__ import annotations

import heapq
import time

from games.graphs.closed_form import Costs
from games.graphs.mappers.plans import Group, Plan, dependencies, in_order, plan_of, singles


def merging(costs: Costs, deadline: float = float("inf")) -> Plan:
    """Merges groups that share a tensor until none saves time or `deadline` (of perf_counter)."""
    groups = greedy_groups(costs, singles(costs.problem), deadline)
    plan = plan_of(costs, groups)
    assert plan is not None
    return plan


def greedy_groups(costs: Costs, groups: list[Group], deadline: float) -> list[Group]:
    """The groups after greedy merging."""
    alive = dict(enumerate(groups))
    queue: list[tuple[float, int, int]] = []
    fresh = len(groups)

    def offer(number: int, others: list[int]) -> None:
        for other in others:
            saving = _saving(costs, alive[number], alive[other])
            if saving > 1e-9:
                heapq.heappush(queue, (-saving, number, other))

    for number in list(alive):
        offer(number, [n for n in _neighbours(costs, alive, number) if n < number])
    while queue and time.perf_counter() < deadline:
        _, one, other = heapq.heappop(queue)
        if one not in alive or other not in alive:
            continue
        joined = alive[one] | alive[other]
        rest = [ops for n, ops in alive.items() if n not in (one, other)]
        before = dependencies(costs, [*rest, joined])
        if before is None or in_order(before, [0.0] * len(before)) is None:
            continue
        del alive[one], alive[other]
        alive[fresh] = joined
        offer(fresh, _neighbours(costs, alive, fresh))
        fresh += 1
    return list(alive.values())


def _saving(costs: Costs, one: Group, other: Group) -> float:
    return costs.latency(one) + costs.latency(other) - costs.latency(one | other)


def _neighbours(costs: Costs, groups: dict[int, Group], number: int) -> list[int]:
    """Groups that share a tensor with this one."""
    tensors = touched(costs, groups[number])
    return [n for n, ops in groups.items() if n != number and tensors & touched(costs, ops)]


def touched(costs: Costs, ops: Group) -> frozenset[int]:
    """Tensors that a group reads or makes."""
    form = costs.form(ops)
    assert form is not None
    return form.inputs | {costs.problem.outputs[op] for op in ops}
