"""Opponents by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from games.loops.mappers.local import local_search
from games.loops.mappers.moving import beam, by_chance, exhaustive, greedy
from games.loops.mappers.search import Search, Seconds
from games.loops.program.computation import Computation
from games.loops.program.nest import Nest

# (search, moves of a game, seed); they leave what they found in the search.
Mapper = Callable[[Search, int, int], object]
MAPPERS: Mapping[str, Mapper] = {
    "start": lambda search, moves, seed: None,
    "greedy1": lambda search, moves, seed: greedy(search, moves, 1),
    "greedy2": lambda search, moves, seed: greedy(search, moves, 2),
    "beam2": lambda search, moves, seed: beam(search, moves, 2),
    "beam4": lambda search, moves, seed: beam(search, moves, 4),
    "random": by_chance,
    "exhaustive": lambda search, moves, seed: exhaustive(search, moves),
    "local_search": lambda search, moves, seed: local_search(search, seed),
}


@dataclasses.dataclass(frozen=True)
class Found:
    """seconds: of the nest, as the search saw it. tried: different nests."""

    nest: Nest
    seconds: float
    tried: int


def run(
    name: str,
    computation: Computation,
    seconds: Seconds,
    budget_s: float,
    moves: int = 20,
    seed: int = 0,
) -> Found:
    """What an opponent finds within its time; `seconds` says what nests cost it."""
    search = Search(computation, seconds, budget_s)
    MAPPERS[name](search, moves, seed)
    return Found(search.best, search.best_seconds, search.tried)
