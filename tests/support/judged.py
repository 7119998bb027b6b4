"""Programs and mappings for the judge: by hand, with changes to them, and from random games."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from mallocgame.judge import simulate, verify
from mallocgame.oracle import Oracle
from mallocgame.program import (
    Access,
    CarriedGroup,
    Instruction,
    Loop,
    Program,
    Value,
    validate,
)
from mallocgame.program.machine import Machine
from mallocgame.program.mapping import COPIED, DEFINED, Mapping, Residency, Transfer, all_slow
from mallocgame.synthetic.random_programs import random_program
from tests.support.packing import packed_game

MACHINE = Machine("hand", 1000, 10, slow_bandwidth=10.0, fast_bandwidth=100.0)


def program(compute, values, reads=(), writes=(), updates=(), reserved=None, **rest) -> Program:
    """compute: seconds per slot.  reads, writes, updates: (slot, value), bytes are the size."""
    sized = [(slot, v, values[v].size_bytes) for slot, v in [*reads, *writes, *updates]]
    kinds = ["read"] * len(reads) + ["write"] * (len(writes) + len(updates))
    accesses = tuple(
        Access(slot, v, kind, bytes=size, defines=len(reads) <= i < len(reads) + len(writes))
        for i, ((slot, v, size), kind) in enumerate(zip(sized, kinds, strict=True))
    )
    instructions = tuple(
        Instruction(f"i{t}", compute_s=float(s), reserved_bytes=(reserved or {}).get(t, 0))
        for t, s in enumerate(compute)
    )
    result = Program("hand", MACHINE, instructions, tuple(values), accesses, **rest)
    validate(result)
    return result


def mapping(stays, prefetches=(), evictions=()) -> Mapping:
    return Mapping(
        "hand",
        "",
        tuple(Residency(*s) for s in stays),
        tuple(Transfer(*t) for t in prefetches),
        tuple(Transfer(*t) for t in evictions),
    )


def kinds(p: Program, m: Mapping) -> set[str]:
    return {violation.kind for violation in verify(p, m)}


STRAIGHT = program(
    [1, 20, 5, 2],
    [Value("a", 100), Value("w", 200, is_input=True), Value("o", 100, is_output=True)],
    reads=[(2, 0), (2, 1), (3, 0)],
    writes=[(0, 0), (3, 2)],
)


LOOP = Loop(1, 5, 5)


@functools.cache
def loop_program() -> Program:
    """A weight read in the body, a carry, a value of the body, and an accumulator updated there."""
    values = [
        Value("w", 100, is_input=True),
        Value("p", 100),
        Value("r", 100),
        Value("x", 50),
        Value("acc", 40, is_input=True, is_output=True),
    ]
    return program(
        [10, 0, 6, 1, 3, 0, 4, 7],
        values,
        reads=[(2, 1), (3, 1), (3, 0), (3, 3), (3, 4), (6, 2)],
        writes=[(0, 1), (2, 3), (3, 2)],
        updates=[(3, 4)],
        loops=(LOOP,),
        carried=(CarriedGroup(0, 1, 2),),
    )


HELD = mapping(
    [(0, 200, 0, 6, COPIED), (1, 0, 0, 4, DEFINED), (2, 0, 3, 7, DEFINED), (3, 100, 2, 4, DEFINED)],
    [(0, 0, 1)],
)
IN_BODY = mapping(
    [(0, 200, 2, 4, COPIED), (1, 0, 0, 2, DEFINED), (2, 0, 3, 5, DEFINED), (4, 300, 2, 5, COPIED)],
    [(0, 2, 3), (4, 2, 3)],
    [(1, 1, 2), (2, 4, 5), (4, 4, 5)],
)


BASE_PROGRAM = program(
    [100] * 8,
    [
        Value("a", 200),
        Value("w", 200, is_input=True),
        Value("o", 100, is_output=True),
        Value("pinned", 50, is_input=True, is_pinned=True),
        Value("big", 2000, is_input=True),
        Value("state", 50, is_input=True, is_output=True),
    ],
    reads=[(2, 0), (5, 0), (2, 1), (6, 1), (4, 3), (4, 4), (3, 5), (7, 5)],
    writes=[(0, 0), (3, 2)],
    updates=[(3, 5)],
    reserved={6: 100},
)
BASE = mapping(
    [
        (0, 0, 0, 5, DEFINED),
        (1, 200, 0, 3, COPIED),
        (1, 200, 4, 7, COPIED),
        (2, 400, 3, 5, DEFINED),
        (5, 500, 1, 8, COPIED),
    ],
    [(1, 0, 2), (1, 4, 6), (5, 1, 3)],
    [(0, 3, 5), (2, 4, 5), (5, 4, 6)],
)


def changed(m: Mapping, part: str, index: int, **changes) -> Mapping:
    items = list(getattr(m, part))
    items[index] = dataclasses.replace(items[index], **changes)
    return dataclasses.replace(m, **{part: tuple(items)})


def without(m: Mapping, part: str, index: int) -> Mapping:
    items = getattr(m, part)
    return dataclasses.replace(m, **{part: items[:index] + items[index + 1 :]})


def with_more(m: Mapping, stays=(), prefetches=(), evictions=()) -> Mapping:
    more = mapping(stays, prefetches, evictions)
    return dataclasses.replace(
        m,
        residencies=m.residencies + more.residencies,
        prefetches=m.prefetches + more.prefetches,
        evictions=m.evictions + more.evictions,
    )


@functools.cache
def random_games(count: int) -> list[tuple[Program, Mapping, float, float]]:
    """Programs, mappings, returns, and what rounding to ticks can explain of a difference."""
    games = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        p = random_program(rng, instructions=int(rng.integers(5, 50)), values=10)
        oracle, mapping = packed_game(p, functools.partial(_at_random, rng, rng.random()))
        returned = oracle.saved_ticks / max(1, oracle.total_ticks)
        all_slow_s = simulate(p, all_slow(p)).all_slow_latency_s
        noise = 2 * sum(p.weights) * oracle.tables.tick_s / all_slow_s if all_slow_s else 0.0
        games.append((p, mapping, returned, noise))
    return games


def _at_random(rng: np.random.Generator, boldness: float, oracle: Oracle) -> int:
    legal = [action for action in range(3) if oracle.legal[action]]
    return int(rng.choice(legal)) if rng.random() < boldness else legal[0]
