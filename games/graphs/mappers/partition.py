"""Integer programming: the best partition into enumerated groups, solved by HiGHS (in scipy).

A column is a group with a tensor that was retained before it, or none, and one that it retains, or
none, at its best tile.  Every operation is in one chosen column; what one retains another one
finds.  Chosen columns that cannot be put in an order are cut off when they turn up.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from games.graphs.closed_form import Costs
from games.graphs.mappers.plans import NOTHING, Group, Plan, in_order, plan_of, retained_at_best

# Groups that are enumerated at most, operations of one of these, rounds of cutting off.
MOST_GROUPS, LARGEST, ROUNDS = 2500, 16, 40
# Part of the time left that HiGHS is told: it looks at the clock now and then only.
CAUTION = 0.7


class Column(NamedTuple):
    """A group, what was retained before it, and what it retains."""

    ops: Group
    resident: frozenset[int]
    retain: frozenset[int]
    latency: float


def partition(costs: Costs, starts: Sequence[Plan], deadline: float) -> Plan:
    """The best plan of the groups of `starts` and enumerated ones, or else the best start."""
    best = min(starts, key=lambda plan: plan.latency)
    now = time.perf_counter()
    if best.latency <= costs.problem.compute_bound * (1 + 1e-9):
        return best
    groups = dict.fromkeys(ops for plan in starts for ops in plan.groups if _is_whole(costs, ops))
    groups.update(dict.fromkeys(enumerated(costs, now + 0.3 * (deadline - now))))
    columns = columns_of(costs, list(groups), now + 0.5 * (deadline - now))
    rows = _rows(costs, columns)
    cuts: list[list[int]] = []
    for _ in range(ROUNDS):
        left = deadline - time.perf_counter()
        chosen = _solve(columns, rows, cuts, CAUTION * left) if left > 0.1 else None
        if chosen is None:
            break
        order, cycle = _order(costs, columns, chosen)
        plan = (
            plan_of(costs, [columns[i].ops for i in chosen])
            if order is None
            else retained_at_best(costs, [columns[i].ops for i in order])
        )
        if plan is not None and plan.latency < best.latency:
            best = plan
        if order is not None:
            break
        cuts.append(cycle)
    return best


def enumerated(costs: Costs, deadline: float) -> list[Group]:
    """Groups no slower than their operations alone, grown one by one, the best first."""
    problem = costs.problem
    found = [frozenset([op]) for op in problem.order]
    known, layer = set(found), found
    below = _descendants(costs)
    while layer and len(found) < MOST_GROUPS:
        grown: dict[Group, float] = {}
        for ops in layer:
            if time.perf_counter() > deadline:
                return [ops for ops in found if _is_whole(costs, ops)]
            tensors = {t for op in ops for t in (*problem.inputs[op], problem.outputs[op])}
            near = {op for t in tensors for op in problem.readers_and_maker[t]} - ops
            for op in near:
                joined = ops | {op}
                if joined in known or len(joined) > LARGEST:
                    continue
                known.add(joined)
                saved = sum(costs.naive(o) for o in joined) - costs.latency(joined)
                if saved >= -1e-9 and _is_convex(costs, joined, below):
                    grown[joined] = saved
        layer = sorted(grown, key=grown.__getitem__, reverse=True)[: MOST_GROUPS // 4]
        found = found + layer
    return [ops for ops in found if _is_whole(costs, ops)]


def columns_of(costs: Costs, groups: Sequence[Group], deadline: float) -> list[Column]:
    """The groups with every way to retain one tensor before and behind them; without retaining
    once `deadline` has passed."""
    problem = costs.problem
    columns = []
    for ops in groups:
        form = costs.form(ops)
        if form is None:
            continue
        # Who reads a retained tensor is the next group, so it has all readers.
        residents = [t for t in form.inputs if t in problem.producer]
        residents = [t for t in residents if ops.issuperset(problem.consumers[t])]
        retains = [t for t in form.outputs if problem.consumers[t]]
        if time.perf_counter() > deadline:
            residents = retains = []
        for resident in (NOTHING, *(frozenset([t]) for t in residents)):
            for retain in (NOTHING, *(frozenset([t]) for t in retains)):
                latency = costs.latency(ops, resident, retain)
                if latency < np.inf:
                    columns.append(Column(ops, resident, retain, latency))
    return columns


def _descendants(costs: Costs) -> list[int]:
    """The operations that depend on each one, as bits."""
    problem = costs.problem
    below = [0] * problem.num_ops
    for op in reversed(problem.order):
        for reader in problem.consumers[problem.outputs[op]]:
            below[op] |= below[reader] | 1 << reader
    return below


def _is_convex(costs: Costs, ops: Group, below: Sequence[int]) -> bool:
    """Whether nothing that a group loads depends on it."""
    form, producer = costs.form(ops), costs.problem.producer
    reached = 0
    for op in ops:
        reached |= below[op]
    return form is not None and not any(
        t in producer and reached >> producer[t] & 1 for t in form.inputs
    )


def _is_whole(costs: Costs, ops: Group) -> bool:
    """Whether all readers of what a group keeps to itself are inside."""
    form, problem = costs.form(ops), costs.problem
    return form is not None and all(
        problem.outputs[op] in form.outputs
        or ops.issuperset(problem.consumers[problem.outputs[op]])
        for op in ops
    )


def _rows(costs: Costs, columns: Sequence[Column]) -> LinearConstraint:
    """Every operation once; what is retained is found."""
    problem = costs.problem
    entries = [(op, i, 1.0) for i, column in enumerate(columns) for op in column.ops]
    for i, column in enumerate(columns):
        entries += [(problem.num_ops + t, i, 1.0) for t in column.retain]
        entries += [(problem.num_ops + t, i, -1.0) for t in column.resident]
    row, column, value = zip(*entries, strict=True)
    shape = (problem.num_ops + problem.num_tensors, len(columns))
    matrix = sparse.csr_array((value, (row, column)), shape=shape)
    right = np.r_[np.ones(problem.num_ops), np.zeros(problem.num_tensors)]
    return LinearConstraint(matrix, right, right)


def _solve(
    columns: Sequence[Column], rows: LinearConstraint, cuts: Sequence[Sequence[int]], left: float
) -> list[int] | None:
    """The chosen columns; None where none were found in time."""
    constraints = [rows]
    if cuts:
        entries = [(number, i) for number, cut in enumerate(cuts) for i in cut]
        row, column = zip(*entries, strict=True)
        shape = (len(cuts), len(columns))
        matrix = sparse.csr_array((np.ones(len(row)), (row, column)), shape=shape)
        most: Any = np.array([len(cut) - 1.0 for cut in cuts])
        constraints.append(LinearConstraint(matrix, -np.inf, most))
    latency = np.array([column.latency for column in columns])
    made = milp(
        latency / latency.max(),
        integrality=np.ones(len(columns)),
        bounds=Bounds(0, 1),
        constraints=constraints,
        options={"time_limit": left, "mip_rel_gap": 1e-7},
    )
    return None if made.x is None else np.flatnonzero(made.x > 0.5).tolist()


def _order(
    costs: Costs, columns: Sequence[Column], chosen: Sequence[int]
) -> tuple[list[int] | None, list[int]]:
    """Chosen columns in an order in which retained tensors are found by the next one; or None,
    and the columns of a cycle."""
    finds = {t: i for i in chosen for t in columns[i].resident}
    heads = [i for i in chosen if not columns[i].resident]
    chains = []
    for head in heads:
        chain = [head]
        while columns[chain[-1]].retain:
            chain.append(finds[next(iter(columns[chain[-1]].retain))])
        chains.append(chain)
    problem = costs.problem
    chain_of = {op: c for c, chain in enumerate(chains) for i in chain for op in columns[i].ops}
    if len(chain_of) < problem.num_ops:  # columns that retain for each other in a ring
        inside = {i for chain in chains for i in chain}
        return None, [i for i in chosen if i not in inside]
    before = [
        {
            chain_of[problem.producer[t]]
            for i in chain
            for op in columns[i].ops
            for t in problem.inputs[op]
            if t in problem.producer
        }
        - {c}
        for c, chain in enumerate(chains)
    ]
    rank = [min(problem.rank[op] for i in chain for op in columns[i].ops) for chain in chains]
    order = in_order(before, rank)
    if order is not None:
        return [i for c in order for i in chains[c]], []
    return None, [i for c in _cycle(before) for i in chains[c]]


def _cycle(before: Sequence[set[int]]) -> list[int]:
    """The numbers of a short cycle."""
    best: list[int] = []
    for start in range(len(before)):
        trail: dict[int, int] = {}
        queue = [start]
        for node in queue:
            for source in before[node]:
                if source == start:
                    cycle = [node]
                    while cycle[-1] != start:
                        cycle.append(trail[cycle[-1]])
                    if not best or len(cycle) < len(best):
                        best = cycle
                    queue = []
                    break
                if source not in trail and source != start:
                    trail[source] = node
                    queue.append(source)
            if not queue:
                break
    return best
