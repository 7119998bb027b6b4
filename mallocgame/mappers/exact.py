"""The linear model with whole numbers: a mapping near its optimum, and how near it is."""

from __future__ import annotations

import numpy as np
from scipy.optimize import Bounds, LinearConstraint
from scipy.optimize import milp as solve

from mallocgame.game.options import GameConfig
from mallocgame.judge import simulate
from mallocgame.mappers.base import Clock, Mapped
from mallocgame.mappers.layouts.local_search import LayoutSearch, best_legal, compile_kernels
from mallocgame.program import Program
from mallocgame.program.mapping import all_slow
from mallocgame.relaxation.relaxation import relax, wanted_accesses

# Share of the all-slow latency by which the solver's bound is lowered: its rows may be off by 1e-6.
TOLERANCE = 1e-5
SHARE = 0.7  # of the budget for the solver; the rest is for laying out its answer


def milp(program: Program, config: GameConfig, budget_s: float, seed: int) -> Mapped:
    """Solves the model as far as the budget allows and lays out its answer.

    The model knows neither offsets nor how copies share the bus, so its optimum may be out of
    reach. `info` says what is certain: `bound_s` is a latency that no mapping goes below, and
    `proven` is 1 if the mapping reaches it.  `config` has no effect.
    """
    del config
    compile_kernels()
    clock = Clock(budget_s)
    model = relax(program)
    mapping = all_slow(program)
    if model is None:
        return Mapped(mapping, clock.seconds, info={"bound_s": 0.0, "proven": 1.0})
    answer = solve(
        model.cost,
        integrality=model.flows.astype(np.int64),
        bounds=Bounds(np.zeros_like(model.upper), model.upper),  # type: ignore[arg-type]
        constraints=[
            LinearConstraint(model.a_ub, -np.inf, model.b_ub),  # type: ignore[arg-type]
            LinearConstraint(model.a_eq, model.b_eq, model.b_eq),  # type: ignore[arg-type]
        ],
        options={"time_limit": max(SHARE * budget_s, 1.0), "mip_rel_gap": 0.0},
    )
    bound = model.constant
    if answer.mip_dual_bound is not None and np.isfinite(answer.mip_dual_bound):
        bound = max(bound, model.constant + float(answer.mip_dual_bound) - TOLERANCE)
    if answer.x is not None:
        search = LayoutSearch(program, seed)
        search.lay(wanted_accesses(model, answer.x))
        search.run(clock, bound + TOLERANCE)
        mapping = best_legal(program, search.mapping())
    latency_s = simulate(program, mapping).latency_s
    bound_s = min(bound * model.scale_s, latency_s)
    proven = latency_s <= (bound + 3 * TOLERANCE) * model.scale_s
    info = {"bound_s": bound_s, "proven": float(proven)}
    return Mapped(mapping, clock.seconds, info=info)
