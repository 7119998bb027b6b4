"""Judge, second reading and the contest's independent evaluator agree."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from games.graphs.judge import evaluate
from games.graphs.oracle.rules import Rejected, cost
from games.graphs.problem import (
    Problem,
    Solution,
    load_problem,
    load_solution,
    save_problem,
    save_solution,
)
from games.graphs.problem.reading import Reading
from games.graphs.synthetic.random_problems import random_problem, random_solution, valid_solution
from tests.support.graphs import MLSYS2026, needs_contest, referee


def judged(problem: Problem, solution: Solution) -> float | None:
    found = evaluate(problem, solution)
    return found.latency if found.valid else None


def second(problem: Problem, solution: Solution) -> float | None:
    try:
        return cost(problem, solution)
    except Rejected:
        return None


def solutions(seed: int) -> list[tuple[Problem, Solution]]:
    """Eight of one problem: half of them by chance, half valid."""
    rng = np.random.default_rng(seed)
    problem = random_problem(rng)
    made = [random_solution(problem, rng) for _ in range(4)]
    return [(problem, s) for s in (*made, *(valid_solution(problem, rng) for _ in range(4)))]


def check_readings(problems: int) -> Counter[str]:
    seen: Counter[str] = Counter()
    for seed in range(problems):
        for problem, solution in solutions(seed):
            first, other = judged(problem, solution), second(problem, solution)
            assert (first is None) == (other is None), (seed, solution)
            if first is not None:
                assert first == pytest.approx(other, rel=1e-9), (seed, solution)
            found = evaluate(problem, solution)
            seen[found.violations[0].rule if found.violations else "valid"] += 1
    return seen


def test_two_readings_agree():
    seen = check_readings(120)
    assert seen["valid"] >= 480 and len(seen) >= 8


@pytest.mark.slow
def test_two_readings_agree_on_twenty_thousand_solutions():
    seen = check_readings(2500)
    assert seen.total() == 20_000
    assert seen["valid"] > 10_000
    rules = {"connected", "working set", "prologue", "outputs", "chain", "available", "tile",
             "graph output", "retain", "coverage", "order", "one slice"}  # fmt: skip
    assert rules <= set(seen)


def by_referee(problem: Path, solution: Path, **options: str) -> float | None:
    module = referee()
    reading = module.Reading(**options)
    try:
        return module.evaluate(
            json.loads(problem.read_text()), json.loads(solution.read_text()), reading
        )
    except module.Invalid:
        return None


@needs_contest
def test_the_independent_evaluator_agrees_on_the_handed_solutions():
    rejected = []
    for number in range(1, 25):
        paths = [Path(MLSYS2026) / kind / f"mlsys-2026-{number}.json" for kind in
                 ("instances", "solutions")]  # fmt: skip
        problem = load_problem(paths[0])
        found = judged(problem, load_solution(paths[1], problem))
        expected = by_referee(paths[0], paths[1])
        assert found == (None if expected is None else pytest.approx(expected, rel=1e-9)), number
        if found is None:
            rejected.append(number)
    assert rejected == [19, 22]


# The options of the independent evaluator, and ours.
NAMES = {
    "base_cost": ("base", {"reduction": "full", "native": "native"}),
    "upstream": ("upstream", {"once": "permissive", "repeated": "strict"}),
    "above_native": ("supernative", {"forbid": "forbid", "passes": "scale"}),
    "read_outside": ("mixed", {"ephemeral": "ephemeral", "stored": "materialise"}),
    "retained_output": ("retained_out", {"full": "full", "tile": "tile", "free": "none"}),
    "prologue": ("prologue", {"unsplit": "whole", "aligned": "aligned", "free": "any"}),
    "chain": ("chain", {"aligned": "aligned", "free": "any"}),
    "above_reduction": ("k_bound", {"forbid": "forbid", "clamp": "clamp"}),
    "connected": ("connected", {"shared": "shared", "inside": "edge", "free": "any"}),
    "epilogue": ("epilogue", {"last": "last", "first": "first", "spread": "spread"}),
    "retain_inputs": ("retain_input", {"forbid": "forbid", "allow": "allow"}),
    "reuse": ("reuse", {"adjacent": "adjacent", "within_tile": "tile"}),
}


@needs_contest
def test_the_independent_evaluator_agrees_on_random_solutions_and_options(tmp_path):
    accepted = 0
    for seed in range(120):
        rng = np.random.default_rng(seed)
        for problem, solution in solutions(seed):
            if any(len(set(tensors)) < len(tensors) for tensors in problem.inputs):
                continue  # it does not foresee operations that read a tensor twice
            ours = {name: str(rng.choice(list(names))) for name, (_, names) in NAMES.items()
                    if rng.random() < 0.2}  # fmt: skip
            theirs = {NAMES[name][0]: NAMES[name][1][value] for name, value in ours.items()}
            save_problem(problem, tmp_path / "problem.json")
            save_solution(solution, tmp_path / "solution.json")
            expected = by_referee(tmp_path / "problem.json", tmp_path / "solution.json", **theirs)
            found = evaluate(problem, solution, Reading(**ours))
            assert found.valid == (expected is not None), (seed, ours, found.violations)
            if expected is not None:
                accepted += 1
                assert found.latency == pytest.approx(expected, rel=1e-9), (seed, ours)
    assert accepted > 100
