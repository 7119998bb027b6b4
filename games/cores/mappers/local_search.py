"""Simulated annealing over the decoder's plans."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np

from games.cores.mappers.mapped import Mapped, better, reference
from games.cores.mappers.planner import Plan, Planner
from games.cores.problem.problem import Problem
from games.cores.problem.schedule import Schedule, Start

# Of the cost, at the beginning and at the end.
HOT, COLD = 0.02, 0.0002


def local_search(problem: Problem, budget_s: float, seed: int) -> Mapped:
    """Anneals from list scheduling and HEFT."""
    deadline = time.perf_counter() + budget_s
    planner = Planner(problem)
    return anneal(planner, [planner.listed(), planner.heft()], deadline, seed)


def plan_of(planner: Planner, schedule: Schedule) -> Plan:
    """The plan that a schedule stands for: its order of starts and its allocations."""
    choice = planner.open_choice()
    order = []
    for event in schedule.events:
        if isinstance(event, Start):
            v = planner.problem.allocations[event.allocation].value
            order.append(v)
            choice[v] = event.allocation
    return Plan(np.array(order, np.int64), choice)


def anneal(planner: Planner, starts: Sequence[Plan], deadline: float, seed: int) -> Mapped:
    """The best schedule found by the deadline, none worse than the starts and the reference."""
    rng = np.random.default_rng(seed)
    begin = time.perf_counter()
    rated = [(planner.decode(plan), plan) for plan in starts]
    decoded, plan = min(rated, key=lambda x: x[0].cost)
    # What the decoder chose is taken over, so that it can be changed.
    now = Plan(plan.order, np.where(plan.choice < 0, decoded.choice, plan.choice))
    cost = best_cost = decoded.cost
    best = plan
    operations, ways = planner.problem.operations, planner.ways
    movable = [i for i, w in enumerate(ways) if len(w) > 1]
    while (moment := time.perf_counter()) < deadline:
        part = (moment - begin) / max(deadline - begin, 1e-9)
        heat = HOT * (COLD / HOT) ** part
        made = Plan(now.order.copy(), now.choice.copy())
        if movable and (rng.random() < 0.5 or len(operations) < 2):
            at = movable[rng.integers(len(movable))]
            made.choice[operations[at]] = ways[at][rng.integers(len(ways[at]))]
        else:
            source, target = rng.integers(0, len(operations), 2)
            v = made.order[source]
            kept = np.delete(made.order, source)
            made = Plan(np.insert(kept, target, v), made.choice)
        found = planner.decode(made).cost
        worse = found - cost
        if worse <= 0 or (math.isfinite(worse) and rng.random() < math.exp(-worse / heat)):
            now, cost = made, found
        if found < best_cost:
            best, best_cost = made, found
    return better(planner.mapped(best), reference(planner.problem))
