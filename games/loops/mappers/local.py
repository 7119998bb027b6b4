"""Local search over the order and the tile sizes of a nest, without the game's cursor."""

from __future__ import annotations

import dataclasses
import math
import random

from gamekit.errors import InputError
from games.loops.fit.sample import by_structure
from games.loops.mappers.search import Search
from games.loops.program.nest import Loop, Nest, check, start

STEPS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
# Simulated annealing of the logarithm of the time: temperatures, and steps of one descent.
HOT, COLD, STEPS_OF_ONE = 0.3, 0.01, 600


def local_search(search: Search, seed: int) -> None:
    """Simulated annealing from the starting nest, then from nests by chance and from the best one
    in turns, until the time is over."""
    rng = random.Random(seed)
    at, number = start(search.computation), 0
    while not search.is_over:
        _anneal(search, at, rng)
        number += 1
        at = search.best if number % 2 else by_structure(search.computation, rng)


def _anneal(search: Search, at: Nest, rng: random.Random) -> None:
    now = search.cost(at)
    for step in range(STEPS_OF_ONE):
        if search.is_over:
            return
        temperature = HOT * (COLD / HOT) ** (step / STEPS_OF_ONE)
        after = neighbour(search, at, rng)
        if after is None:
            continue
        cost = search.cost(after)
        if cost <= now or rng.random() < math.exp(math.log(now / cost) / temperature):
            at, now = after, cost


def neighbour(search: Search, at: Nest, rng: random.Random) -> Nest | None:
    """A nest that differs by one change; None where the change drawn breaks a rule."""
    made = rng.choice((_moved, _moved, _tiled, _tiled, _resized, _unrolled, _unrolled))(
        search, at, rng
    )
    if made is None or made == at:
        return None
    try:
        check(search.computation, made)
    except InputError:
        return None
    return made


def _with(search: Search, at: Nest, compute: list[Loop], rng: random.Random) -> Nest:
    """With other loops; those around the write follow, or stay as they are."""
    kept = search.computation.out.variables
    follow = tuple(Loop(x.variable, x.step) for x in compute if x.variable in kept)
    write = follow if rng.random() < 0.5 else start(search.computation).write
    return Nest(tuple(compute), write, at.vector)


def _moved(search: Search, at: Nest, rng: random.Random) -> Nest:
    """A loop goes elsewhere."""
    compute = list(at.compute)
    loop = compute.pop(rng.randrange(len(compute)))
    compute.insert(rng.randint(0, len(compute)), loop)
    return _with(search, at, compute, rng)


def _tiled(search: Search, at: Nest, rng: random.Random) -> Nest:
    """A loop is split, or goes into the next one of its variable outside of it."""
    compute = list(at.compute)
    place = rng.randrange(len(compute))
    loop = compute[place]
    outer = [i for i in range(place) if compute[i].variable == loop.variable]
    if outer and rng.random() < 0.5:
        compute[outer[-1]] = Loop(loop.variable, loop.step)
        del compute[place]
    else:
        compute[place] = Loop(loop.variable, loop.step * rng.choice(STEPS))
        inner = rng.randint(place + 1, len(compute))
        compute.insert(inner, Loop(loop.variable, loop.step))
    return _with(search, at, compute, rng)


def _resized(search: Search, at: Nest, rng: random.Random) -> Nest | None:
    """A tile gets another size."""
    tiles = [i for i, loop in enumerate(at.compute) if loop.step > 1]
    if not tiles:
        return None
    place, compute = rng.choice(tiles), list(at.compute)
    compute[place] = dataclasses.replace(compute[place], step=rng.choice(STEPS))
    return _with(search, at, compute, rng)


def _unrolled(search: Search, at: Nest, rng: random.Random) -> Nest:
    """A loop is unrolled, or not any more; sometimes the vectors are turned on or off."""
    del search
    if rng.random() < 0.05:
        return dataclasses.replace(at, vector=not at.vector)
    place, compute = rng.randrange(len(at.compute)), list(at.compute)
    compute[place] = dataclasses.replace(compute[place], unroll=not compute[place].unroll)
    return dataclasses.replace(at, compute=tuple(compute))
