"""Beam search: groups one after another, the plans that saved most for what they have done stay."""

from __future__ import annotations

import time
from typing import NamedTuple

from games.graphs.closed_form import Costs
from games.graphs.mappers.plans import NOTHING, Group, Plan, plan_of
from games.graphs.mappers.simple import naive

# Plans of one length that stay, first operations of a group that are tried, its sizes.
WIDTH, SEEDS, LARGEST = 12, 3, 20


class Partial(NamedTuple):
    """A plan that has run some operations; saved: against running them alone."""

    saved: float
    done: frozenset[int]
    groups: tuple[Group, ...]
    retains: tuple[frozenset[int], ...]


def beam(costs: Costs, deadline: float = float("inf")) -> Plan:
    """The best plan that the beam finds; where `deadline` passes, what it has done up to then and
    every other operation alone."""
    problem = costs.problem
    levels: list[dict[tuple, Partial]] = [{} for _ in range(problem.num_ops + 1)]
    levels[0][NOTHING, NOTHING] = Partial(0.0, NOTHING, (), ())
    for level in range(problem.num_ops):
        best = sorted(levels[level].values(), key=lambda p: -p.saved)[:WIDTH]
        levels[level] = {}
        for partial in best:
            if time.perf_counter() > deadline:
                return _rest_alone(costs, max(best, key=lambda p: p.saved))
            for after in _extended(costs, partial):
                key = (after.done, after.retains[-1])
                bucket = levels[len(after.done)]
                if key not in bucket or bucket[key].saved < after.saved:
                    bucket[key] = after
    whole = naive(costs)
    for partial in levels[-1].values():
        latency = whole.latency - partial.saved
        if not partial.retains[-1] and latency < whole.latency:
            whole = Plan(latency, partial.groups, partial.retains)
    return whole


def _rest_alone(costs: Costs, partial: Partial) -> Plan:
    """A plan that runs alone what a partial one has not run."""
    rest = [frozenset([op]) for op in costs.problem.order if op not in partial.done]
    plan = plan_of(costs, [*partial.groups, *rest])
    whole = naive(costs)
    return whole if plan is None or plan.latency > whole.latency else plan


def _extended(costs: Costs, partial: Partial) -> list[Partial]:
    """The partial plan with one more group, in several ways."""
    problem, done = costs.problem, partial.done
    resident = partial.retains[-1] if partial.retains else NOTHING
    waiting = frozenset(op for t in resident for op in problem.consumers[t])
    if waiting:
        seeds = [waiting]
    else:
        recent = partial.groups[-1] if partial.groups else NOTHING
        ready = [op for op in problem.order if op not in done and _is_ready(costs, op, done)]
        ready.sort(key=lambda op: not _reads(costs, op, recent))
        seeds = [frozenset([op]) for op in ready[:SEEDS]]
    found = []
    for ops in seeds:
        for group in _grown(costs, ops, done, resident):
            form = costs.form(group)
            assert form is not None
            alone = sum(costs.naive(op) for op in group)
            able = [t for t in form.outputs if _retainable(costs, t, done | group)]
            for retain in (NOTHING, *(frozenset([t]) for t in able)):
                latency = costs.latency(group, resident, retain)
                if latency < float("inf"):
                    found.append(
                        Partial(
                            partial.saved + alone - latency,
                            done | group,
                            (*partial.groups, group),
                            (*partial.retains, retain),
                        )
                    )
    return found


def _grown(costs: Costs, ops: Group, done: frozenset[int], resident: frozenset[int]) -> list[Group]:
    """A group, and those that it grows into by the operation that saves most, step by step."""
    problem, found = costs.problem, []
    while True:
        form = costs.form(ops)
        if form is not None and _keeps_whole(costs, ops) and costs.best(ops, resident) is not None:
            found.append(ops)
        if len(ops) >= LARGEST:
            return found
        tensors = {t for op in ops for t in (*problem.inputs[op], problem.outputs[op])}
        near = {r for t in tensors for r in problem.consumers[t]} - ops - done
        options = []
        for op in near:
            missing = [
                problem.producer[t]
                for t in problem.inputs[op]
                if t in problem.producer and problem.producer[t] not in done | ops
            ]
            if all(_is_ready(costs, m, done | ops) for m in missing):
                joined = ops | {op, *missing}
                alone = sum(costs.naive(o) for o in joined)
                options.append((costs.latency(joined, resident) - alone, -op, joined))
        options = [option for option in options if option[0] < float("inf")]
        if not options:
            return found
        ops = min(options)[2]


def _is_ready(costs: Costs, op: int, done: frozenset[int]) -> bool:
    producer = costs.problem.producer
    return all(t not in producer or producer[t] in done for t in costs.problem.inputs[op])


def _reads(costs: Costs, op: int, group: Group) -> bool:
    producer = costs.problem.producer
    return any(producer.get(t) in group for t in costs.problem.inputs[op])


def _keeps_whole(costs: Costs, ops: Group) -> bool:
    """Whether all readers of what is read inside are inside."""
    problem = costs.problem
    for op in ops:
        readers = problem.consumers[problem.outputs[op]]
        if any(r in ops for r in readers) and not ops.issuperset(readers):
            return False
    return True


def _retainable(costs: Costs, tensor: int, done: frozenset[int]) -> bool:
    """Whether the readers of a tensor can form the next group."""
    readers = frozenset(costs.problem.consumers[tensor])
    return (
        bool(readers)
        and all(_is_ready(costs, op, done | readers) for op in readers)
        and costs.latency(readers, frozenset([tensor])) < float("inf")
    )
