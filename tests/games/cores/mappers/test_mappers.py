"""The opponents: valid schedules, none dearer than the reference, costs as the judge has them."""

from __future__ import annotations

import dataclasses

import pytest

from games.cores.judge import judge
from games.cores.mappers.exact import exact_front
from games.cores.mappers.registry import MAPPERS, compile_kernels
from games.cores.problem import Weights
from games.cores.synthetic.random_problems import Size, random_problem

NAMES = [name for name in MAPPERS if name not in ("cpsat", "exact")]


@pytest.fixture(scope="module", autouse=True)
def compiled():
    compile_kernels()


@pytest.mark.parametrize("name", NAMES)
def test_schedules_are_valid_and_cost_what_they_say(name):
    for seed in range(12):
        problem = random_problem(seed, Size((2, 12), (1, 4)))
        made = MAPPERS[name](problem, 0.05, 0)
        found = judge(problem, made.schedule)
        assert found.valid, (problem.name, found.violation)
        assert made.cost == pytest.approx(found.cost, abs=1e-9)
        assert found.cost <= 1 + 1e-9


def test_cpsat_and_the_exact_front_agree():
    pytest.importorskip("ortools")
    compared = 0
    for seed in range(8):
        problem = random_problem(seed, Size((2, 4), (1, 2)))
        front = exact_front(problem, 5.0)
        for weights in (Weights(1, 0, 0), Weights(0, 1, 0)):
            weighted = dataclasses.replace(problem, weights=weights)
            made = MAPPERS["cpsat"](weighted, 10.0, 0)
            if front.proven and made.proven:
                best = min(weighted.cost(p.time, p.energy, 0) for p in front.points)
                assert made.cost == pytest.approx(best, abs=1e-5), problem.name
                compared += 1
    assert compared >= 8
