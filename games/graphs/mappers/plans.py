"""Ordered groups of operations: whether they can run, and what is best retained between them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from games.graphs.closed_form import Costs
from games.graphs.problem.problem import Problem
from games.graphs.problem.solution import Solution

Group = frozenset[int]
NOTHING: frozenset[int] = frozenset()


@dataclasses.dataclass(frozen=True)
class Plan:
    """Groups in the order in which they run, and what each retains for the next one."""

    latency: float
    groups: tuple[Group, ...]
    retains: tuple[frozenset[int], ...]


def solution_of(costs: Costs, plan: Plan) -> Solution:
    """The plan with the best tile of every group."""
    resident: frozenset[int] = NOTHING
    subgraphs = []
    for ops, retain in zip(plan.groups, plan.retains, strict=True):
        subgraphs.append(costs.subgraph(ops, resident, retain))
        resident = retain
    return Solution(tuple(subgraphs))


def retained_at_best(costs: Costs, groups: Sequence[Group]) -> Plan | None:
    """The best choice of what is retained, by dynamic programming over the order.

    Between two groups nothing, one tensor, or all that can be are retained: tensors that the next
    group reads and nobody after it. None where the groups cannot run in this order.
    """
    options = _options(costs, groups)
    if options is None:
        return None
    # For every way to retain behind the group before: time so far, and the choices that led here.
    reached: dict[frozenset[int], tuple[float, tuple | None]] = {NOTHING: (0.0, None)}
    for ops, choices in zip(groups, options, strict=True):
        after: dict[frozenset[int], tuple[float, tuple | None]] = {}
        for retain in choices:
            best, trail = np.inf, None
            for resident, (so_far, before) in reached.items():
                time = so_far + costs.latency(ops, resident, retain)
                if time < best:
                    best, trail = time, (before, retain)
            if trail is not None:
                after[retain] = (best, trail)
        if not after:
            return None
        reached = after
    latency, trail = min(reached.values(), key=lambda item: item[0])
    retains = []
    while trail is not None:
        trail, retain = trail
        retains.append(retain)
    return Plan(latency, tuple(groups), tuple(reversed(retains)))


def _options(costs: Costs, groups: Sequence[Group]) -> list[list[frozenset[int]]] | None:
    """What each group may retain; None where a tensor is missing when it is read."""
    problem = costs.problem
    last_read: dict[int, int] = {}
    forms = []
    for number, ops in enumerate(groups):
        form = costs.form(ops)
        if form is None:
            return None
        forms.append((form.inputs, form.outputs, form.tiled))
        for tensor in form.inputs:
            last_read[tensor] = number
    producer, consumers = problem.producer, problem.consumers
    stored: set[int] = set()
    found: list[list[frozenset[int]]] = []
    for number, (inputs, outputs, _) in enumerate(forms):
        for tensor in inputs:
            if tensor in producer and tensor not in stored:
                before = forms[number - 1] if number else None
                if before is None or tensor not in before[2] or last_read[tensor] > number:
                    return None
                # An ephemeral tensor of the group before: it has to be retained.
                forced = [kept | {tensor} for kept in found[-1]]
                found[-1] = forced
        choices = [NOTHING]
        if number + 1 < len(forms):
            able = [
                t
                for t in forms[number + 1][0]
                if t in outputs and t not in stored and last_read[t] == number + 1 and consumers[t]
            ]
            choices += [frozenset([t]) for t in able]
            if len(able) > 1:
                choices.append(frozenset(able))
        found.append(choices)
        stored |= outputs
    return found


def runs(costs: Costs, groups: Sequence[Group]) -> bool:
    """Whether the groups can run in this order without anything retained."""
    stored = set(costs.problem.graph_inputs)
    for ops in groups:
        form = costs.form(ops)
        if form is None or not form.inputs <= stored:
            return False
        stored |= form.outputs
    return True


def dependencies(costs: Costs, groups: Sequence[Group]) -> list[set[int]] | None:
    """The groups that must run before each one, by number; None where a tensor is never stored."""
    makers: dict[int, int] = {}
    for number, ops in enumerate(groups):
        form = costs.form(ops)
        if form is None:
            return None
        for tensor in form.outputs:
            makers.setdefault(tensor, number)
    before: list[set[int]] = []
    for ops in groups:
        form = costs.form(ops)
        assert form is not None
        needed = form.inputs - costs.problem.graph_inputs
        if not all(tensor in makers for tensor in needed):
            return None
        before.append({makers[tensor] for tensor in needed})
    return before


def in_order(before: Sequence[set[int]], rank: Sequence[float]) -> list[int] | None:
    """Numbers in a topological order, small ranks first; None where there is a cycle."""
    import heapq

    after: list[list[int]] = [[] for _ in before]
    missing = [len(sources) for sources in before]
    for number, sources in enumerate(before):
        for source in sources:
            after[source].append(number)
    ready = [(rank[n], n) for n, count in enumerate(missing) if not count]
    heapq.heapify(ready)
    order = []
    while ready:
        _, number = heapq.heappop(ready)
        order.append(number)
        for reader in after[number]:
            missing[reader] -= 1
            if not missing[reader]:
                heapq.heappush(ready, (rank[reader], reader))
    return order if len(order) == len(before) else None


def plan_of(costs: Costs, groups: Sequence[Group]) -> Plan | None:
    """Groups in an order in which neighbours can retain for each other; None where none exists.

    Links between groups are taken by what retaining saves, the largest saving first, as long as
    the groups can still be put in an order.
    """
    before = dependencies(costs, groups)
    rank = [min(costs.problem.rank[op] for op in ops) for ops in groups]
    if before is None or in_order(before, rank) is None:
        return None
    follower = _links(costs, groups, before)
    heads = set(range(len(groups))) - set(follower.values())
    chains = [_chain(head, follower) for head in sorted(heads)]
    order = _chain_order(chains, before, rank)
    assert order is not None
    return retained_at_best(costs, [groups[number] for number in order])


def _chain(head: int, follower: dict[int, int]) -> list[int]:
    chain = [head]
    while chain[-1] in follower:
        chain.append(follower[chain[-1]])
    return chain


def _chain_order(
    chains: Sequence[Sequence[int]], before: Sequence[set[int]], rank: Sequence[float]
) -> list[int] | None:
    """Groups in an order that keeps every chain together; None where there is none."""
    chain_of = {number: c for c, chain in enumerate(chains) for number in chain}
    above = [
        {chain_of[source] for number in chain for source in before[number]} - {c}
        for c, chain in enumerate(chains)
    ]
    order = in_order(above, [min(rank[n] for n in chain) for chain in chains])
    return None if order is None else [number for c in order for number in chains[c]]


def _links(costs: Costs, groups: Sequence[Group], before: Sequence[set[int]]) -> dict[int, int]:
    """Which group follows which directly."""
    problem = costs.problem
    readers: dict[int, list[int]] = {}
    for number, ops in enumerate(groups):
        form = costs.form(ops)
        assert form is not None
        for tensor in form.inputs:
            readers.setdefault(tensor, []).append(number)
    savings = []
    for number, ops in enumerate(groups):
        form = costs.form(ops)
        assert form is not None
        for tensor in form.outputs:
            if len(readers.get(tensor, ())) == 1 and number in before[readers[tensor][0]]:
                reader = readers[tensor][0]
                saving = saved_by_retaining(costs, ops, groups[reader], tensor)
                if saving > 1e-9:
                    savings.append((saving, number, reader))
    follower: dict[int, int] = {}
    followed: set[int] = set()
    rank = [min(problem.rank[op] for op in ops) for ops in groups]
    for _, number, reader in sorted(savings, reverse=True):
        if number in follower or reader in followed:
            continue
        follower[number] = reader
        heads = set(range(len(groups))) - set(follower.values())
        chains = [_chain(head, follower) for head in heads]
        whole = sum(map(len, chains)) == len(groups)
        if not whole or _chain_order(chains, before, rank) is None:
            del follower[number]
        else:
            followed.add(reader)
    return follower


def saved_by_retaining(costs: Costs, ops: Group, reader: Group, tensor: int) -> float:
    """Time that two groups save together if the one retains a tensor for the other."""
    kept = frozenset([tensor])
    apart = costs.latency(ops) + costs.latency(reader)
    return apart - costs.latency(ops, NOTHING, kept) - costs.latency(reader, kept)


def singles(problem: Problem) -> list[Group]:
    """Every operation alone, in topological order."""
    return [frozenset([op]) for op in problem.order]
