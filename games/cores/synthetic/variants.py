"""Look-alikes of problems: other sizes, times and weights, the same graph and machine."""

from __future__ import annotations

import dataclasses

import numpy as np

from games.cores.problem.problem import Problem, Weights


def variant(problem: Problem, seed: int, number: int) -> Problem:
    """Valid if the problem is: sizes of values only shrink, to a half at least; times and energies
    of operations are multiplied by up to 2."""
    rng = np.random.default_rng((seed, number))

    def shrunk(size: int) -> int:
        return int(size * rng.uniform(0.5, 1))

    # Ways of one operation change together.
    slower = rng.uniform(0.5, 2, len(problem.values))
    dearer = rng.uniform(0.5, 2, len(problem.values))
    drawn = rng.dirichlet(np.ones(3))
    return dataclasses.replace(
        problem,
        name=f"{problem.name}_v{seed}.{number}",
        values=tuple(dataclasses.replace(v, bits=shrunk(v.bits)) for v in problem.values),
        allocations=tuple(
            dataclasses.replace(
                a,
                time=int(a.time * slower[a.value]),
                energy=float(a.energy * dearer[a.value]),
            )
            for a in problem.allocations
        ),
        weights=Weights(*(float(round(x, 3)) + 0.001 for x in drawn)),
    )
