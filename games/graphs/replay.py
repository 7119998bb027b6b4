"""The solution that the moves of a game make, and the moves that a plan stands for."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

from games.graphs.closed_form import Costs
from games.graphs.closed_form.form import TENSOR
from games.graphs.game.options import CLOSE, FIRST_ADDED, MORE, RETAIN, GraphsConfig
from games.graphs.mappers.plans import Plan, solution_of
from games.graphs.oracle.game import Answer, Oracle, Timing
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
    firsts = [answer.op for page in _pages(oracle) for answer in page.answers if _is_op(answer)]
    for number, (goal, _) in enumerate(left):
        if begun <= goal if begun else goal & set(firsts):
            return left.pop(number)
    first = min((op for op in firsts if op is not None), key=oracle.problem.rank.__getitem__)
    return begun or frozenset([first]), frozenset()


def _is_op(answer: Answer) -> bool:
    """Whether an answer is legal and about an operation."""
    return answer.time is not None and answer.op is not None


def _pages(oracle: Oracle) -> Iterator[Oracle]:
    """The game, and the game after every further page of candidates."""
    page = copy.copy(oracle)  # no move that opens or grows a group changes what copies share
    yield page
    while page.more:
        page = copy.copy(page)
        page.step(MORE)
        yield page


def _way_to(oracle: Oracle, goal: frozenset[int]) -> list[int]:
    """The moves that bring the most of a group together, after which it is still open."""
    if oracle.group:
        return _joining(oracle, goal)[0]
    best: tuple[list[int], int] = ([], 0)
    for turned, page in enumerate(_pages(oracle)):
        for first, answer in enumerate(page.answers):
            if not _is_op(answer) or answer.op not in goal:
                continue
            begun = copy.copy(page)
            begun.step(first)
            moves, size = _joining(begun, goal)
            if size > best[1]:
                best = ([*[MORE] * turned, first, *moves], size)
    return best[0]


def _joining(oracle: Oracle, goal: frozenset[int]) -> tuple[list[int], int]:
    """Adds operations of a group to the open one, of the first page that has any the fastest first;
    the moves, and the group's size then."""
    now, moves = copy.copy(oracle), []
    while True:
        found = next(
            ((turned, page, number) for turned, page in enumerate(_pages(now))
             if (number := _fastest(page, goal)) is not None), None,
        )  # fmt: skip
        if found is None:
            return moves, len(now.group)
        turned, now, number = found
        moves += [*[MORE] * turned, number]
        now.step(number)


def _fastest(oracle: Oracle, goal: frozenset[int]) -> int | None:
    """Of the answers that add operations of a group, and no others, the one of the least time."""
    able = [
        (answer.time, number)
        for number, answer in enumerate(oracle.answers)
        if number >= FIRST_ADDED and _is_op(answer) and answer.ops <= goal
    ]
    return min(able)[1] if able else None
