"""Between moves of the game and schedules."""

from __future__ import annotations

from collections.abc import Sequence

from games.cores.game.options import NONE
from games.cores.oracle.game import Facts, Oracle, Thing
from games.cores.problem.problem import Problem
from games.cores.problem.schedule import Drop, Event, Schedule, Start

# A start: False, the allocation, the operation. A transfer: True, the channel, the value.
Key = tuple[bool, int, int]
NEVER = 1 << 60


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
    moves, oracle = _follow(problem, schedule, facts or Facts(problem), on_time=True)
    same = not oracle.stuck and _deeds(oracle.events) == _deeds(schedule.events)
    return moves if same else None


def moves_like(
    problem: Problem, schedule: Schedule, facts: Facts | None = None
) -> tuple[list[int], float]:
    """The moves of a game that goes like a schedule as far as the game can, and its score.

    What the schedule starts is started in its order: never before its time, or as soon as it is
    offered, whichever scores higher. What the schedule does not start is refused, unless something
    has to start.
    """
    facts = facts or Facts(problem)
    games = (_follow(problem, schedule, facts, on_time) for on_time in (True, False))
    moves, oracle = max(games, key=lambda game: game[1].score)
    return moves, oracle.score


def first_candidates(problem: Problem, facts: Facts | None = None) -> tuple[list[int], float]:
    """The moves of the game that takes the first candidate of every question, and its score."""
    oracle, moves = Oracle(problem, facts), list[int]()
    while not oracle.done:
        moves.append(1)
        oracle.step(1)
    return moves, oracle.score


def _deeds(events: Sequence[Event]) -> set[Event]:
    return {event for event in events if not isinstance(event, Drop)}


def _follow(
    problem: Problem, schedule: Schedule, facts: Facts, on_time: bool
) -> tuple[list[int], Oracle]:
    """A game that takes what a schedule still has to start, the earliest first."""
    left: dict[Key, list[tuple[int, int]]] = {}  # when, and the place in the schedule
    drops: dict[tuple[int, int], int] = {}
    for place, event in enumerate(schedule.events):
        if isinstance(event, Drop):
            drops.setdefault((event.value, event.memory), place)
            continue
        if isinstance(event, Start):
            key = False, event.allocation, problem.allocations[event.allocation].value
        else:
            key = True, event.channel, event.value
        left.setdefault(key, []).append((event.time, place))
    oracle, moves = Oracle(problem, facts), list[int]()
    while not oracle.done:
        choice = _choice(oracle, left, drops, on_time)
        chosen = oracle.offers[choice - 1] if choice != NONE else None
        if isinstance(chosen, Thing):
            key = chosen.moves, chosen.number, chosen.value
            left[key] = left.get(key, [])[1:]
        moves.append(choice)
        oracle.step(choice)
    return moves, oracle


def _choice(
    oracle: Oracle,
    left: dict[Key, list[tuple[int, int]]],
    drops: dict[tuple[int, int], int],
    on_time: bool,
) -> int:
    """The answer: what the schedule drops or starts first; else none, or the first candidate."""
    if oracle.pending is not None:
        memory = oracle.pending.makes[1]
        ranks = [drops.get((v, memory), NEVER) for v in oracle.offers if isinstance(v, int)]
        return 1 + ranks.index(min(ranks))
    able = [
        (left[key][0], 1 + i)
        for i, thing in enumerate(oracle.offers)
        if isinstance(thing, Thing) and left.get(key := (thing.moves, thing.number, thing.value))
    ]
    if able:
        (time, _), choice = min(able)
        if oracle.must or not on_time or time <= oracle.now:
            return choice
    return 1 if oracle.must else NONE
