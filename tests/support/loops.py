"""Computations and nests of the game of loops, for its tests."""

from __future__ import annotations

import random

from games.loops.fit.sample import by_moves, by_structure
from games.loops.game.options import ACTION_NAMES
from games.loops.oracle.oracle import Position, first, moved
from games.loops.program.computation import Computation, parse
from games.loops.program.nest import Nest
from games.loops.suites import named

MM = parse("C[m,n] += A[m,k] * B[k,n]; m=6 n=16 k=5", "mm")
KINDS = ("mm20_24_12", "mmt8_16_12", "mtm12_8_10", "bmm2_6_16_5", "mv16_24", "conv1d4_16_3_3")
KINDS += ("conv2d3_5_8_2_3_2", "conv2ds2_4_8_3_3_3")


def played(computation: Computation, moves: str) -> Position:
    """The position after legal moves, by their names."""
    at = first(computation)
    for name in moves.split():
        after = moved(computation, at, ACTION_NAMES.index(name))
        assert after is not None, f"{name} is illegal in {at}"
        at = after
    return at


def nests(count: int, seed: int = 0) -> list[tuple[Computation, Nest]]:
    """Nests by chance of every kind of computation."""
    rng = random.Random(seed)
    made = []
    for i in range(count):
        computation = named(KINDS[i % len(KINDS)])
        by_chance = by_structure if rng.random() < 0.5 else None
        nest = (
            by_chance(computation, rng)
            if by_chance
            else by_moves(computation, rng, rng.randint(1, 20))
        )
        made.append((computation, nest))
    return made
