"""The solution that the moves of a game make, and the moves that a plan stands for."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from games.graphs.closed_form import Costs
from games.graphs.closed_form.form import TENSOR
from games.graphs.game.options import CLOSE, FIRST_ADDED, RETAIN, GraphsConfig
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


def moves_of_plan(costs: Costs, config: GraphsConfig, plan: Plan) -> list[int]:
    """A finished game that makes a plan's groups, as far as the game can.

    The game retains one tensor at most, and a group that no order of its answers builds falls into
    parts.
    """
    oracle = Oracle(costs.problem, config, by_closed_form(costs))
    left = list(zip(plan.groups, plan.retains, strict=True))
    moves: list[int] = []

    def play(more: Sequence[int]) -> None:
        for move in more:
            oracle.step(move)
        moves.extend(more)

    while not oracle.done:
        goal, keep = _next_goal(oracle, left)
        play(_way_to(oracle, goal))
        missing = (goal - oracle.group) & oracle.waiting
        retains = not missing and oracle.retained in keep
        if missing:
            left.insert(0, (missing, keep))
        play([RETAIN if retains and oracle.legal[RETAIN] else CLOSE])
    return moves


def _next_goal(
    oracle: Oracle, left: list[tuple[frozenset[int], frozenset[int]]]
) -> tuple[frozenset[int], frozenset[int]]:
    """Takes the first group out of a list that can be built on, and what it retains."""
    begun = oracle.group
    firsts = {a.op for a in oracle.answers if a.time is not None and a.op is not None}
    for number, (goal, _) in enumerate(left):
        if begun <= goal if begun else firsts & goal:
            return left.pop(number)
    return begun or frozenset([min(firsts, key=oracle.problem.rank.__getitem__)]), frozenset()


def _way_to(oracle: Oracle, goal: frozenset[int]) -> list[int]:
    """The moves that bring the most of a group together, after which it is still open."""
    if oracle.group:
        return _joining(oracle, goal)[0]
    best: tuple[list[int], int] = ([], 0)
    for first, answer in enumerate(oracle.answers):
        if answer.time is None or answer.op not in goal:
            continue
        begun = copy.copy(oracle)  # no move that opens or grows a group changes what it shares
        begun.step(first)
        moves, size = _joining(begun, goal)
        if size > best[1]:
            best = ([first, *moves], size)
    return best[0]


def _joining(oracle: Oracle, goal: frozenset[int]) -> tuple[list[int], int]:
    """Adds operations of a group to the open one, the fastest first; the moves, its size then."""
    now, moves = copy.copy(oracle), []
    while True:
        able = [
            (answer.time, number)
            for number, answer in enumerate(now.answers)
            if number >= FIRST_ADDED and answer.time is not None and answer.ops <= goal
        ]
        if not able:
            return moves, len(now.group)
        moves.append(min(able)[1])
        now.step(moves[-1])
