"""Searches among the moves of the game, by its rules."""

from __future__ import annotations

import random
from collections.abc import Iterator

from games.loops.game.options import ACTION_NAMES, STOP
from games.loops.mappers.search import Search
from games.loops.oracle.oracle import Position, first, moved


def _next(search: Search, at: Position) -> Iterator[Position]:
    """Where one legal move leads, `stop` aside."""
    for action in range(len(ACTION_NAMES)):
        if action != STOP:
            after = moved(search.computation, at, action)
            if after is not None:
                yield after


def _best_ahead(search: Search, at: Position, depth: int) -> float:
    """The least cost within so many moves."""
    best = search.cost(at.nest)
    if depth == 0 or search.is_over:
        return best
    return min([best, *(_best_ahead(search, after, depth - 1) for after in _next(search, at))])


def greedy(search: Search, moves: int, ahead: int) -> None:
    """Plays the move after which the best nest within `ahead` moves is fastest; of equals the
    first. It ends where no nest within reach is faster."""
    at = first(search.computation)
    for _ in range(moves):
        if search.is_over:
            return
        options = list(_next(search, at))
        values = [_best_ahead(search, after, ahead - 1) for after in options]
        if not values or min(values) >= search.cost(at.nest):
            return
        at = options[values.index(min(values))]


def beam(search: Search, moves: int, width: int) -> None:
    """After each move the `width` fastest different positions go on."""
    front, seen = [first(search.computation)], set()
    for _ in range(moves):
        after: dict[Position, float] = {}
        for at in front:
            for position in _next(search, at):
                if search.is_over:
                    return
                if position not in seen:
                    after[position] = search.cost(position.nest)
        seen |= after.keys()
        front = sorted(after, key=lambda position: after[position])[:width]


def by_chance(search: Search, moves: int, seed: int) -> None:
    """Games of legal moves by chance, until the time is over."""
    rng = random.Random(seed)
    while not search.is_over:
        at = first(search.computation)
        for _ in range(moves):
            at = rng.choice(list(_next(search, at)))
            search.cost(at.nest)
            if search.is_over:
                return


def exhaustive(search: Search, moves: int) -> bool:
    """All games of at most so many moves, the shorter ones first; whether it came to an end."""
    front = {first(search.computation)}
    seen = set(front)
    for _ in range(moves):
        after = set()
        for at in sorted(front, key=repr):
            for position in _next(search, at):
                if search.is_over:
                    return False
                if position not in seen:
                    seen.add(position)
                    after.add(position)
                    search.cost(position.nest)
        front = after
    return True
