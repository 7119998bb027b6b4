"""Rules without search: every operation alone, and MatMuls with what follows them."""

from __future__ import annotations

from games.graphs.closed_form import Costs
from games.graphs.mappers.plans import NOTHING, Group, Plan, plan_of, singles


def naive(costs: Costs) -> Plan:
    """Every operation alone, with its best tile; nothing is retained."""
    groups = singles(costs.problem)
    latency = sum(costs.latency(ops) for ops in groups)
    return Plan(latency, tuple(groups), (NOTHING,) * len(groups))


def epilogue(costs: Costs) -> Plan:
    """Every operation joins the Pointwise operation that alone reads it, where that saves time."""
    problem = costs.problem
    group_of: dict[int, Group] = {op: frozenset([op]) for op in problem.order}
    for op in problem.order:
        readers = problem.consumers[problem.outputs[op]]
        if len(readers) != 1 or problem.is_matmul(readers[0]):
            continue
        joined = group_of[op] | group_of[readers[0]]
        apart = costs.latency(group_of[op]) + costs.latency(group_of[readers[0]])
        groups = {*group_of.values()} - {group_of[op], group_of[readers[0]]} | {joined}
        if costs.latency(joined) < apart and plan_of(costs, list(groups)) is not None:
            group_of.update(dict.fromkeys(joined, joined))
    plan = plan_of(costs, list(dict.fromkeys(group_of.values())))
    assert plan is not None
    return plan
