"""Accesses that take longer in fast memory: game, oracle, judge, bound and search agree on them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mallocgame.game.options import GameConfig
from mallocgame.judge import simulate, verify
from mallocgame.mappers.layouts.local_search import local_search
from mallocgame.oracle import DROP, Oracle
from mallocgame.program import Program, validate
from mallocgame.program.mapping import all_slow
from mallocgame.relaxation.bound import lower_bound
from mallocgame.synthetic.random_programs import random_program
from tests.support.packing import packed_game

CONFIG = GameConfig(inert_fraction=0.0)


def slower(seed: int) -> Program:
    """A random program of which every third calibrated access is slower in fast memory."""
    program = random_program(np.random.default_rng([11, seed]))
    accesses = tuple(
        dataclasses.replace(a, fast_s=1.5 * a.slow_s + 1e-3)
        if a.slow_s is not None and i % 3 == 0
        else a
        for i, a in enumerate(program.accesses)
    )
    made = dataclasses.replace(program, accesses=accesses)
    validate(made)
    return made


CASES = [p for p in map(slower, range(60)) if any(
    a.slow_s is not None and a.fast_s > a.slow_s for a in p.accesses)][:12]  # fmt: skip


def test_there_are_such_programs() -> None:
    assert len(CASES) == 12


@pytest.mark.parametrize("number", range(12))
def test_bound_and_floor_are_below_every_mapping(number: int) -> None:
    program = CASES[number]
    bound = lower_bound(program)
    rng = np.random.default_rng(number)

    def player(oracle: Oracle) -> int:
        legal = [action for action, ok in enumerate(oracle.legal) if ok]
        return legal[0] if rng.random() < 0.8 else DROP

    found = [local_search(program, CONFIG, 0.2, number).mapping]
    found += [packed_game(program, player, CONFIG)[1] for _ in range(3)]
    for mapping in found:
        assert verify(program, mapping) == []
        simulation = simulate(program, mapping)
        assert bound.latency_s <= simulation.latency_s * (1 + 1e-9)
        assert simulation.floor_latency_s <= simulation.latency_s * (1 + 1e-9)
    slow = simulate(program, all_slow(program)).latency_s
    assert simulate(program, found[0]).latency_s <= slow * (1 + 1e-9)
