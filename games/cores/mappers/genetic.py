"""A genetic algorithm over allocations, with the published settings of Stream's.

Stream (arXiv 2212.10612) searched core allocations with 64 individuals over 250 generations,
crossover 0.3 and mutation 0.7, and scheduled each by a fixed priority of the operations. Selection
here is by the weighted cost.
"""

from __future__ import annotations

import time

import numpy as np

from games.cores.mappers.mapped import Mapped, better, reference
from games.cores.mappers.planner import Plan, Planner
from games.cores.problem.problem import Problem

INDIVIDUALS, GENERATIONS = 64, 250
CROSSOVER = 0.3  # else an offspring is a mutation


def genetic(problem: Problem, budget_s: float, seed: int) -> Mapped:
    """The best of all runs within the budget; a run is over after all its generations."""
    deadline = time.perf_counter() + budget_s
    planner, rng = Planner(problem), np.random.default_rng(seed)
    order = planner.by_urgency()
    best = (np.inf, planner.listed())
    while True:
        best = min(best, _run(planner, order, rng, deadline), key=lambda x: x[0])
        if time.perf_counter() >= deadline:
            return better(planner.mapped(best[1]), reference(problem))


def _run(
    planner: Planner, order: np.ndarray, rng: np.random.Generator, deadline: float
) -> tuple[float, Plan]:
    operations = np.array(planner.problem.operations)
    ways = planner.ways
    counts = np.array([len(w) for w in ways])

    def plan(genes: np.ndarray) -> Plan:
        choice = planner.open_choice()
        choice[operations] = [w[g] for w, g in zip(ways, genes, strict=True)]
        return Plan(order, choice)

    def rated(genes: np.ndarray) -> tuple[float, int, np.ndarray]:
        nonlocal number
        number += 1
        return planner.decode(plan(genes)).cost, number, genes

    number = 0
    people = [rated(rng.integers(0, counts)) for _ in range(INDIVIDUALS)]
    for _ in range(GENERATIONS):
        children = []
        for _ in range(INDIVIDUALS):
            if time.perf_counter() >= deadline:
                break
            first, second = rng.integers(0, INDIVIDUALS, 2)
            genes = people[first][2].copy()
            if rng.random() < CROSSOVER:
                ends = np.sort(rng.integers(0, len(genes) + 1, 2))
                genes[ends[0] : ends[1]] = people[second][2][ends[0] : ends[1]]
            else:
                at = rng.integers(0, len(genes))
                genes[at] = rng.integers(0, counts[at])
            children.append(rated(genes))
        people = sorted([*people, *children], key=lambda x: x[:2])[:INDIVIDUALS]
        if time.perf_counter() >= deadline:
            break
    cost, _, genes = min(people, key=lambda x: x[:2])
    return cost, plan(genes)
