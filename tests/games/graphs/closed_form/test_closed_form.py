"""The closed form against the judge's steps, and its best tile against trying all."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from games.graphs.closed_form import Costs
from games.graphs.closed_form.costs import tile_order
from games.graphs.closed_form.kernel import COLUMN_SNAKE, RASTER, ROW_SNAKE
from games.graphs.judge.group import check_group
from games.graphs.judge.steps import times_of
from games.graphs.judge.violation import Broken
from games.graphs.problem import Problem, Subgraph
from games.graphs.problem.reading import Reading
from games.graphs.synthetic.random_problems import random_problem, random_solution


def judged(
    problem: Problem, subgraph: Subgraph, resident: frozenset[int]
) -> tuple[float, int] | None:
    try:
        group = check_group(problem, subgraph, resident, Reading())
    except Broken:
        return None
    return times_of(problem, subgraph, group, Reading()).latency, group.working_set


def surroundings(
    problem: Problem, subgraph: Subgraph, rng: np.random.Generator
) -> tuple[frozenset[int], frozenset[int]]:
    """Tensors that were retained before, and those to be retained."""
    made = {problem.outputs[op] for op in subgraph.ops}
    resident = {t for t in rng.integers(0, problem.num_tensors, 2).tolist() if t not in made}
    return frozenset(resident if rng.random() < 0.3 else ()), frozenset(subgraph.retain)


def test_times_and_working_sets_are_the_judges():
    compared = refused = 0
    for seed in range(250):
        rng = np.random.default_rng(seed)
        problem = random_problem(rng)
        costs = Costs(problem)
        for subgraph in [s for _ in range(4) for s in random_solution(problem, rng).subgraphs]:
            ops, tile = frozenset(subgraph.ops), subgraph.tile
            resident, retain = surroundings(problem, subgraph, rng)
            form, order = costs.form(ops), int(rng.integers(3))
            numbers = None if form is None else tile_order(form, tile, order)
            expected = judged(
                problem, Subgraph(subgraph.ops, tile, subgraph.retain, numbers), resident
            )
            found = costs.at(ops, tile, order, resident, retain)
            if expected is not None:
                compared += 1
                assert found is not None, (seed, subgraph)
                assert found[0] == pytest.approx(expected[0], rel=1e-9), (seed, subgraph)
                assert found[1] == expected[1], (seed, subgraph)
            elif found is not None and form is not None:
                refused += 1
                assert (
                    found[1] > problem.capacity
                    or any(a < b for a, b in zip(tile, form.least, strict=True))
                    or tile[2] > form.deepest
                    or max(tile[:2]) > 8
                ), (seed, subgraph)
    assert compared > 800 and refused > 200


def test_the_best_tile_is_the_best_of_all():
    """Over all halvings of the native tile and the three orders, judged step by step."""
    found_some = found_none = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        problem = random_problem(rng, most_ops=4)
        costs = Costs(problem)
        for subgraph in random_solution(problem, rng).subgraphs:
            ops = frozenset(subgraph.ops)
            resident, retain = surroundings(problem, subgraph, rng)
            form = costs.form(ops)
            choice = costs.best(ops, resident, retain)
            best = np.inf
            if form is not None:
                depths = [max(form.deepest >> i, 1) for i in range(5)]
                for wide, high, depth in itertools.product((8, 4, 2, 1), (8, 4, 2, 1), depths):
                    for order in (RASTER, ROW_SNAKE, COLUMN_SNAKE):
                        numbers = tile_order(form, (wide, high, depth), order)
                        tried = Subgraph(
                            subgraph.ops, (wide, high, depth), subgraph.retain, numbers
                        )
                        judgement = judged(problem, tried, resident)
                        best = min(best, np.inf if judgement is None else judgement[0])
            if choice is None:
                found_none += 1
                assert best == np.inf, (seed, subgraph)
                continue
            found_some += 1
            assert choice.latency == pytest.approx(best, rel=1e-9), (seed, subgraph)
            made = costs.subgraph(ops, resident, retain)
            assert judged(problem, made, resident) == (
                pytest.approx(choice.latency, rel=1e-9),
                choice.working_set,
            )
    assert found_some > 40 and found_none > 20
