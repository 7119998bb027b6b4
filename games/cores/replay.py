"""Between moves of the game and schedules."""

from __future__ import annotations

from collections.abc import Sequence

from games.cores.game.options import NONE
from games.cores.oracle.game import Facts, Oracle, Thing
from games.cores.problem.problem import Problem
from games.cores.problem.schedule import Schedule, Start, Transfer


def schedule_of_moves(problem: Problem, moves: Sequence[int]) -> Schedule:
    """The schedule of a finished game."""
    oracle = Oracle(problem)
    for move in moves:
        oracle.step(move)
    assert oracle.done, "the game is not finished"
    return oracle.schedule()


def moves_of_schedule(
    problem: Problem, schedule: Schedule, facts: Facts | None = None
) -> list[int] | None:
    """The moves of a game that makes these starts and transfers at these times; None where the
    game does not offer one of them, or goes another way."""
    oracle = Oracle(problem, facts)
    todo: dict[tuple[int, bool, int, int], bool] = {}
    drops: set[tuple[int, int]] = set()
    for event in schedule.events:
        if isinstance(event, Start):
            value = problem.allocations[event.allocation].value
            todo[event.time, False, event.allocation, value] = True
        elif isinstance(event, Transfer):
            todo[event.time, True, event.channel, event.value] = True
        else:
            drops.add((event.value, event.memory))
    moves: list[int] = []
    while not oracle.done:
        choice = NONE
        for i, offer in enumerate(oracle.offers):
            if isinstance(offer, Thing):
                key = oracle.now, offer.moves, offer.number, offer.value
                if todo.pop(key, False):
                    choice = 1 + i
                    break
            elif oracle.pending is not None and (offer, oracle.pending.makes[1]) in drops:
                choice = 1 + i
                break
        if not oracle.legal[choice]:
            return None
        moves.append(choice)
        oracle.step(choice)
    return None if todo or oracle.stuck else moves
