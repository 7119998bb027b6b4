"""Simulated annealing over ordered groups: join, split, move, repeat, reorder."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import numpy as np

from games.graphs.closed_form import Costs
from games.graphs.mappers.plans import Group, Plan, plan_of, retained_at_best

Groups = list[Group]
Change = Callable[[Costs, Groups, np.random.Generator], Groups | None]

# A change that costs this part of a plan's latency is accepted with probability 1/e, at first and
# at last.
WARM, COLD = 2e-3, 2e-5
# Plans in a row that are no better than the best one, after which the search goes on from that one.
PATIENCE = 400


def anneal(
    costs: Costs, starts: Sequence[Plan], deadline: float, seed: int, begin: float | None = None
) -> Plan:
    """The best plan that changes to the best of `starts` lead to until `deadline`."""
    rng = np.random.default_rng(seed)
    best = current = min(starts, key=lambda plan: plan.latency)
    begin = time.perf_counter() if begin is None else begin
    bound, stale = costs.problem.compute_bound, 0
    while (now := time.perf_counter()) < deadline and best.latency > bound * (1 + 1e-9):
        part = (now - begin) / max(deadline - begin, 1e-9)
        warmth = current.latency * WARM * (COLD / WARM) ** part
        change = CHANGES[int(rng.integers(len(CHANGES)))]
        groups = change(costs, list(current.groups), rng)
        plan = None if groups is None else retained_at_best(costs, groups)
        stale += 1
        if plan is not None:
            worse = plan.latency - current.latency
            if worse <= 0 or rng.random() < math.exp(-worse / warmth):
                current = plan
            if plan.latency < best.latency * (1 - 1e-12):
                best, stale = plan, 0
        if stale > PATIENCE:
            current, stale = best, 0
            # Its groups may be in a better order.
            again = plan_of(costs, best.groups)
            if again is not None and again.latency < best.latency * (1 - 1e-12):
                best = current = again
    return best


def _pick(groups: Groups, rng: np.random.Generator) -> int:
    return int(rng.integers(len(groups)))


def _touching(costs: Costs, groups: Groups, number: int) -> list[int]:
    """Groups that share a tensor with one."""
    mine = _tensors(costs, groups[number])
    return [n for n, ops in enumerate(groups) if n != number and mine & _tensors(costs, ops)]


def _tensors(costs: Costs, ops: Group) -> frozenset[int]:
    form = costs.form(ops)
    return frozenset() if form is None else form.inputs | form.outputs


def _neighbour(costs: Costs, groups: Groups, rng: np.random.Generator) -> tuple[int, int] | None:
    number = _pick(groups, rng)
    others = _touching(costs, groups, number)
    return (number, int(rng.choice(others))) if others else None


def _join(costs: Costs, groups: Groups, rng: np.random.Generator) -> Groups | None:
    """Two groups that share a tensor become one, at the place of either."""
    pair = _neighbour(costs, groups, rng)
    if pair is None:
        return None
    one, other = pair
    joined = groups[one] | groups[other]
    if costs.best(joined) is None and costs.form(joined) is None:
        return None
    groups[one] = joined
    del groups[other]
    return groups


def _split(costs: Costs, groups: Groups, rng: np.random.Generator) -> Groups | None:
    """A group falls apart: the first operations of it, and the others."""
    number = _pick(groups, rng)
    if len(groups[number]) < 2:
        return None
    ops = sorted(groups[number], key=costs.problem.rank.__getitem__)
    cut = int(rng.integers(1, len(ops)))
    groups[number : number + 1] = [frozenset(ops[:cut]), frozenset(ops[cut:])]
    return groups


def _move(costs: Costs, groups: Groups, rng: np.random.Generator) -> Groups | None:
    """An operation goes to a group that shares a tensor with its own."""
    pair = _neighbour(costs, groups, rng)
    if pair is None:
        return None
    one, other = pair
    op = int(rng.choice(sorted(groups[one])))
    groups[other] |= {op}
    groups[one] -= {op}
    return [ops for ops in groups if ops]


def _alone(costs: Costs, groups: Groups, rng: np.random.Generator) -> Groups | None:
    """An operation leaves its group, to run before or after it."""
    number = _pick(groups, rng)
    if len(groups[number]) < 2:
        return None
    op = frozenset([int(rng.choice(sorted(groups[number])))])
    rest = groups[number] - op
    groups[number : number + 1] = [op, rest] if rng.random() < 0.5 else [rest, op]
    return groups


def _repeat(costs: Costs, groups: Groups, rng: np.random.Generator) -> Groups | None:
    """A group computes one of its inputs itself, though it was computed before."""
    number = _pick(groups, rng)
    form = costs.form(groups[number])
    assert form is not None
    made = sorted(t for t in form.inputs if t in costs.problem.producer)
    if not made:
        return None
    op = costs.problem.producer[int(rng.choice(made))]
    groups[number] |= {op}
    # Groups that nobody needs any more go.
    read = {t for ops in groups for t in _inputs(costs, ops)}
    covered = [sum(o in ops for ops in groups) for o in range(costs.problem.num_ops)]
    for other in range(len(groups) - 1, -1, -1):
        ops = groups[other]
        form = costs.form(ops)
        if form is None:
            return None
        needed = form.outputs & (read | costs.problem.graph_outputs)
        if not needed and all(covered[o] > 1 for o in ops):
            del groups[other]
            for o in ops:
                covered[o] -= 1
    return groups


def _inputs(costs: Costs, ops: Group) -> frozenset[int]:
    form = costs.form(ops)
    return frozenset() if form is None else form.inputs


def _reorder(costs: Costs, groups: Groups, rng: np.random.Generator) -> Groups | None:
    """A group goes elsewhere: next to one that shares a tensor with it, or anywhere near."""
    number = _pick(groups, rng)
    others = _touching(costs, groups, number)
    if others and rng.random() < 0.7:
        to = int(rng.choice(others)) + int(rng.integers(2))
    else:
        to = number + int(rng.integers(-6, 7))
    ops = groups.pop(number)
    to -= to > number
    groups.insert(min(max(to, 0), len(groups)), ops)
    return groups


CHANGES: tuple[Change, ...] = (_join, _join, _split, _move, _move, _alone, _repeat, _reorder)
