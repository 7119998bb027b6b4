"""A proven lower bound on the latency of every valid mapping of a program."""

from __future__ import annotations

import dataclasses
import time
import warnings
from typing import Any

import numpy as np
from scipy.optimize import OptimizeWarning, linprog

from mallocgame.program import Program
from mallocgame.relaxation.relaxation import Relaxation, relax

# Far more than the rounding error of sums of ten thousand float64 terms of order one.
ROUNDING = 1e-11
# Columns from which on the simplex method takes minutes (docs/results/large_programs.md).
LARGE = 40_000


@dataclasses.dataclass(frozen=True)
class Bound:
    """A latency that no mapping accepted by the judge goes below.

    latency_s: the bound in seconds.
    floor_s: the simpler bound, with everything that fits in fast memory at no cost.
    seconds: wall time.
    """

    latency_s: float
    floor_s: float
    seconds: float


def lower_bound(program: Program, time_limit_s: float = 120.0) -> Bound:
    """The optimum of the linear relaxation, made rigorous from its dual.

    The solver's own figure is not trusted.  Any multipliers of the rows give a bound (weak duality
    with the bounds of the columns), and the solver only proposes good ones.  If there is no
    solution in time, the floor is the bound.
    """
    started = time.perf_counter()
    model = relax(program)
    if model is None:
        return Bound(0.0, 0.0, time.perf_counter() - started)
    best = model.constant
    solution = solve(model, time_limit_s - (time.perf_counter() - started))
    if solution is not None:
        best = max(best, dual_bound(model, solution.of_ub, solution.of_eq))
    floor_s = model.constant * model.scale_s
    latency_s = max(floor_s, (best - ROUNDING) * model.scale_s)
    return Bound(latency_s, floor_s, time.perf_counter() - started)


@dataclasses.dataclass(frozen=True)
class Solution:
    """An optimum of the relaxation.

    x: float64 [N], the columns.
    of_ub, of_eq: the multipliers of the rows of `a_ub` and `a_eq`.
    """

    x: np.ndarray
    of_ub: np.ndarray
    of_eq: np.ndarray


def solve(model: Relaxation, time_limit_s: float) -> Solution | None:
    """Solves the relaxation; None if time runs out first.

    Large ones by HiGHS's interior-point method.  It ends at an optimum that may lie between
    corners: going on to one takes longer than all before, and no bound needs it.  It is gone on to
    where the end was not exact enough for HiGHS.
    """
    if len(model.cost) <= LARGE:
        return _solved(model, "highs", time_limit_s)
    started = time.perf_counter()
    solution = _solved(model, "highs-ipm", time_limit_s, run_crossover="off")
    left_s = time_limit_s - (time.perf_counter() - started)
    if solution is None and left_s > 0:
        solution = _solved(model, "highs-ipm", left_s)
    return solution


def _solved(model: Relaxation, method: str, time_limit_s: float, **options: Any) -> Solution | None:
    with warnings.catch_warnings():
        # SciPy hands options that it does not know to HiGHS, and says so.
        warnings.filterwarnings("ignore", "Unrecognized options", OptimizeWarning)
        answer = linprog(
            model.cost,
            A_ub=model.a_ub,
            b_ub=model.b_ub,
            A_eq=model.a_eq,
            b_eq=model.b_eq,
            bounds=np.stack([np.zeros_like(model.upper), model.upper], axis=1),
            method=method,
            options={"time_limit": max(time_limit_s, 1.0), **options},
        )
    if answer.status != 0:
        return None
    return Solution(answer.x, answer.ineqlin.marginals, answer.eqlin.marginals)


def dual_bound(model: Relaxation, of_ub: np.ndarray, of_eq: np.ndarray) -> float:
    """The lower bound on `constant + cost @ x` that multipliers of the rows prove.

    of_ub: one for each row of `a_ub`; positive ones count as zero.
    of_eq: one for each row of `a_eq`, any numbers.
    """
    of_ub = np.minimum(of_ub, 0.0)
    reduced = model.cost - model.a_ub.T @ of_ub - model.a_eq.T @ of_eq
    at_bounds = np.minimum(reduced, 0.0) * model.upper
    return float(model.constant + model.b_ub @ of_ub + model.b_eq @ of_eq + at_bounds.sum())
