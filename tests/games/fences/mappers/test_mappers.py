"""Opponents: the judge accepts them, and the exhaustive search finds the optimum."""

from __future__ import annotations

import numpy as np
import pytest

from games.fences.domain import text_of
from games.fences.judge import judge_text
from games.fences.judge.cost import figures
from games.fences.judge.rules import violations
from games.fences.mappers.exhaustive import exhaustive
from games.fences.mappers.registry import MAPPERS
from games.fences.oracle.oracle import Oracle
from games.fences.program.naive import naive_placements
from games.fences.program.parser import parse_blocks
from games.fences.program.program import Program
from games.fences.program.schedule import read_schedule
from tests.support.fences import all_schedules, generated, program

SMALL = [
    "x = input() y = x * x print(y) cost y cpu 60 gpu 2",
    "x = input() y = input() a = x * x b = a + y GPU { a b } cost y cpu 5 cost a gpu 9 "
    "weights fence 1 sync 1",
    "x = input() a = x + 1 b = a + 1 print(a) GPU { b } cost a cpu 4 gpu 2 cost b gpu 9 "
    "weights fence 1 sync 2 latency 0 byte 0",
    "x = input() a = x + 1 g = x * x a before g CPU { a } GPU { g } weights fence 1",
    # Instructions are dear: no fence and no sync may be worth more elsewhere for the sake of an if.
    "b = input() x = input() g = x * x if (b) { p = x + 1 q = g + p } GPU { g } CPU { p q } "
    "weights instruction 20 fence 1 sync 1",
    "b = input() x = input() if (b) { p = x + 1 q = p * p } else { r = x } CPU { q } GPU { p r } "
    "weights instruction 9 fence 1 sync 1",
]


def cost(of: Program, text: str) -> float:
    judged = judge_text(of, text)
    assert judged.figures is not None, judged.violations
    return judged.figures.cost


@pytest.mark.parametrize("name", ["batching", "critical_path", "exhaustive"])
def test_the_judge_accepts_their_schedules(name):
    for seed in range(30):
        made = generated(5 + seed % 6, 100 + seed)
        cost(made, text_of(made, MAPPERS[name](made, 60.0).placements))


@pytest.mark.parametrize("text", SMALL)
def test_exhaustive_is_the_best_of_all_schedules(text):
    """All orders, all devices, up to three fences anywhere, judged one by one."""
    made = program(text)
    best = min(
        figures(made, schedule).cost
        for text in all_schedules(made, 3)
        if not violations(made, schedule := read_schedule(made, parse_blocks(text, "schedule")))
    )
    found = exhaustive(made)
    assert found.proven and found.cost == pytest.approx(best)
    assert cost(made, text_of(made, found.placements)) == pytest.approx(best)


def test_no_game_by_chance_is_better_than_exhaustive():
    rng = np.random.default_rng(0)
    for seed in range(40):
        made = generated(6 + seed % 4, 500 + seed)
        best = exhaustive(made).cost
        for _ in range(20):
            oracle = Oracle(made)
            while not oracle.done:
                oracle.play(int(rng.choice(np.flatnonzero(oracle.legal()))))
            assert oracle.cost() >= best - 1e-9, made.text


def test_the_bound_of_a_draft_is_one():
    """Along the way to an optimum no draft's bound is above it."""
    from games.fences.mappers.board import Board

    for seed in range(40):
        made = generated(7 + seed % 4, 700 + seed)
        found, board = exhaustive(made), Board(made)
        draft = board.start()
        for it in found.placements:
            assert board.bound(draft) <= found.cost + 1e-9
            point = it.fences_after[0] if it.fences_after else None
            draft = board.place(draft, it.operation, it.device, point)
        assert board.cost(draft) == pytest.approx(found.cost) == board.bound(draft)


def test_a_search_without_time_gives_the_best_simple_schedule():
    made = generated(12, 6)
    found = exhaustive(made, 0.0)
    rules = [
        cost(made, text_of(made, MAPPERS[n](made, 0).placements))
        for n in MAPPERS
        if n in ("batching", "critical_path")
    ]
    assert not found.proven and found.cost <= min(rules) + 1e-9


def test_naive_gives_everything_that_crosses_a_fence_of_its_own():
    made = program("x = input() y = input() a = x + y b = x - a GPU { a b } cost a gpu 1 cpu 1")
    judged = judge_text(made, text_of(made, naive_placements(made)))
    assert judged.figures is not None
    assert (judged.figures.fences, judged.figures.syncs) == (3, 3)


def test_cpsat_finds_the_optimum():
    pytest.importorskip("ortools")
    for seed in range(12):
        made = generated(6 + seed % 4, 900 + seed)
        found = MAPPERS["cpsat"](made, 60.0)
        best = exhaustive(made).cost
        assert found.proven
        assert cost(made, text_of(made, found.placements)) == pytest.approx(best, abs=0.01)
