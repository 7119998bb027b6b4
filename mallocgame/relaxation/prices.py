"""What memory and copies are worth in the linear relaxation's optimum: shadow prices.

With the multipliers of all rows that values share (bytes, supply, an instruction's time) as prices,
every value can be planned alone, as a shortest path through its life (`.points`): the rents that it
pays for memory, its copies and the accesses that slow memory serves add up.  The difference between
the best plans after a yes and after a no tells what each answer is worth.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import NamedTuple

import numpy as np

from gamekit.text import say
from mallocgame.program import Program
from mallocgame.program.times import Times
from mallocgame.relaxation.bound import ROUNDING, Solution, dual_bound, solve
from mallocgame.relaxation.points import Life
from mallocgame.relaxation.relaxation import (
    CLEAN_D,
    COPY,
    DROP_C,
    EVICT_D,
    HOLD_C,
    HOLD_D,
    LOSE_D,
    SLOW,
    Relaxation,
    relax,
)

# Seconds of the clock that the relaxation may take, for which a program's player waits.
PATIENCE_S = 60.0


class Worth(NamedTuple):
    """What a yes is worth at one question, as shares of the all-slow latency, and what is planned.

    clean, dirty: latency of the best plan after a no, less that after a yes, if what fast memory
        holds is also in slow memory or not; at an arrival both are the same.
    planned: in [0, 1], how far the optimum of the relaxation says yes.
    """

    clean: float
    dirty: float
    planned: float


# The share of each access that `worn` has in slow memory.
WEAR = 0.003
# Less flow than this is none.
FLOW = 1e-6
NOTHING = Worth(0.0, 0.0, 0.0)


@dataclasses.dataclass(frozen=True)
class Prices:
    """The optimum of a program's relaxation; shares are of the all-slow latency.

    memory: float64 [T], price of all of fast memory in each slot, as a share.
    due, released: float64 [T], price of a unit of the slow bus's time for a copy that ends by this
        slot's end, and for one that may not begin before this slot, in units of latency.
    used: float64 [T], share of fast memory in use.
    saved: float64 [T + 1], share that slots t, t + 1, ... save.
    limit: share that no mapping saves more than; rigorous.
    arrivals: (value, slot) -> the worth of a copy for a read there, or of a definition there.
    stays: (value, slot) -> the worth of staying after the slot.
    """

    memory: np.ndarray
    due: np.ndarray
    released: np.ndarray
    used: np.ndarray
    saved: np.ndarray
    limit: float
    arrivals: dict[tuple[int, int], Worth]
    stays: dict[tuple[int, int], Worth]


class _Known:
    """A program that is equal to others of the same content."""

    def __init__(self, program: Program):
        self.program = program

    def __hash__(self) -> int:
        return hash(self.program.fingerprint)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Known) and self.program.fingerprint == other.program.fingerprint


def prices_of(program: Program) -> Prices:
    """The shadow prices, remembered for the last few programs.

    Where the relaxation takes too long, a line on stderr says that there are none.
    """
    return _prices_of(_Known(program))


@functools.lru_cache(maxsize=8)
def _prices_of(known: _Known) -> Prices:
    prices = shadow_prices(known.program, PATIENCE_S)
    if prices is None:
        say(
            f"{known.program.name}: the linear relaxation was not solved in {PATIENCE_S:g} s; "
            "observations have no prices, and openings follow no plan. Try again when the machine "
            "is less busy",
            error=True,
        )
        return no_prices(known.program)
    return prices


def shadow_prices(program: Program, time_limit_s: float) -> Prices | None:
    """Solves the relaxation; None if time runs out."""
    model = relax(program)
    if model is None:
        return no_prices(program)
    solution = solve(worn(model), time_limit_s)
    if solution is None:
        return None
    reduced = reduced_costs(model, solution)
    arrivals: dict[tuple[int, int], Worth] = {}
    stays: dict[tuple[int, int], Worth] = {}
    for life in model.lives:
        _note_worth(program, model, life, reduced, solution.x, arrivals, stays)
    slack = (model.b_ub - model.a_ub @ solution.x)[model.capacity_rows :]
    bound = dual_bound(model, solution.of_ub, solution.of_eq) - ROUNDING
    due, released = (_of_rows(solution.of_eq, rows) for rows in model.supply_rows.T)
    return Prices(
        memory=np.maximum(0.0, -solution.of_ub[model.capacity_rows :]),
        due=due,
        released=released,
        used=np.clip(1.0 - slack, 0.0, 1.0),
        saved=_saved(program, solution.x[model.above]),
        limit=min(max(0.0, 1.0 - bound), 1.0 - model.constant),
        arrivals=arrivals,
        stays=stays,
    )


def worn(model: Relaxation) -> Relaxation:
    """The model with a little of every access in slow memory.

    Where an optimum has all of an instruction's accesses in fast memory, any price from nothing to
    what they save is a multiplier of its time, and solvers return nothing.  With a little in slow
    memory the multiplier is what they save.
    """
    return dataclasses.replace(model, b_ub=model.b_ub - WEAR * model.slowed)


def reduced_costs(model: Relaxation, solution: Solution) -> np.ndarray:
    """Float64 [N]: what each column costs with all rows priced but those that conserve flows.

    A column that is the sum of several ways has the price of the cheapest.
    """
    of_eq = np.where(model.conserved, 0.0, solution.of_eq)
    reduced = model.cost - model.a_ub.T @ np.minimum(solution.of_ub, 0.0) - model.a_eq.T @ of_eq
    for column, ways in model.ways.items():
        reduced[column] += reduced[ways].min()
    reduced[model.flows & (model.upper == 0)] = math.inf
    return reduced


def plan_costs(
    program: Program, model: Relaxation, life: Life, reduced: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """The least cost of a value's life from each point on, its accesses paid for.

    Returns:
      Float64 [P] each: with the value in slow memory only, in both, and in fast memory only; the
      costs begin after the point. And the cost of the whole life.
    """
    count = len(life.points)
    slow, clean, dirty = np.zeros(count), np.zeros(count), np.zeros(count)
    bases = [model.pieces[life.value, k] for k in range(len(life.pieces))]
    first = 0.0
    for k in reversed(range(len(life.pieces))):
        after = life.pieces[k].after
        cost = reduced[bases[k] : bases[k] + SLOW + 1]
        in_slow = min(cost[SLOW] + slow[after], cost[COPY] + clean[after])
        in_both = min(cost[HOLD_C] + clean[after], cost[DROP_C] + in_slow)
        given_up = min(cost[EVICT_D], cost[LOSE_D]) + in_slow
        in_fast = min(cost[HOLD_D] + dirty[after], cost[CLEAN_D] + clean[after], given_up)
        before = life.pieces[k].before
        if before < 0:
            first = in_slow
            continue
        slow[before], dirty[before] = in_slow, in_fast
        # What is written in fast memory differs from what slow memory holds.
        written = any(program.accesses[i].kind == "write" for i in life.points[before].accesses)
        clean[before] = in_fast if written else in_both
    if life.value in model.defined:
        column = model.defined[life.value]
        first = min(reduced[column] + slow[0], reduced[column + 1] + dirty[0])
    return slow, clean, dirty, float(first)


def _note_worth(
    program: Program,
    model: Relaxation,
    life: Life,
    reduced: np.ndarray,
    x: np.ndarray,
    arrivals: dict[tuple[int, int], Worth],
    stays: dict[tuple[int, int], Worth],
) -> None:
    """Adds the questions about a value.

    A loop's marker asks in the slot before or at the boundary; an access in the same slot is asked
    about first.
    """
    v = life.value
    slow, clean, dirty, _ = plan_costs(program, model, life, reduced)
    if v in model.defined:
        column = model.defined[v]
        gain = reduced[column] + slow[0] - reduced[column + 1] - dirty[0]
        arrivals[v, life.points[0].slot] = _worth(gain, gain, x[column + 1], x[column])
    for k, piece in enumerate(life.pieces):
        after, base = piece.after, model.pieces[v, k]
        cost, flow = reduced[base : base + SLOW + 1], x[base : base + SLOW + 1]
        point = life.points[after]
        gain = cost[SLOW] + slow[after] - cost[COPY] - clean[after]
        worth = _worth(gain, gain, flow[COPY], flow[SLOW])
        arrivals.setdefault((v, point.slot - (not point.accesses)), worth)
        if piece.before < 0:
            continue
        point = life.points[piece.before]
        in_slow = min(cost[SLOW] + slow[after], cost[COPY] + clean[after])
        stay_clean = cost[HOLD_C] + clean[after]
        stay_dirty = min(cost[HOLD_D] + dirty[after], cost[CLEAN_D] + clean[after])
        leave = flow[[DROP_C, EVICT_D, LOSE_D]].sum()
        worth = _worth(
            cost[DROP_C] + in_slow - stay_clean,
            min(cost[EVICT_D], cost[LOSE_D]) + in_slow - stay_dirty,
            flow[[HOLD_C, HOLD_D, CLEAN_D]].sum(),
            leave,
        )
        stays.setdefault((v, point.slot), worth)
        if not point.accesses:
            stays.setdefault((v, point.slot - 1), worth)


def _worth(clean: float, dirty: float, yes: float, no: float) -> Worth:
    """Shares beyond what a program has are of no use; where no flow is, the gain decides."""
    clean, dirty = (float(np.clip(np.nan_to_num(x), -1.0, 1.0)) for x in (clean, dirty))
    flow = yes + no
    planned = yes / flow if flow > FLOW else float(max(clean, dirty) > 0)
    return Worth(clean, dirty, float(np.clip(planned, 0.0, 1.0)))


def _of_rows(multipliers: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Prices [T] of what the rows hand on, 0 where there is no row."""
    return np.where(rows >= 0, np.abs(multipliers[rows]) if len(multipliers) else 0.0, 0.0)


def _saved(program: Program, above: np.ndarray) -> np.ndarray:
    """Float64 [T + 1]: what a solution saves from each slot on; above: [T], over the floor."""
    times = Times(program)
    saved = times.weight * np.maximum(times.slow_elapsed - times.floor - above, 0.0)
    return np.append(np.cumsum(saved[::-1])[::-1], 0.0)


def no_prices(program: Program) -> Prices:
    """All is free, and the floor is the limit."""
    times = Times(program)
    count = len(program.instructions)
    saved = _saved(program, np.zeros(count)) if times.scale_s > 0 else np.zeros(count + 1)
    zero = np.zeros(count)
    return Prices(zero, zero, zero, zero, saved, float(saved[0]), {}, {})
