"""The opponents: valid plans, none worse than naive, the optimum of small problems."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from games.graphs.closed_form import Costs
from games.graphs.judge import evaluate
from games.graphs.mappers.dynamic import depth_first
from games.graphs.mappers.plans import (
    Group,
    Plan,
    plan_of,
    retained_at_best,
    runs,
    singles,
    solution_of,
)
from games.graphs.mappers.registry import MAPPERS, compile_kernels
from games.graphs.mappers.simple import naive
from games.graphs.oracle.rules import cost
from games.graphs.problem import Problem
from games.graphs.synthetic.families import generate_many
from games.graphs.synthetic.random_problems import random_problem
from tests.support.graphs import chain_of_two, diamond


@pytest.fixture(scope="module", autouse=True)
def compiled():
    compile_kernels()


def judged(costs: Costs, plan: Plan) -> float:
    found = evaluate(costs.problem, solution_of(costs, plan))
    assert found.valid, found.violations
    assert found.latency == pytest.approx(plan.latency, rel=1e-9)
    return found.latency


@pytest.mark.parametrize("name", MAPPERS)
def test_plans_are_valid_and_no_worse_than_naive(name):
    problems = [random_problem(np.random.default_rng(seed)) for seed in range(12)]
    for problem in (*problems, *generate_many(5, 40, 30)):
        costs = Costs(problem)
        latency = judged(costs, MAPPERS[name](costs, 0.2, 0))
        assert latency <= naive(costs).latency * (1 + 1e-9), problem.name
        assert latency >= problem.compute_bound * (1 - 1e-9), problem.name


def partitions(ops: list[int]):
    """All ways to divide operations among groups."""
    if not ops:
        yield []
        return
    for rest in partitions(ops[1:]):
        for i in range(len(rest)):
            yield [*rest[:i], rest[i] | {ops[0]}, *rest[i + 1 :]]
        yield [*rest, frozenset([ops[0]])]


def best_by_trying(problem: Problem) -> float:
    """Over all ordered partitions, with every choice of what `retained_at_best` retains."""
    costs, best = Costs(problem), np.inf
    for groups in partitions(list(problem.order)):
        if any(costs.best(ops) is None for ops in groups):
            continue
        for order in itertools.permutations(groups):
            plan = retained_at_best(costs, order)
            best = min(best, np.inf if plan is None else plan.latency)
    return best


def test_small_optima():
    """Partition and local search find the best partition of up to five operations."""
    found = {"partition": 0, "local_search": 0}
    for seed in range(25):
        problem = random_problem(np.random.default_rng(seed), most_ops=5)
        costs, best = Costs(problem), best_by_trying(problem)
        for name in found:
            latency = judged(costs, MAPPERS[name](costs, 0.3, 0))
            # Local search may repeat operations, which partitions cannot.
            found[name] += latency <= best * (1 + 1e-9)
            assert name == "local_search" or latency >= best * (1 - 1e-9)
    assert found["partition"] >= 23 and found["local_search"] == 25


def test_what_is_retained_is_the_best_of_all_choices():
    """Against the second reading, for every way to retain outputs of the diamond's plans."""
    problem, costs = diamond(), Costs(diamond())
    groups: list[Group] = [frozenset([0]), frozenset([1, 2])]
    plan = retained_at_best(costs, groups)
    assert plan is not None and plan.retains == (frozenset([1]), frozenset())
    assert cost(problem, solution_of(costs, plan)) == pytest.approx(4638.4)
    # Example 3B: operation 0 runs twice, and tensor 2 is retained.
    plan = retained_at_best(costs, [frozenset([0, 1]), frozenset([0, 2])])
    assert plan is not None and plan.latency == pytest.approx(6276.8)


def test_orders_that_cannot_run():
    costs = Costs(chain_of_two(128))
    first, second = singles(costs.problem)
    assert runs(costs, [first, second]) and not runs(costs, [second, first])
    assert retained_at_best(costs, [second, first]) is None
    assert plan_of(costs, [second, first]) is not None
    # b = f(a), c = g(b), d = h(b, c): b and d together wait for c, which waits for b.
    assert plan_of(Costs(diamond()), [frozenset([0, 2]), frozenset([1])]) is None


def test_depth_first_is_topological():
    for seed in range(20):
        problem = random_problem(np.random.default_rng(seed))
        place = {op: i for i, op in enumerate(depth_first(problem))}
        assert sorted(place) == list(range(problem.num_ops))
        for op, tensors in enumerate(problem.inputs):
            assert all(place[problem.producer[t]] < place[op] for t in tensors
                       if t in problem.producer)  # fmt: skip
