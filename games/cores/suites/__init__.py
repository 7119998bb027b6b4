"""Suites that ship: `write` makes their files."""

from __future__ import annotations

from pathlib import Path

from games.cores.problem.files import save_problem
from games.cores.problem.problem import Problem
from games.cores.synthetic.fronts import cases
from games.cores.synthetic.random_problems import Size, random_problem

HERE = Path(__file__).parent


def suites() -> dict[str, list[Problem]]:
    """The problems of every suite by its name."""
    return {
        "fronts": [case.problem for case in cases().values()],
        "layered": [
            random_problem(seed, Size((6, 12), (2, 4)), f"layered_{seed}")
            for seed in range(100, 120)
        ],
    }


def write() -> None:
    """Writes the files."""
    for name, problems in suites().items():
        for problem in problems:
            save_problem(problem, HERE / name / f"{problem.name}.json")
