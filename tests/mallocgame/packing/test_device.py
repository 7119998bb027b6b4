"""The device packer against `check` and a known answer."""

from __future__ import annotations

import numpy as np
import pytest

from mallocgame.packing.device import pack_batch
from mallocgame.packing.generator import cut_problem
from mallocgame.packing.problem import PackingProblem, check

ROWS = 40  # more than the problems have: one shape is compiled once


def packed(problems: list[PackingProblem]) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Offsets [N, B] and ok [B] for padded problems, and the leaders of each one's rows."""

    table = np.zeros((5, ROWS, len(problems)), np.int32)
    table[4] = np.arange(ROWS)[:, None]
    leaders = []
    for b, p in enumerate(problems):
        k = len(p.item)
        first = np.array([np.flatnonzero(p.item == i)[0] for i in p.item], int)
        leaders.append(first)
        table[:, :k, b] = (p.size[p.item], p.lower, p.upper, p.floor[p.item], first)
    capacity = np.array([p.capacity for p in problems], np.int32)
    offsets, ok = pack_batch(*table, capacity)
    return np.asarray(offsets), np.asarray(ok), leaders


def of_items(problem: PackingProblem, rows: np.ndarray) -> np.ndarray:
    offsets = np.zeros(len(problem.size), np.int64)
    offsets[problem.item] = rows[: len(problem.item)]
    return offsets


def placed_part(problem: PackingProblem, offsets: np.ndarray) -> PackingProblem:
    """The problem without the items that have no place; they become items without bytes."""
    size = np.where(offsets < 0, 0, problem.size)
    return PackingProblem(
        problem.capacity, size, problem.floor, problem.item, problem.lower, problem.upper
    )


OPTIONS = [{}, {"gaps": 0.2}, {"floors": 3}, {"pairs": 6}, {"floors": 2, "pairs": 5, "gaps": 0.1}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("slack", [0.0, 0.3])
def test_what_is_placed_breaks_no_rule(options, slack):
    problems = [cut_problem(seed, 24, slack=slack, **options)[0] for seed in range(6)]
    rows, ok, leaders = packed(problems)
    assert not slack or ok.any()
    for b, problem in enumerate(problems):
        k = len(problem.item)
        np.testing.assert_array_equal(rows[:k, b], rows[leaders[b], b])
        assert (rows[k:, b] == 0).all()
        offsets = of_items(problem, rows[:, b])
        assert ok[b] == (offsets >= 0).all()
        assert (check(problem, offsets) is None) == ok[b]
        part = placed_part(problem, offsets)
        assert check(part, np.maximum(offsets, 0)) is None
        assert ok[b] or (offsets >= 0).any()


def test_a_batch_answers_as_its_problems_alone():
    problems = [cut_problem(seed, 20, slack=0.1, pairs=3)[0] for seed in range(3)]
    rows, ok, _ = packed(problems)
    for b, problem in enumerate(problems):
        alone, fine, _ = packed([problem])
        k = len(problem.item)
        np.testing.assert_array_equal(alone[:k, 0], rows[:k, b])
        assert fine[0] == ok[b]


def test_what_failed_moves_ahead():
    size = np.array([[4], [4], [2]], np.int32)
    lower = np.array([[0], [2], [0]], np.int32)
    upper = np.array([[2], [4], [4]], np.int32)
    zeros = np.zeros_like(size)
    leader = np.arange(3, dtype=np.int32)[:, None]
    floor = np.array([[0], [2], [0]], np.int32)
    # All areas are equal.  Item 2 comes last, where [0, 4) and [2, 6) are taken.
    offsets, ok = pack_batch(size, lower, upper, floor, leader, np.array([6], np.int32), rounds=1)
    assert not ok[0] and offsets[2, 0] == -1
    offsets, ok = pack_batch(size, lower, upper, zeros, leader, np.array([6], np.int32), rounds=1)
    assert ok[0] and offsets[2, 0] == 4
    offsets, ok = pack_batch(size, lower, upper, floor, leader, np.array([6], np.int32), rounds=2)
    assert ok[0] and list(offsets[:, 0]) == [2, 2, 0]
