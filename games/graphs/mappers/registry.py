"""The opponents by name, and the best of them for a budget."""

from __future__ import annotations

import time
from collections.abc import Callable

from games.graphs.closed_form import Costs
from games.graphs.mappers.beam import beam
from games.graphs.mappers.dynamic import dynamic
from games.graphs.mappers.local_search import anneal
from games.graphs.mappers.merging import merging
from games.graphs.mappers.partition import partition
from games.graphs.mappers.plans import Plan
from games.graphs.mappers.simple import epilogue, naive
from games.graphs.problem.problem import Problem

# A mapper takes the costs of a problem, a budget in seconds and a seed.
Mapper = Callable[[Costs, float, int], Plan]


def _until(budget_s: float) -> float:
    return time.perf_counter() + budget_s


def _local_search(costs: Costs, budget_s: float, seed: int) -> Plan:
    deadline = _until(budget_s)
    return anneal(costs, [merging(costs, deadline), epilogue(costs)], deadline, seed)


def _partition(costs: Costs, budget_s: float, seed: int) -> Plan:
    deadline = _until(budget_s)
    return partition(costs, [merging(costs, deadline)], deadline)


def best_of_all(
    costs: Costs,
    budget_s: float,
    seed: int,
    tell: Callable[[str, float], None] = lambda name, latency: None,
) -> Plan:
    """Merging, the order's programming and the beam, then local search from what these found, the
    partition, and local search again; `tell` hears of every stage and the best latency so far."""
    begin, plans = time.perf_counter(), list[Plan]()

    def until(part: float) -> float:
        return begin + part * budget_s

    stages: dict[str, Callable[[], Plan]] = {
        "merging": lambda: merging(costs, until(1.0)),
        "dynamic": lambda: dynamic(costs, until(0.15)),
        "beam": lambda: beam(costs, until(0.3)),
        "local_search": lambda: anneal(costs, plans, until(0.6), seed),
        "partition": lambda: partition(costs, plans, until(0.85)),
        "local_search again": lambda: anneal(costs, plans, until(1.0), seed + 1),
    }
    for name, stage in stages.items():
        plans.append(stage())
        tell(name, min(plan.latency for plan in plans))
    return min(plans, key=lambda plan: plan.latency)


MAPPERS: dict[str, Mapper] = {
    "naive": lambda costs, budget_s, seed: naive(costs),
    "epilogue": lambda costs, budget_s, seed: epilogue(costs),
    "merging": lambda costs, budget_s, seed: merging(costs, _until(budget_s)),
    "dynamic": lambda costs, budget_s, seed: dynamic(costs, _until(budget_s)),
    "beam": lambda costs, budget_s, seed: beam(costs, _until(budget_s)),
    "local_search": _local_search,
    "partition": _partition,
    "best": best_of_all,
}


def compile_kernels() -> None:
    """Compiles what the mappers share, so that no budget pays for it."""
    problem = Problem(
        "warm", (2, 2, 2, 2), (2, 2, 2, 2), ((0, 1), (2,)), (2, 3), (1.0, 1.0),
        ("MatMul", "Pointwise"), 100, 1.0, (2, 2),
    )  # fmt: skip
    merging(Costs(problem))
