"""Loop nests by chance."""

from __future__ import annotations

import random

from gamekit.errors import InputError
from games.loops.game.options import ACTION_NAMES, STOP
from games.loops.oracle.oracle import Position, first, moved
from games.loops.program.computation import Computation
from games.loops.program.nest import MAX_COPIES, MAX_UNROLL, Loop, Nest, check

STEPS = (2, 3, 4, 6, 8, 12, 16, 32, 64)
TRIES = 1000


def by_moves(computation: Computation, rng: random.Random, count: int) -> Nest:
    """The nest after some legal moves by chance."""
    at: Position = first(computation)
    for _ in range(count):
        after = [moved(computation, at, a) for a in range(len(ACTION_NAMES)) if a != STOP]
        at = rng.choice([each for each in after if each is not None])
    return at.nest


def by_structure(computation: Computation, rng: random.Random) -> Nest:
    """A nest of loops at tile sizes and in an order by chance, mostly with the output's last index
    innermost, and often with inner loops unrolled."""
    last = computation.out.axes[-1][0][0]
    for _ in range(TRIES):
        chains = {v: _steps(size, rng) for v, size in computation.sizes}
        compute = _merged(chains, rng)
        tiled = rng.random() < 0.4
        if tiled:
            compute = _tile_inside(computation, compute)
        elif rng.random() < 0.8:
            inner = next(x for x in compute if x == (last, 1))
            compute = [x for x in compute if x != inner] + [inner]
        kept = set(computation.out.variables)
        share = rng.random()
        write = [Loop(*x) for x in compute if x[0] in kept] if share < 0.5 else None
        if write is None:
            write = [Loop(axis[0][0], 1) for axis in computation.out.axes]
        nest = Nest(tuple(Loop(*x) for x in compute), tuple(write), rng.random() < 0.93)
        nest = _unrolled(computation, nest, 0.05 if tiled else 0.25, rng)
        try:
            check(computation, nest)
        except InputError:
            continue
        return nest
    raise InputError(f"{computation.name}: no nest by chance keeps the rules")


def _steps(size: int, rng: random.Random) -> list[int]:
    """Steps of the loops over one index, from the outermost on."""
    count = rng.choice((0, 1, 1, 2))
    inner = sorted({s for s in rng.sample(STEPS, count) if s < size}, reverse=True)
    return [*inner, 1]


def _merged(chains: dict[str, list[int]], rng: random.Random) -> list[tuple[str, int]]:
    """The loops of all indices in an order by chance, those of one index from the outermost on."""
    names = [v for v, steps in chains.items() for _ in steps]
    rng.shuffle(names)
    left = {v: iter(steps) for v, steps in chains.items()}
    return [(v, next(left[v])) for v in names]


def _tile_inside(computation: Computation, compute: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """The loops with a tile of the output innermost, and right around it a sum."""
    kept = [axis[0][0] for axis in computation.out.axes]
    names = [v for v, _ in compute]
    inner = [(v, 1) for v in kept if names.count(v) > 1 or v == kept[-1]]
    sums = [(v, 1) for v in names if v not in kept][-1:]
    return [x for x in compute if x not in inner and x not in sums] + sums + inner


def _unrolled(computation: Computation, nest: Nest, stop: float, rng: random.Random) -> Nest:
    """The nest with loops unrolled from the inside out, until chance stops it."""
    compute, copies = list(nest.compute), 1
    extents = nest.extents(computation)
    for place in reversed(range(len(compute) - nest.vector)):
        size = extents[place] // compute[place].step
        if rng.random() < stop or size > MAX_UNROLL or copies * size > MAX_COPIES:
            break
        if compute[place].variable not in computation.out.variables and copies > 1:
            break  # a register tile is inside
        copies *= size
        compute[place] = Loop(compute[place].variable, compute[place].step, True)
    return Nest(tuple(compute), nest.write, nest.vector)
