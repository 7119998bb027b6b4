"""Problems like given ones, on other machines and with other costs."""

from __future__ import annotations

import dataclasses

import numpy as np

from games.graphs.problem.problem import Problem


def variant(problem: Problem, seed: int, number: int) -> Problem:
    """The same graph with capacity, bandwidth and costs changed by up to a factor of two.

    The i-th depends on the problem, the seed and i alone.
    """
    rng = np.random.default_rng((seed, number))
    capacity, bandwidth = 2.0 ** rng.uniform(-1, 1, 2)
    by_kind = dict(zip(sorted(set(problem.kinds)), 2.0 ** rng.uniform(-1, 1, 2), strict=False))
    return dataclasses.replace(
        problem,
        name=f"{problem.name}_variant{number}",
        capacity=max(int(problem.capacity * capacity), 3),
        bandwidth=problem.bandwidth * bandwidth,
        base_costs=tuple(
            cost * by_kind[kind]
            for cost, kind in zip(problem.base_costs, problem.kinds, strict=True)
        ),
    )
