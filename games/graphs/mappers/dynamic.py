"""Dynamic programming over an order of the operations: the best cuts into groups, and what is
retained between them."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from games.graphs.closed_form import Costs
from games.graphs.mappers.plans import NOTHING, Group, Plan
from games.graphs.mappers.simple import naive
from games.graphs.problem.problem import Problem

# Operations of a group at most.
LONGEST = 24

Trail = tuple["Trail", Group, frozenset[int]] | None
Reached = dict[frozenset[int], tuple[float, Trail]]


def dynamic(costs: Costs, deadline: float = float("inf")) -> Plan:
    """The best plan of two orders: small numbers first, and depth first."""
    best = naive(costs)
    for order in (costs.problem.order, depth_first(costs.problem)):
        plan = along(costs, order, deadline)
        if plan is not None and plan.latency < best.latency:
            best = plan
    return best


def along(costs: Costs, order: Sequence[int], deadline: float) -> Plan | None:
    """The best plan whose groups are intervals of an order; None where `deadline` passes first."""
    problem, count = costs.problem, len(order)
    place = {op: i for i, op in enumerate(order)}
    last_reader = [
        max((place[r] for r in problem.consumers[problem.outputs[op]]), default=count)
        for op in order
    ]
    reached: list[Reached] = [{} for _ in range(count + 1)]
    reached[0] = {NOTHING: (0.0, None)}
    for begin in range(count):
        for end in range(begin + 1, min(begin + LONGEST, count) + 1):
            if time.perf_counter() > deadline:
                return None
            ops = frozenset(order[begin:end])
            form = costs.form(ops)
            if form is None or _leaves_ephemeral(problem, ops, form.outputs):
                continue
            # A retained tensor is gone after the next group, which has to hold all its readers.
            able = [t for t in form.outputs if 0 < last_reader[place[problem.producer[t]]] < count]
            retains = [NOTHING, *(frozenset([t]) for t in able)]
            for resident, (so_far, trail) in reached[begin].items():
                if any(not ops.issuperset(problem.consumers[t]) for t in resident):
                    continue
                for retain in retains:
                    latency = so_far + costs.latency(ops, resident, retain)
                    known = reached[end].get(retain)
                    if latency < (np.inf if known is None else known[0]):
                        reached[end][retain] = (latency, (trail, ops, retain))
    latency, trail = reached[count].get(NOTHING, (np.inf, None))
    groups, kept = [], []
    while trail is not None:
        trail, ops, retain = trail
        groups.append(ops)
        kept.append(retain)
    return Plan(latency, tuple(reversed(groups)), tuple(reversed(kept))) if groups else None


def _leaves_ephemeral(problem: Problem, ops: Group, outputs: frozenset[int]) -> bool:
    """Whether a tensor that is read inside is read outside too."""
    return any(
        problem.outputs[op] not in outputs
        and not ops.issuperset(problem.consumers[problem.outputs[op]])
        for op in ops
    )


def depth_first(problem: Problem) -> tuple[int, ...]:
    """A topological order in which an operation follows what it reads as closely as possible."""
    done: set[int] = set()
    order: list[int] = []
    for last in reversed(problem.order):
        stack = [(last, False)]
        while stack:
            op, ready = stack.pop()
            if op in done:
                continue
            if ready:
                done.add(op)
                order.append(op)
                continue
            stack.append((op, True))
            sources = [problem.producer[t] for t in problem.inputs[op] if t in problem.producer]
            stack += [(source, False) for source in reversed(sources)]
    return tuple(order)
