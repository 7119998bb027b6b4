"""The solution that the moves of a game make, and the moves that a plan stands for."""

from __future__ import annotations

from collections.abc import Sequence

from games.graphs.closed_form import Costs
from games.graphs.closed_form.form import TENSOR
from games.graphs.game.options import GraphsConfig
from games.graphs.mappers.plans import Plan, solution_of
from games.graphs.oracle.game import Oracle, Timing
from games.graphs.problem.solution import Solution


def by_closed_form(costs: Costs) -> Timing:
    """Times of the groups that the game plays, at their best tiles."""

    def timing(
        ops: frozenset[int], resident: frozenset[int], retain: frozenset[int]
    ) -> float | None:
        form = costs.form(ops)
        if form is None or len(set(form.stepping[:, 1].tolist())) > 1:
            return None
        loaded = [t for t in form.loads[:, TENSOR].tolist() if t not in resident]
        if len(set(loaded)) < len(loaded):
            return None
        choice = costs.best(ops, resident, retain)
        return None if choice is None else choice.latency

    return timing


def plan_of_moves(costs: Costs, config: GraphsConfig, moves: Sequence[int]) -> Plan:
    """The groups of a finished game."""
    oracle = Oracle(costs.problem, config, by_closed_form(costs))
    for move in moves:
        oracle.step(move)
    assert oracle.done, "the game is not finished"
    return Plan(
        oracle.closed_time,
        tuple(group.ops for group in oracle.closed),
        tuple(group.retain for group in oracle.closed),
    )


def solution_of_moves(costs: Costs, config: GraphsConfig, moves: Sequence[int]) -> Solution:
    """The solution of a finished game, each group with its best tile."""
    return solution_of(costs, plan_of_moves(costs, config, moves))
