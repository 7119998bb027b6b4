"""Random games of the oracle and the judge: they share no code, and the rules say that they agree.

Docs/game.md, 9: every packed game is a legal mapping, and simulated it saves at least what the game
says.  So this tests the rules as well as the oracle.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from mallocgame.game.options import GameConfig
from mallocgame.judge import simulate, verify
from mallocgame.oracle import DROP, NO_COPY, Oracle
from mallocgame.program import Program
from mallocgame.synthetic.random_programs import random_program
from tests.support.packing import pack, packed_game

# Overdrafts are rare; the last ones have some.
SEEDS = (*range(400), 820, 928, 1041, 1045, 1365, 1437, 1656, 1667)
EVENTS = """
    define 1; define 2; depart 1; depart 2; depart at an entry 1; depart at an entry 2; read 0;
    read 1; read 2; read at an entry 0; read at an entry 1; read at an entry 2; define waits;
    depart waits; read waits; late copy; overdraft; group held; slow memory holds it early
"""
CONFIGS = (GameConfig(), GameConfig(inert_fraction=0.0), GameConfig("paper", 0.02))


def drawn(seed: int) -> Program:
    rng = np.random.default_rng([3, seed])
    count, values = int(rng.integers(5, 40)), int(rng.integers(3, 16))
    return random_program(rng, instructions=count, values=values)


def play(oracle: Oracle, rng: np.random.Generator, boldness: float) -> Counter[str]:
    """Plays at random, checks what holds in every state, and counts what happens."""
    count: Counter[str] = Counter()
    program = oracle.program
    total, before = 0.0, oracle.saved_ticks
    assert before == 0
    while oracle.question is not None:
        legal = [action for action in range(3) if oracle.legal[action]]
        assert len(legal) > 1
        action = int(rng.choice(legal)) if rng.random() < boldness else legal[0]
        windows = [(e.start, e.end) for e in oracle.evictions]
        question, stalled, overdraft = oracle.question, oracle.stall_ticks, oracle.overdraft_ticks
        marker = any(question.slot == loop.entry for loop in program.loops)
        total += oracle.step(action)
        kind = f"{question.kind}{' at an entry' if marker else ''} {action}"
        count[kind] += 1
        now = [(e.start, e.end) for e in oracle.evictions[: len(windows)]]
        count[f"{question.kind} waits"] += now != windows
        count["late copy"] += question.kind == "read" and oracle.stall_ticks > stalled
        count["overdraft"] += oracle.overdraft_ticks > overdraft
        assert max(oracle.used) <= program.machine.fast_capacity_bytes
        assert min(oracle.taken) >= 0
    assert total == pytest.approx(oracle.saved_ticks / max(1, oracle.total_ticks), abs=1e-12)
    count["group held"] += sum(stay.tied is not None for stay in oracle.residencies())
    ends = {(stay.value, stay.end) for stay in oracle.residencies()}
    count["slow memory holds it early"] += any(
        (e.value, e.end) not in ends for e in oracle.evictions
    )
    return count


def check(oracle: Oracle, offsets: list[int]) -> bool:
    """The judge about a finished game; whether it was one without stalls and overdrafts."""
    program, mapping = oracle.program, oracle.mapping(offsets)
    assert verify(program, mapping) == []
    simulation = simulate(program, mapping)
    reserved = [program.machine.align(i.reserved_bytes) for i in program.instructions]
    assert (simulation.fast_bytes + reserved).tolist() == oracle.used
    share = oracle.saved_ticks / max(1, oracle.total_ticks)
    assert simulation.saved_fraction >= share - 1e-5
    exact = oracle.stall_ticks == oracle.overdraft_ticks == 0
    if exact:
        assert simulation.saved_fraction == pytest.approx(share, abs=1e-5)
    return exact


def test_the_judge_agrees_with_random_games():
    count: Counter[str] = Counter()
    for seed in SEEDS:
        rng = np.random.default_rng([5, seed])
        oracle = Oracle(drawn(seed), CONFIGS[seed % 3])
        count += play(oracle, rng, rng.random())
        offsets = pack(oracle.program, oracle.residencies())
        count["packed"] += isinstance(offsets, list)
        if isinstance(offsets, list):
            count["exact"] += check(oracle, offsets)
    assert count["packed"] > 0.8 * len(SEEDS) and count["exact"] > 0.1 * len(SEEDS), count
    wanted = {" ".join(event.split()) for event in EVENTS.split(";")}
    assert {event for event in wanted if not count[event]} == set(), count


def test_games_with_forced_answers_pack_and_are_judged():
    forced = 0
    for seed in range(100):
        rng = np.random.default_rng([6, seed])
        oracle, _ = packed_game(drawn(1000 + seed), lambda oracle: oracle.legal.index(True))
        forced += len(oracle.forced)
        offsets = pack(oracle.program, oracle.residencies())
        assert isinstance(offsets, list)
        check(oracle, offsets)
        origins = {stay.origin for stay in oracle.residencies()}
        assert not origins & oracle.forced
        # Whatever is forced never begins a residency, whoever plays.
        some = {origin for origin in origins if rng.random() < 0.5}
        other = Oracle(oracle.program, forced=some)
        play(other, rng, 0.3)
        assert not some & {stay.origin for stay in other.residencies()}
    assert forced > 10


def test_all_drop_saves_nothing():
    for seed in range(100):
        oracle = Oracle(drawn(seed))
        while oracle.question is not None:
            assert oracle.step(DROP) == 0
        assert oracle.saved_ticks == 0 and oracle.residencies() == ()


def test_nothing_beats_the_floor():
    for seed in range(100):
        oracle = Oracle(drawn(seed), GameConfig(inert_fraction=0.0))
        while oracle.question is not None:
            oracle.step(oracle.legal.index(True))
            assert oracle.saved_ticks <= oracle.total_ticks - oracle.tables.floor_ticks


def test_the_papers_rules_are_the_full_ones_without_moves_that_stall():
    for seed in range(60):
        paper, full = Oracle(drawn(seed), GameConfig("paper")), Oracle(drawn(seed))
        while full.question is not None:
            if paper.question != full.question:
                full.step(DROP)
                continue
            assert all(f or not p for f, p in zip(full.legal, paper.legal, strict=True))
            action = paper.legal.index(True)
            assert (full.question.kind, action) != ("read", NO_COPY)
            paper.step(action)
            full.step(action)
        assert paper.done and paper.residencies() == full.residencies()
